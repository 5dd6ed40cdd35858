// Small helpers of the views: elements, texts, theme. Texts are always set as text, never as
// markup: names come from people's files.

export function element(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

// Sets a text only when it differs, so that nothing flickers and selections stay.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setHidden(node, hidden) {
  if (node.hidden !== hidden) node.hidden = hidden;
}

// Colours and font as Streamlit's theme has them now.
export function readTheme(node) {
  const style = getComputedStyle(node);
  const get = (name, otherwise) => style.getPropertyValue(name).trim() || otherwise;
  const background = get("--st-background-color", "#ffffff");
  return {
    background,
    dark: isDark(background),
    text: get("--st-text-color", "#222222"),
    font: get("--st-font", "sans-serif"),
    grid: isDark(background) ? "rgba(255,255,255,0.09)" : "rgba(0,0,0,0.08)",
    quiet: isDark(background) ? "rgba(255,255,255,0.4)" : "rgba(0,0,0,0.4)",
    border: get("--st-border-color", "rgba(128,128,128,.3)"),
    surface: get("--st-secondary-background-color", background),
  };
}

function isDark(color) {
  const canvas = document.createElement("canvas").getContext("2d");
  canvas.fillStyle = color;
  canvas.fillRect(0, 0, 1, 1);
  const [red, green, blue] = canvas.getImageData(0, 0, 1, 1).data;
  return 0.299 * red + 0.587 * green + 0.114 * blue < 128;
}

export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const pad = (number) => String(number).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)}:${pad(whole % 60)} min`;
  if (whole < 86400) return `${Math.floor(whole / 3600)}:${pad(Math.floor((whole % 3600) / 60))} h`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

// A point in time as short as it can be read: the day only when it is not today.
export function moment(seconds) {
  const date = new Date(seconds * 1000);
  const today = new Date().toDateString() === date.toDateString();
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return today ? `today ${time}` : `${date.toLocaleDateString()} ${time}`;
}

// A number as short as it can be read: 3 significant digits, no exponent where avoidable.
export function number(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-4 || size >= 1e7) return value.toExponential(1);
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(digits)));
}

// What a run's status and heartbeat mean for a person: a class for the colour, and words.
export function condition(run) {
  const { status, liveness } = run;
  if (run.deleted !== null) return { tone: "quiet", mark: "✕", word: "deleted" };
  if (liveness === "dead") return { tone: "bad", mark: "✕", word: "no sign of life" };
  if (liveness === "stalled") return { tone: "warn", mark: "!", word: "stalled" };
  if (status === "paused") return { tone: "warn", mark: "❙❙", word: "paused" };
  if (liveness === "alive") return { tone: "live", mark: "●", word: status };
  if (status === "finished") return { tone: "done", mark: "✓", word: "finished" };
  if (status === "crashed" || status === "failed") return { tone: "bad", mark: "✕", word: status };
  return { tone: "quiet", mark: status === "queued" ? "○" : "■", word: status };
}

export function pill(run, node = element("span")) {
  const { tone, mark, word } = condition(run);
  node.className = `fasa-pill fasa-${tone}`;
  if (node.dataset.word !== word) {
    const sign = element("span", "fasa-mark", mark);
    sign.setAttribute("aria-hidden", "true");
    node.replaceChildren(sign, word);
    node.dataset.word = word;
  }
  return node;
}
