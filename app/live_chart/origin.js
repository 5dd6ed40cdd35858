// Where a run comes from and what people wrote on it: parent, tags, note. All of it as text.

import { element, setHidden, setText } from "./dom.js";

export function originText({ parent }) {
  if (parent.step === null) return `restart of ${parent.run}`;
  return `fork of ${parent.run} at epoch ${parent.epoch}`;
}

export class Origin {
  // `open` is called with the id of the parent when its link is followed.
  constructor(base, open) {
    this.node = element("div", "fasa-origin");
    this.base = base;
    this.parent = element("a", "fasa-parent");
    this.parent.addEventListener("click", (event) => {
      event.stopPropagation();
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
      event.preventDefault();
      open(this.run.parent.run);
    });
    this.tags = element("span", "fasa-tags");
    this.note = element("span", "fasa-note");
    this.note.dir = "auto";
    this.node.append(this.parent, this.tags, this.note);
  }

  show(run) {
    this.run = run;
    setHidden(this.parent, !run.parent);
    if (run.parent) {
      setText(this.parent, originText(run));
      this.parent.href = `${this.base}/run?run=${run.parent.run}`;
      this.parent.title = run.parent.step === null ? "" : `at step ${run.parent.step.toLocaleString("en")}`;
    }
    const tags = run.tags.join("\n"); // no tag holds a line break
    if (tags !== this.told) {
      this.told = tags;
      this.tags.replaceChildren(...run.tags.map((tag) => {
        const chip = element("span", "fasa-tag", tag);
        chip.dir = "auto";
        return chip;
      }));
    }
    setHidden(this.tags, !run.tags.length);
    const [line] = run.note.trim().split("\n");
    setText(this.note, line);
    this.note.title = run.note;
    setHidden(this.note, !line);
    setHidden(this.node, !run.parent && !run.tags.length && !line);
  }
}
