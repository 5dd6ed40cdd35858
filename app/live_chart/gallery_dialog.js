// One image, enlarged: the columns side by side with the list of their objects. Arrow keys lead to
// the next image, Escape closes.

import { element, setText } from "./dom.js";
import { Picture, verdictText } from "./gallery_picture.js";

export class Enlarged {
  // step(by): to another image; close(): the person closed it.
  constructor({ step, close }) {
    this.node = element("dialog", "fasa-enlarged");
    this.title = element("h3", "fasa-title");
    const bar = element("div", "fasa-enlarged-bar");
    const button = (text, label, press) => {
      const node = element("button", "fasa-button", text);
      node.type = "button";
      node.setAttribute("aria-label", label);
      node.title = label;
      node.addEventListener("click", press);
      return node;
    };
    this.before = button("←", "Image before (left arrow key)", () => step(-1));
    this.next = button("→", "Next image (right arrow key)", () => step(1));
    const shut = button("✕", "Close (Escape)", () => this.node.close());
    bar.append(this.title, this.before, this.next, shut);
    this.body = element("div", "fasa-enlarged-body");
    this.node.append(bar, this.body);
    this.node.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      step(by);
    });
    this.node.addEventListener("click", (event) => {
      if (event.target === this.node) this.node.close(); // beside the box
    });
    this.node.addEventListener("close", () => close());
    this.columns = [];
  }

  // place: of how many; columns: [{about, moment, head}], about undefined where a run lacks the image.
  show(id, place, columns, view) {
    setText(this.title, `image ${id}, ${place}`);
    while (this.columns.length > columns.length) this.drop(this.columns.pop());
    while (this.columns.length < columns.length) this.columns.push(this.column());
    columns.forEach((shown, index) => this.fill(this.columns[index], shown, view));
    if (!this.node.open) this.node.showModal();
  }

  column() {
    const node = element("section", "fasa-enlarged-column");
    const head = element("p", "fasa-quiet");
    const lacks = element("p", "fasa-quiet");
    const picture = new Picture();
    const list = element("div", "fasa-table fasa-objects");
    node.append(head, lacks, picture.node, list);
    this.body.append(node);
    return { node, head, lacks, picture, list };
  }

  drop({ node, picture }) {
    picture.destroy();
    node.remove();
  }

  fill(column, { about, moment, head }, view) {
    setText(column.head, head);
    setText(column.lacks, about ? "" : "This run does not keep this image.");
    column.picture.node.hidden = !about;
    column.list.hidden = !about;
    if (!about) return;
    column.picture.show(about, moment, view);
    const objects = moment.objectsOf(about.index);
    if (column.listed === objects && column.score === view.score) return;
    column.listed = objects;
    column.score = view.score;
    column.picture.emphasis = null;
    column.list.replaceChildren(objects ? this.table(column, moment, objects, view) : "");
  }

  table(column, moment, objects, view) {
    const table = element("table");
    const head = element("tr");
    for (const text of ["class", "score", "IoU", "verdict"]) head.append(element("th", text === "class" ? "fasa-first" : "", text));
    const rows = [
      ...objects.detections.filter(({ score }) => score >= view.score).map((object) => [object, false]),
      ...objects.true.filter(({ word }) => word !== "found").map((object) => [object, true]),
    ];
    const body = element("tbody");
    body.append(...rows.map(([object, isTrue]) => this.row(column, moment, objects, object, isTrue)));
    const top = element("thead");
    top.append(head);
    table.append(top, body);
    return table;
  }

  row(column, moment, objects, object, isTrue) {
    const row = element("tr");
    const name = element("td", "fasa-first");
    const { letter } = moment.look(object.class);
    const badge = element("span", "fasa-badge", letter);
    badge.dataset.frequency = letter;
    name.append(badge, ` ${moment.name(object.class)}`);
    const partners = isTrue ? objects.detections : objects.true;
    const other = moment.name(partners[object.partner]?.class ?? -1);
    const score = element("td", "", isTrue ? "true" : object.score.toFixed(2));
    row.append(name, score, element("td", "", object.iou.toFixed(2)), element("td", "", verdictText(object, isTrue, other)));
    row.tabIndex = 0;
    const emphasize = (which) => {
      column.picture.emphasis = which;
      column.picture.draw();
    };
    for (const type of ["pointerenter", "focus"]) row.addEventListener(type, () => emphasize(object));
    for (const type of ["pointerleave", "blur"]) row.addEventListener(type, () => emphasize(null));
    return row;
  }

  close() {
    if (this.node.open) this.node.close();
  }

  destroy() {
    for (const { picture } of this.columns) picture.destroy();
    this.close();
    this.node.remove();
  }
}
