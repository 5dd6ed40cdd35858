// One knob of the steering bar: shows the value it has, takes another one, says what is allowed.

import { element, setHidden, setText } from "./dom.js";

const SETTLED = 4; // seconds after its answer until a field shows what the run says again

function written(value) {
  return value === null || value === undefined ? "" : String(Number(value.toPrecision(6)));
}

export class KnobField {
  constructor(knob, onEdit) {
    this.name = knob.name;
    this.value = null; // what the run has now
    this.sent = null; // when a new value was sent, milliseconds
    this.node = element("label", "fasa-knob");
    this.node.dataset.knob = knob.name;
    const box = element("span", "fasa-field");
    this.since = element("small", "fasa-quiet");
    this.input = element("input", "fasa-input");
    Object.assign(this.input, { type: "text", inputMode: "decimal", autocomplete: "off" });
    const hint = element("span", "fasa-hint", `${knob.label}: ${knob.meaning}`);
    const allowed = [knob.allowed, knob.unit].filter(Boolean).join(" ");
    if (allowed) hint.textContent += `; ${allowed}`;
    hint.id = `fasa-hint-${knob.name}`;
    this.input.setAttribute("aria-describedby", hint.id);
    this.input.setAttribute("aria-label", knob.label);
    this.input.addEventListener("input", () => {
      this.input.removeAttribute("aria-invalid");
      this.sent = null;
      this.mark();
      onEdit();
    });
    this.input.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      this.revert();
      onEdit();
    });
    const label = element("span", "fasa-knob-label", knob.label);
    label.append(this.since);
    box.append(this.input);
    this.node.append(label, box, hint);
  }

  text() {
    return this.input.value.trim();
  }

  edited() {
    return !this.input.readOnly && this.sent === null && this.text() !== written(this.value);
  }

  // What the run says; typed text stays until it was sent and answered.
  show(run, living) {
    const value = run.knobs[this.name];
    const touched = this.text() !== written(this.value) && !this.input.readOnly;
    this.value = value;
    if (!touched || !living || this.settled(run)) this.revert();
    this.input.readOnly = !living;
    const step = run.knob_steps[this.name]; // undefined: as it was configured
    setText(this.since, step === undefined ? "" : ` since step ${step.toLocaleString("en")}`);
    this.since.title = "the step of its last change";
    setHidden(this.since, step === undefined);
    this.mark();
  }

  // A value that was sent and answered is the run's affair again.
  settled(run) {
    if (this.sent === null) return false;
    if (this.text() !== "" && Number(this.text()) === this.value) return true;
    const answered = run.commands.filter((c) => c.kind === "set").at(-1)?.answered ?? null;
    return answered !== null && Date.now() - this.sent > 1000 * SETTLED;
  }

  // The page wrote it down, or refused to.
  judged(written) {
    if (!this.edited()) return;
    if (written) this.sent = Date.now();
    else this.input.setAttribute("aria-invalid", "true");
    this.mark();
  }

  revert() {
    this.sent = null;
    this.input.removeAttribute("aria-invalid");
    if (this.input.value !== written(this.value)) this.input.value = written(this.value);
    this.mark();
  }

  mark() {
    this.node.classList.toggle("fasa-edited", this.edited());
    this.node.classList.toggle("fasa-sent", this.sent !== null);
  }
}
