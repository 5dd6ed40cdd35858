// The steering bar: the knobs of a run as fields, its commands as buttons, and what became of each
// command. It only asks the page to write; whether a command took hold comes with the live data.

import { duration, element, setHidden, setText } from "./dom.js";
import { Confirmation } from "./confirmation.js";
import { KnobField } from "./knob_field.js";
import { follow } from "./poll.js";

const REMEMBERED = 600; // seconds an answered command stays in sight
const SHOWN = 3;
const UNANSWERED = 15000; // milliseconds until a silent server is said; a locked log takes ten seconds

// Which buttons a run offers, by what state it is in.
const OFFERED = {
  queued: ["stop"],
  living: ["pause", "resume", "checkpoint", "snapshot_features", "stop", "restart", "fork"],
  silent: ["restart", "fork"],
  over: ["take_up", "restart", "fork"],
  deleted: ["undo"],
};

const BUTTONS = {
  pause: { label: "Pause", mark: "❙❙", busy: "pausing …", help: "hold the training after this step" },
  resume: { label: "Resume", mark: "▶", busy: "resuming …", help: "go on from where it was paused" },
  checkpoint: { label: "Checkpoint", busy: "writing …", help: "write a checkpoint now" },
  snapshot_features: {
    label: "Snapshot features", busy: "taking …", help: "store the features of the probe objects now",
  },
  stop: { label: "Stop", mark: "■", busy: "stopping …", help: "end the run; it can be resumed later" },
  take_up: { label: "Resume", mark: "▶", busy: "queueing …" },
  restart: { label: "Restart …", help: "a new run with this configuration and your changes" },
  fork: { label: "Fork …", help: "a new run from one of this run's checkpoints" },
  undo: { label: "Undo the deletion", busy: "bringing back …" },
};

function situation(run) {
  if (run.deleted !== null) return "deleted";
  if (run.liveness === "waiting") return "queued";
  if (run.liveness === "dead") return "silent";
  return run.liveness === "over" ? "over" : "living";
}

