// What happened in a run, newest first: the marks of the charts as a list to read.

import { element, moment, setHidden, setText } from "./dom.js";
import { follow } from "./poll.js";

const SHOWN = 200;

export class EventsView {
  constructor(root) {
    this.root = root;
    const card = element("section", "fasa-card");
    this.title = element("h3", "fasa-title");
    this.stage = element("div", "fasa-stage");
    this.box = element("div", "fasa-events");
    this.box.tabIndex = 0;
    this.list = element("ol");
    this.box.append(this.list);
    this.empty = element("p", "fasa-empty");
    this.caption = element("p", "fasa-caption");
    this.stage.append(this.box, this.empty);
    card.append(this.title, this.stage, this.caption);
    root.append(card);
  }

  update({ data }) {
    const { spec } = data;
    setText(this.title, spec.title);
    setText(this.caption, spec.caption);
    setText(this.empty, spec.empty);
    this.box.setAttribute("aria-label", spec.title);
    this.stage.style.height = `${spec.height}px`;
    const before = this.following;
    this.following = follow(data.base, data.run, { onState: () => this.render() });
    before?.stop();
    this.render();
  }

  render() {
    const { marks, marksVersion } = this.following.poller;
    setHidden(this.empty, marks.length > 0);
    if (marksVersion === this.drawn) return;
    this.drawn = marksVersion;
    const rows = marks.slice(-SHOWN).reverse().map((mark) => this.row(mark));
    const more = marks.length - rows.length;
    if (more > 0) rows.push(element("li", "fasa-quiet", `and ${more.toLocaleString("en")} before`));
    this.list.replaceChildren(...rows);
  }

  row(mark) {
    const row = element("li");
    row.dataset.tone = mark.tone;
    const text = element("span", "fasa-event-text", mark.text);
    text.dir = "auto";
    row.append(
      element("span", "fasa-event-step", `step ${mark.step.toLocaleString("en")}`),
      text,
      element("time", "fasa-quiet", mark.wall === null ? "" : moment(mark.wall)),
    );
    return row;
  }

  destroy() {
    this.following?.stop();
    this.root.replaceChildren();
  }
}
