// The frame around a chart or a figure: title, menu of downloads, stage, note, caption.

import { element, setHidden, setText } from "./dom.js";
import { DownloadMenu } from "./downloads.js";

export class Card {
  constructor(root) {
    this.node = element("section", "fasa-card");
    const head = element("div", "fasa-head");
    this.title = element("h3", "fasa-title");
    this.menu = new DownloadMenu();
    head.append(this.title, this.menu.node);
    this.stage = element("div", "fasa-stage");
    this.plot = element("div", "fasa-plot");
    this.empty = element("p", "fasa-empty");
    this.stage.append(this.plot, this.empty);
    this.note = element("p", "fasa-note");
    this.note.hidden = true;
    this.caption = element("p", "fasa-caption");
    this.node.append(head, this.stage, this.note, this.caption);
    root.append(this.node);
  }

  // `spec` has title, caption, empty and height; `file` is the name of what is downloaded.
  say({ title, caption, empty, height }) {
    setText(this.title, title);
    setText(this.caption, caption);
    setText(this.empty, empty);
    this.stage.style.height = `${height}px`;
  }

  setNote(text) {
    setText(this.note, text);
    setHidden(this.note, !text);
  }

  // Either the picture or the sentence that says why there is none.
  setDrawn(drawn) {
    setHidden(this.empty, drawn);
    this.plot.style.visibility = drawn ? "visible" : "hidden";
    this.menu.setEnabled(drawn);
  }
}
