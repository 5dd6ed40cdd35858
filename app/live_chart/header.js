// The head of a run's page: alive or not, how far, how fast, how good, with which knobs.

import { duration, element, number, pill, setHidden, setText } from "./dom.js";
import { Origin } from "./origin.js";
import { follow } from "./poll.js";

// What a person should know about a run that is not simply training; "" when there is nothing.
function remark(run, age) {
  const silence = run.heartbeat_age === null ? "No heartbeat yet" : `No heartbeat for ${duration(age)}`;
  switch (run.liveness) {
    case "stalled":
      return `${silence}: the trainer hangs, or the machine is very busy.`;
    case "dead":
      return (
        `${silence}: the trainer is gone. ` +
        "The supervisor (fasa up) marks this run; it can then be resumed from its checkpoint."
      );
    case "waiting":
      return "Waiting for a free slot: the supervisor (fasa up) starts queued runs one after the other.";
    default:
      return "";
  }
}

const MOST_TICKS = 40; // epochs the progress bar is divided into

// How far a value went since the evaluation before: ▲ 0.4.
function arrow(change) {
  if (change === null || Math.abs(change) < 0.05) return "";
  return ` ${change > 0 ? "▲" : "▼"} ${Math.abs(change).toFixed(1)}`;
}

export class HeaderView {
  constructor(root) {
    this.root = root;
    const head = element("header", "fasa-header");
    const top = element("div", "fasa-top");
    this.name = element("h2", "fasa-name");
    this.name.dir = "auto"; // a name may be written from right to left
    this.pill = element("span");
    this.pill.setAttribute("role", "status");
    this.beat = element("span", "fasa-quiet");
    top.append(this.name, this.pill, this.beat);
    this.bar = element("div", "fasa-bar fasa-epochs");
    this.bar.setAttribute("role", "progressbar");
    this.bar.setAttribute("aria-label", "Progress of the run");
    this.fill = element("div", "fasa-fill");
    this.bar.append(this.fill);
    this.facts = element("dl", "fasa-facts");
    this.cells = new Map();
    this.remark = element("p", "fasa-remark");
    this.error = element("pre", "fasa-error");
    this.lost = element("p", "fasa-lost");
    this.lost.setAttribute("role", "alert");
    this.head = head;
    this.body = element("div", "fasa-body");
    this.body.append(this.bar, this.facts);
    head.append(top, this.body, this.remark, this.error, this.lost);
    root.append(head);
    this.clock = setInterval(() => this.tick(), 1000);
    this.said = null;
  }

  update({ data, setTriggerValue }) {
    this.data = data;
    this.setTriggerValue = setTriggerValue;
    if (!this.origin) {
      this.origin = new Origin(data.base, (id) => setTriggerValue("open", id));
      this.origin.node.hidden = true;
      this.head.insertBefore(this.origin.node, this.body);
    }
    const before = this.following;
    this.following = follow(data.base, data.run, { onState: () => this.render() });
    before?.stop();
    this.render();
  }

  // One fact: a word and a value; extra is the smaller part behind the value.
  fact(key, label, value, extra = "", help = "") { // a value of null hides it
    let cell = this.cells.get(key);
    if (!cell) {
      const box = element("div", "fasa-fact");
      cell = { box, label: element("dt"), value: element("span"), extra: element("small") };
      const dd = element("dd");
      dd.append(cell.value, cell.extra);
      box.append(cell.label, dd);
      box.dataset.fact = key;
      if (help) box.title = help;
      this.cells.set(key, cell);
      this.facts.append(box);
    }
    setText(cell.label, label);
    setText(cell.value, value ?? "");
    setText(cell.extra, extra);
    setHidden(cell.box, value === null);
  }

