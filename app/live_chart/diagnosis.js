// What is wrong with a run, in words: one quiet line while nothing is, else one entry a finding.
// Asked anew when the run has something new to judge, and now and then while it goes on.

import { element, setHidden, setText } from "./dom.js";
import { follow, get } from "./poll.js";

const EVERY = 10_000; // milliseconds: disk, memory and heartbeat change without new rows
const SOONEST = 5_000; // milliseconds between two judgements of new snapshots; ten tabs may ask
const SIGNS = {
  bad: { mark: "✕", word: "wrong" },
  warn: { mark: "!", word: "warning" },
  note: { mark: "i", word: "note" },
};
const WELL = { mark: "✓", tone: "live" };
const TONES = { bad: "bad", warn: "warn", note: "done" };

function count(findings, severity) {
  return findings.filter((finding) => finding.severity === severity).length;
}

// "1 wrong · 2 warnings · 1 note"; "Nothing wrong" where only notes are left.
function headline({ findings, checked }) {
  const [bad, warn, note] = ["bad", "warn", "note"].map((s) => count(findings, s));
  const parts = [];
  if (bad) parts.push(`${bad} wrong`);
  if (warn) parts.push(warn === 1 ? "1 warning" : `${warn} warnings`);
  if (!parts.length) parts.push(checked.length ? "Nothing wrong" : "Nothing to check yet");
  if (note) parts.push(note === 1 ? "1 note" : `${note} notes`);
  return parts.join(" · ");
}

// What the folded line says behind the headline: what it is about, else what was looked at.
function behind({ findings, checked }) {
  if (findings.length) return findings.map((finding) => finding.title).join(", ");
  return checked.length ? `checked: ${checked.join(", ")}` : "";
}

class Row {
  constructor() {
    this.node = element("li", "fasa-finding");
    this.pill = element("span");
    this.title = element("span", "fasa-finding-title");
    this.number = element("span", "fasa-finding-number");
    const top = element("p", "fasa-finding-top");
    top.append(this.pill, this.title, this.number);
    this.text = element("p");
    this.text.dir = "auto"; // it may begin with a class's name
    this.remedy = element("p", "fasa-finding-remedy");
    this.node.append(top, this.text, this.remedy);
  }

  show({ key, severity, title, number, text, remedy }) {
    const { mark, word } = SIGNS[severity];
    this.node.dataset.finding = key;
    this.node.dataset.severity = severity;
    this.pill.className = `fasa-pill fasa-${TONES[severity]}`;
    if (this.pill.dataset.word !== word) {
      const sign = element("span", "fasa-mark", mark);
      sign.setAttribute("aria-hidden", "true");
      this.pill.replaceChildren(sign, word);
      this.pill.dataset.word = word;
    }
    setText(this.title, title);
    setText(this.number, number);
    setText(this.text, text);
    setText(this.remedy, remedy);
  }
}

export class DiagnosisView {
  constructor(root) {
    this.root = root;
    this.rows = new Map();
    this.panel = element("details", "fasa-diagnosis");
    const line = element("summary");
    this.sign = element("span", "fasa-diagnosis-sign");
    this.sign.setAttribute("aria-hidden", "true");
    this.head = element("span", "fasa-diagnosis-head", "Diagnosis");
    this.behind = element("span", "fasa-quiet");
    this.behind.dir = "auto";
    line.append(this.sign, this.head, this.behind);
    this.list = element("ol");
    this.scope = element("p", "fasa-caption");
    this.findings = element("div", "fasa-findings");
    this.findings.tabIndex = 0; // so that the keyboard scrolls it too
    this.findings.setAttribute("role", "group");
    this.findings.setAttribute("aria-label", "Findings");
    this.findings.append(this.list, this.scope);
    this.panel.append(line, this.findings);
    this.panel.addEventListener("toggle", () => this.hold());
    this.said = element("p", "fasa-unseen");
    this.said.setAttribute("role", "status"); // polite: read out when nothing else is
    root.append(this.panel, this.said);
    line.addEventListener("click", () => this.fold());
  }

  update({ data, setTriggerValue }) {
    const before = this.following;
    this.data = data;
    this.setTriggerValue = setTriggerValue;
    this.following = follow(data.base, data.run, { onState: () => this.onState() });
    before?.stop();
    clearInterval(this.clock);
    this.clock = setInterval(() => this.onTime(), EVERY);
    this.onState();
  }

