// The heads of the gallery's columns: which run, after which epoch, and what it came to.

import { element, setHidden, setText } from "./dom.js";

export const MOST_COLUMNS = 4;

function option(value, text) {
  const node = element("option", "", text);
  node.value = value;
  return node;
}

export function momentText([step, epoch]) {
  return `after epoch ${epoch + 1} (step ${step.toLocaleString("en")})`;
}

function many(count, one, more = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : more}`;
}

// What became of the objects of a moment, in one sentence.
export function tally({ objects, detections }) {
  const true_ = ["found", "confused", "missed"].map((word) => objects[word] ?? 0);
  const [found, confused, missed] = true_;
  const all = found + confused + missed;
  const share = all ? ` (${Math.round((100 * found) / all)} %)` : "";
  const unknown = detections["not judged"];
  return (
    `${found} of ${many(all, "object")} found${share}, ${confused} taken for another class, ${missed} missed; ` +
    `${many(detections["false alarm"] ?? 0, "false alarm")}${unknown ? `, ${unknown} not judged` : ""}`
  );
}

export class ColumnHead {
  // change({run, step}) for another choice, remove() for the button; the first column shows the
  // page's run and stays.
  constructor({ first, runs, change, remove }) {
    this.change = change;
    this.node = element("div", "fasa-column-head");
    const row = element("div", "fasa-column-choices");
    this.run = element("select", "fasa-select");
    this.run.setAttribute("aria-label", "Run of this column");
    this.run.append(...runs.map(({ id, label }) => option(String(id), label)));
    this.run.addEventListener("change", () => change({ run: Number(this.run.value), step: "newest" }));
    this.run.disabled = first; // that of the page
    this.step = element("select", "fasa-select");
    this.step.setAttribute("aria-label", "Epoch of this column");
    this.step.addEventListener("change", () => change({ run: this.chosen.run, step: this.step.value }));
    const close = element("button", "fasa-more", "✕");
    close.type = "button";
    close.title = "Remove this column";
    close.setAttribute("aria-label", "Remove this column");
    close.addEventListener("click", remove);
    setHidden(close, first);
    row.append(this.run, close, this.step);
    this.line = element("p", "fasa-quiet");
    this.node.append(row, this.line);
  }

  // alone: it is the only column.
  show(chosen, moment, alone) {
    this.chosen = chosen;
    setHidden(this.run, alone);
    setHidden(this.step, moment.answer?.moments.length === 0);
    this.run.value = String(chosen.run);
    const { moments = [] } = moment.answer ?? {};
    const listed = JSON.stringify([moments, chosen.step]);
    if (listed !== this.listed) {
      this.listed = listed;
      const newest = moments.length ? `newest: ${momentText(moments.at(-1))}` : "newest";
      const options = [option("newest", newest), ...moments.toReversed().map((m) => option(String(m[0]), momentText(m)))];
      if (![...options].some(({ value }) => value === chosen.step)) options.push(option(chosen.step, `step ${chosen.step}`));
      this.step.replaceChildren(...options);
      this.step.value = chosen.step;
    }
    setText(this.line, moment.sentence || (moment.answer?.step == null ? "" : tally(moment.answer)));
  }
}