  tick() {
    const run = this.following?.poller.state;
    if (!run) return;
    const { poller } = this.following;
    const lost = poller.connection.since !== null;
    const passed = lost ? 0 : Date.now() / 1000 + poller.lag - this.seen;
    const age = (run.heartbeat_age ?? 0) + Math.max(0, passed);
    let beat = run.dataset;
    if (run.liveness === "over" && run.ended && run.started) {
      beat += ` · ran ${duration(run.ended - run.started)}`;
    } else if (run.heartbeat_age !== null && run.liveness !== "waiting" && !lost) {
      if (run.phase && run.liveness === "alive") beat += ` · ${run.phase}`;
      beat += ` · heartbeat ${duration(age)} ago`;
    }
    setText(this.beat, beat);
    setText(this.remark, remark(run, age));
    setHidden(this.remark, !this.remark.textContent);
    const { sentence, since } = poller.connection;
    setHidden(this.lost, !lost);
    if (lost) {
      const ago = duration((Date.now() - since) / 1000);
      setText(this.lost, `${sentence} What you see is ${ago} old.`);
    }
    this.head.classList.toggle("fasa-stale", lost);
  }

  render() {
    const { poller } = this.following;
    const run = poller.state;
    if (!run) {
      setHidden(this.lost, !poller.connection.sentence);
      setText(this.lost, poller.connection.sentence);
      return;
    }
    if (poller.connection.since === null) this.seen = Date.now() / 1000 + poller.lag;
    setText(this.name, run.name);
    pill(run, this.pill);
    this.origin.show(run);
    this.progress(run);
    this.numbers(run);
    setText(this.error, run.error);
    setHidden(this.error, !run.error);
    this.tick();
    this.tellPage(run);
  }

  progress(run) {
    const share = run.total_steps ? Math.min(1, run.step / run.total_steps) : 0;
    const percent = `${(100 * share).toFixed(1)}%`;
    this.fill.style.width = percent;
    this.bar.setAttribute("aria-valuenow", (100 * share).toFixed(0));
    const epochs = run.total_epochs > 0 && run.total_epochs <= MOST_TICKS ? run.total_epochs : 1;
    this.bar.style.setProperty("--fasa-epochs", epochs);
    this.bar.setAttribute("aria-valuetext", run.total_epochs ? `epoch ${run.epoch} of ${run.total_epochs}` : percent);
    this.bar.dataset.tone = run.liveness === "alive" ? "live" : run.status;
  }

  numbers(run) {
    const training = run.liveness === "alive" || run.liveness === "stalled";
    const steps = run.total_steps ? ` / ${run.total_steps.toLocaleString("en")}` : "";
    const over = run.liveness === "over";
    this.fact("epoch", "epoch", String(run.epoch || "–"), run.total_epochs ? ` / ${run.total_epochs}` : "");
    this.fact("step", "step", run.step.toLocaleString("en"), steps);
    const left = run.seconds_left === null ? "–" : duration(run.seconds_left);
    this.fact("left", "time left", over ? null : left, "",
      "at the pace of the last epoch, validation included");
    this.fact("speed", "images/s", over ? null : training ? number(run.images_per_second) : "–");
    const of = run.measure === "segm" ? "of masks" : "of boxes";
    const percent = (value) => (value === null ? "–" : value.toFixed(1));
    const since = "in percent; behind it, the change since the evaluation before";
    this.fact("AP", "AP", percent(run.AP), arrow(run.AP_change), `average precision ${of}, newest evaluation, ${since}`);
    this.fact("AP_r", "AP_r", percent(run.AP_r), arrow(run.AP_r_change), `average precision ${of} over the rare classes, ${since}`);
    if (!run.fasa) this.fact("fasa", "FASA", "off", "", "a baseline: no virtual features");
  }

  // The page is drawn anew when the run starts or ends, as it then knows classes it did not before.
  tellPage(run) {
    const stage = run.liveness === "waiting" ? "waiting" : run.classes > 0 ? "named" : "starting";
    if (this.said !== null && this.said !== stage) this.setTriggerValue("stage", stage);
    this.said = stage;
  }

  destroy() {
    clearInterval(this.clock);
    this.following?.stop();
    this.root.replaceChildren();
  }
}