  // Something to judge that was not there when it was asked last.
  onState() {
    const run = this.following?.poller.state;
    if (!run) return;
    const { snapshot, epoch } = run.versions;
    const state = `${run.rewinds} ${run.status} ${run.liveness} ${epoch}`;
    if (state !== this.state) this.ask();
    else if (snapshot !== this.snapshot) this.askSoon();
    this.state = state;
    this.snapshot = snapshot;
  }

  askSoon() {
    const passed = performance.now() - (this.asked ?? -SOONEST);
    this.soon ??= setTimeout(() => this.ask(), Math.max(0, SOONEST - passed));
  }

  onTime() {
    const run = this.following?.poller.state;
    if (run && run.liveness !== "over" && !document.hidden) this.ask();
  }

  async ask() {
    clearTimeout(this.soon);
    this.soon = undefined;
    if (this.asking) {
      this.again = true;
      return;
    }
    this.asking = true;
    this.asked = performance.now();
    const { base, run } = this.data;
    try {
      const answer = await (await get(`${base}/live/runs/${run}/diagnosis`)).json();
      if (!this.gone && run === this.data.run) this.show(answer);
    } catch (error) {
      this.state = null; // the next answer of the poll tries again
      if (!this.gone) this.fail(error.sentence);
    }
    this.asking = false;
    if (this.again && !this.gone) {
      this.again = false;
      this.ask();
    }
  }

  // The page's head says that the connection is lost; here only what the server itself said.
  fail(sentence) {
    if (!sentence) return;
    setText(this.head, "No diagnosis");
    setText(this.behind, sentence);
    this.tone("?", "quiet");
  }

  show(answer) {
    const { findings, checked, not_yet } = answer;
    const worst = findings.length ? findings[0].severity : null;
    this.tone(worst ? SIGNS[worst].mark : WELL.mark, worst ? TONES[worst] : checked.length ? WELL.tone : "quiet");
    setText(this.head, headline(answer));
    setText(this.behind, behind(answer));
    const old = this.rows;
    this.rows = new Map(findings.map(({ key }) => [key, old.get(key) ?? new Row()]));
    findings.forEach((finding) => this.rows.get(finding.key).show(finding));
    const nodes = [...this.rows.values()].map((row) => row.node);
    if (nodes.length !== this.list.children.length || nodes.some((n, i) => n !== this.list.children[i])) {
      this.list.replaceChildren(...nodes);
    }
    const later = not_yet.length ? ` Not to be judged yet: ${not_yet.join(", ")}.` : "";
    setText(this.scope, checked.length ? `Checked: ${checked.join(", ")}.${later}` : later.trim());
    this.unfold(findings);
    this.tell(findings);
  }

  tone(mark, tone) {
    setText(this.sign, mark);
    this.panel.dataset.tone = tone;
  }

  // Open at first where something is to be told, unless the address says otherwise. Later only what
  // is wrong opens it: of a warning the line tells by words and colour.
  unfold(findings) {
    const wrong = findings.filter((f) => f.severity === "bad").map((f) => f.key);
    const isNew = this.wrong !== undefined && wrong.some((key) => !this.wrong.includes(key));
    const isFirst = this.wrong === undefined;
    this.wrong = wrong;
    const chosen = this.data.view.fold;
    if (isFirst) this.panel.open = chosen ? chosen === "open" : findings.some((f) => f.severity !== "note");
    else if (isNew) this.panel.open = true;
  }

  // Once unfolded it keeps its height until it is folded or dragged, and what comes and goes in it
  // scrolls: whenever the page below moves, a list of choices that is open there closes.
  hold() {
    const { style } = this.findings;
    style.height = "";
    if (this.panel.open) style.height = `${this.findings.offsetHeight}px`;
  }

  fold() {
    // The click is not done yet: what is open now will be closed.
    this.setTriggerValue("fold", this.panel.open ? "closed" : "open");
  }

  // Read out once when what is wrong changes, not whenever a number does.
  tell(findings) {
    const pressing = findings.filter((f) => f.severity !== "note");
    const text = pressing.map((f) => `${SIGNS[f.severity].word}: ${f.title}.`).join(" ");
    setText(this.said, text || "Diagnosis: nothing wrong.");
  }

  destroy() {
    this.gone = true;
    clearInterval(this.clock);
    clearTimeout(this.soon);
    this.following?.stop();
    this.root.replaceChildren();
  }
}