export class SteeringView {
  constructor(root) {
    this.root = root;
    this.bar = element("section", "fasa-steering");
    this.bar.setAttribute("aria-label", "Steering");
    this.form = element("form", "fasa-knobs");
    this.form.noValidate = true;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.apply();
    });
    this.actions = element("div", "fasa-actions");
    this.apply_ = element("button", "fasa-button fasa-primary", "Apply");
    this.apply_.type = "submit";
    this.confirmation = new Confirmation();
    this.refused = element("p", "fasa-lost");
    this.refused.setAttribute("role", "alert");
    this.commands = element("ul", "fasa-commands");
    this.commands.setAttribute("aria-live", "polite");
    this.buttons = new Map(Object.entries(BUTTONS).map(([kind, about]) => [kind, this.button(kind, about)]));
    this.actions.append(...this.buttons.values());
    this.bar.append(this.form, this.actions, this.confirmation.node, this.refused, this.commands);
    this.bar.hidden = true;
    root.append(this.bar);
    setHidden(this.refused, true);
    this.asked = null; // what was last asked of the page: {nonce, kind}
    this.clock = setInterval(() => this.tellCommands(), 1000);
  }

  button(kind, { label, mark, help }) {
    const node = element("button", "fasa-button");
    node.type = "button";
    node.dataset.action = kind;
    if (mark) {
      const sign = element("span", "fasa-mark", mark);
      sign.setAttribute("aria-hidden", "true");
      node.append(sign);
    }
    node.append(element("span", "", label));
    if (help) node.title = help;
    node.addEventListener("click", () => this.press(kind));
    return node;
  }

  update({ data, setTriggerValue }) {
    this.data = data;
    this.setTriggerValue = setTriggerValue;
    if (!this.fields) {
      this.fields = data.spec.knobs.map((knob) => new KnobField(knob, () => this.tellForm()));
      this.form.append(...this.fields.map((field) => field.node), this.apply_);
    }
    const before = this.following;
    this.following = follow(data.base, data.run, { onState: () => this.render() });
    before?.stop();
    this.hear(data.view.answer);
    this.render();
  }

  // The page's answer to what was asked last: "" when it was written, else why not.
  hear(answer) {
    if (!answer || !this.asked || answer.nonce !== this.asked.nonce) return;
    this.say(answer.sentence);
    if (this.asked.kind === "set") {
      for (const field of this.fields) field.judged(answer.sentence === "");
    }
    this.asked = null;
  }

  say(sentence) {
    setText(this.refused, sentence);
    setHidden(this.refused, !sentence);
  }

  ask(kind, values = {}) {
    this.say("");
    this.asked = { nonce: `${Date.now()} ${Math.random()}`, kind };
    const { nonce } = this.asked;
    this.setTriggerValue("ask", { kind, values, nonce });
    setTimeout(() => {
      if (this.asked?.nonce !== nonce) return;
      this.asked = null;
      this.say("The server did not answer: reload the page and look whether it was done.");
      this.render();
    }, UNANSWERED);
    this.render();
  }

  apply() {
    const edited = this.fields.filter((field) => field.edited());
    if (!edited.length || this.apply_.disabled) return;
    this.ask("set", Object.fromEntries(edited.map((field) => [field.name, field.text()])));
  }

  press(kind) {
    if (kind === "restart" || kind === "fork") {
      this.say("");
      this.setTriggerValue("branch", kind);
      return;
    }
    if (kind !== "stop") {
      this.ask(kind);
      return;
    }
    const queued = this.following.poller.state.liveness === "waiting";
    this.confirmation.ask({
      question: queued
        ? "Take this run out of the queue?"
        : "Stop after this step? A checkpoint is kept, so the run can be resumed.",
      yes: queued ? "Take it out" : "Stop the run",
      no: queued ? "Leave it" : "Keep training",
      from: this.buttons.get("stop"),
      then: () => this.ask("stop"),
    });
  }

  render() {
    const run = this.following?.poller.state;
    if (!run || !this.fields) return;
    setHidden(this.bar, false);
    const now = situation(run);
    if (now !== this.situation) this.confirmation.close();
    this.situation = now;
    this.bar.dataset.situation = now;
    for (const field of this.fields) field.show(run, now === "living");
    this.tellForm();
    this.offer(run, now);
    this.tellCommands();
  }

  tellForm() {
    const living = this.situation === "living";
    setHidden(this.apply_, !living);
    this.apply_.disabled = this.asked !== null || !this.fields.some((field) => field.edited());
  }

  offer(run, now) {
    const pending = new Set(run.commands.filter((c) => c.answered === null).map((c) => c.kind));
    if (this.asked) pending.add(this.asked.kind);
    const paused = run.status === "paused";
    for (const [kind, node] of this.buttons) {
      const { label, busy } = BUTTONS[kind];
      const other = (kind === "pause" && paused) || (kind === "resume" && !paused);
      const never = kind === "take_up" && (run.status === "finished" || run.copied);
      setHidden(node, !OFFERED[now].includes(kind) || other || never);
      const waits = pending.has(kind) && (now === "living" || this.asked?.kind === kind);
      node.disabled = waits;
      setText(node.lastChild, waits && busy ? busy : this.label(kind, label, run));
    }
  }

  label(kind, label, run) {
    if (kind === "stop" && run.liveness === "waiting") return "Take out of the queue";
    if (kind !== "take_up") return label;
    return run.checkpoint ? `Resume from step ${run.checkpoint.step.toLocaleString("en")}` : "Start again";
  }

  // The last commands: sent, then took hold at a step or refused with the reason.
  tellCommands() {
    const { poller } = this.following ?? {};
    if (!poller?.state) return;
    const now = Date.now() / 1000 + poller.lag;
    const recent = poller.state.commands
      .filter((c) => c.answered === null || now - c.answered < REMEMBERED)
      .slice(-SHOWN)
      .reverse();
    const lines = recent.map((command) => this.line(command, now));
    const text = lines.map(({ words, tone }) => `${tone} ${words}`).join("\n");
    setHidden(this.commands, !lines.length);
    if (text === this.told) return;
    this.told = text;
    this.commands.replaceChildren(...lines.map(({ command, words, tone, mark }) => {
      const row = element("li", `fasa-command fasa-${tone}`);
      const sign = element("span", "fasa-mark", mark);
      sign.setAttribute("aria-hidden", "true");
      row.append(sign, element("b", "", command.text), " ", element("span", "", words));
      row.dataset.command = command.id;
      return row;
    }));
  }

  line(command, now) {
    if (command.answered === null) {
      const waited = Math.max(0, now - command.created);
      const words = waited < 2 ? "sent" : `sent ${duration(waited)} ago, not answered yet`;
      return { command, tone: "quiet", mark: "○", words };
    }
    if (command.refusal !== null) {
      return { command, tone: "bad", mark: "✕", words: `refused: ${command.refusal}` };
    }
    const words = command.step === null ? "done" : `took hold at step ${command.step.toLocaleString("en")}`;
    return { command, tone: "live", mark: "✓", words };
  }

  destroy() {
    clearInterval(this.clock);
    this.following?.stop();
    this.root.replaceChildren();
  }
}
