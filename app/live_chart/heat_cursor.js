// The cell of the heat map that is read: under the pointer, or moved by the arrow keys. Its class,
// epoch and value are said below the map, where the class can be pinned.

import { element, number, setHidden, setText } from "./dom.js";
import { around } from "./heat_cells.js";

const STILL = 4; // pixels a pointer may move between going down and up to be a click
const HELP = "Arrow keys move from cell to cell, plus and minus zoom, Escape shows all, Enter pins the class.";

export class HeatCursor {
  constructor(map) {
    this.map = map;
    this.row = null;
    this.column = null; // place among the columns
    this.held = false; // a click or a key holds it, so that the pointer can go to the button
    this.box = element("div", "fasa-cell");
    this.box.hidden = true;
    const { stage } = map;
    stage.append(this.box);
    stage.setAttribute("role", "group"); // the hover line has made it focusable
    stage.setAttribute("aria-label", `Heat map of classes and epochs. ${HELP}`);
    this.readout = element("p", "fasa-readout");
    this.text = element("span", "fasa-readout-text");
    this.text.setAttribute("aria-live", "polite");
    this.text.dir = "auto";
    this.pin = element("button", "fasa-chip fasa-pinner");
    this.pin.type = "button";
    this.pin.hidden = true;
    this.pin.addEventListener("click", () => this.toggle());
    this.readout.append(this.text, this.pin);
    stage.addEventListener("pointermove", (event) => !this.held && this.point(event));
    stage.addEventListener("pointerdown", (event) => this.press(event));
    stage.addEventListener("keydown", (event) => this.key(event));
  }

  axes() {
    const { xaxis, yaxis } = this.map.plot._fullLayout ?? {};
    return this.map.cells && xaxis && yaxis ? { xaxis, yaxis } : null;
  }

  point(event) {
    const axes = this.axes();
    if (!axes) return false;
    const box = this.map.stage.getBoundingClientRect();
    const x = axes.xaxis.p2d(event.clientX - box.left - axes.xaxis._offset);
    const y = axes.yaxis.p2d(event.clientY - box.top - axes.yaxis._offset);
    const view = this.map.inView();
    if (x < view.x[0] || x >= view.x[1] || y < view.y[0] || y >= view.y[1]) return false;
    this.move(Math.round(y), Math.floor(x) - this.map.cells.first);
    return true;
  }

  press(event) {
    const { clientX, clientY } = event;
    const up = (end) => {
      if (Math.hypot(end.clientX - clientX, end.clientY - clientY) > STILL) return;
      this.held = this.point(event) && !(this.held && this.last === `${this.row} ${this.column}`);
      this.last = `${this.row} ${this.column}`;
      this.place();
    };
    window.addEventListener("pointerup", up, { once: true });
  }

  move(row, column) {
    const { cells } = this.map;
    if (!cells) return;
    this.row = Math.max(0, Math.min(cells.rows.length - 1, row));
    this.column = Math.max(0, Math.min(cells.columns - 1, column));
    this.place();
  }

  // Says a sentence instead of a cell.
  say(sentence) {
    this.row = null;
    this.place();
    setText(this.text, sentence);
  }

  // The box around the cell, and the words below the map.
  place() {
    const { map } = this;
    const axes = this.axes();
    const known = this.row !== null && axes && this.row < map.cells.rows.length;
    setHidden(this.pin, !known || !this.held);
    setHidden(this.box, !known);
    setHidden(this.readout, !map.cells);
    if (!known) {
      setText(this.text, map.cells ? "Point at a cell to read it." : "");
      return;
    }
    const index = map.order[this.row];
    const { spec, view } = map.data;
    const epoch = map.cells.first + this.column;
    const value = map.cells.rows[this.row][this.column];
    const worth = Number.isFinite(value) ? `${number(value)} ${spec.unit}` : "no data";
    setText(this.text, `${map.classes.names[index]} · epoch ${epoch + 1} · ${worth}`);
    setText(this.pin, view.pins?.includes(index) ? "unpin this class" : "pin this class");
    const { xaxis, yaxis } = axes;
    const left = Math.max(0, xaxis.d2p(epoch));
    const right = Math.min(xaxis._length, xaxis.d2p(epoch + 1));
    const top = Math.max(0, yaxis.d2p(this.row - 0.5));
    const bottom = Math.min(yaxis._length, yaxis.d2p(this.row + 0.5));
    setHidden(this.box, right <= left || bottom <= top);
    Object.assign(this.box.style, {
      left: `${xaxis._offset + left - 1}px`,
      top: `${yaxis._offset + top - 1}px`,
      width: `${right - left + 2}px`,
      height: `${Math.max(2, bottom - top) + 2}px`,
    });
    this.box.dataset.held = String(this.held);
  }

  toggle() {
    if (this.row !== null) this.map.setTriggerValue("toggle", this.map.order[this.row]);
  }

  key(event) {
    const { map } = this;
    if (!map.cells || event.ctrlKey || event.metaKey || event.altKey) return;
    const row = this.row ?? Math.round(map.inView().y[0] + 0.5);
    const column = this.column ?? map.cells.columns - 1;
    const steps = {
      ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
      PageUp: [-10, 0], PageDown: [10, 0], Home: [0, -Infinity], End: [0, Infinity],
    };
    if (steps[event.key]) {
      this.held = true;
      this.move(this.row === null ? row : row + steps[event.key][0], column + steps[event.key][1]);
      this.follow();
    } else if (event.key === "+" || event.key === "=") this.zoom(0.5);
    else if (event.key === "-") this.zoom(2);
    else if (event.key === "Escape") {
      this.held = false;
      map.show({ x: null, y: null });
    } else if (event.key === "Enter" && event.target === map.stage) this.toggle();
    else return;
    event.preventDefault();
  }

  // Show more or fewer rows, around the cell that is held or else around the middle of the view.
  zoom(factor) {
    const { y } = this.map.inView();
    const row = this.held && this.row !== null ? this.row : (y[0] + y[1]) / 2;
    const total = this.map.cells.rows.length;
    const count = Math.max(3, (y[1] - y[0]) * factor);
    this.map.show({ x: this.map.range.x, y: count >= total ? null : around(row, count, total) });
  }

  // Bring the cell into view when the keys moved it out of it.
  follow() {
    const { x, y } = this.map.inView();
    const first = this.map.cells.first;
    const range = { ...this.map.range };
    if (this.row < y[0] || this.row > y[1]) range.y = around(this.row, y[1] - y[0], this.map.cells.rows.length);
    if (first + this.column < x[0] || first + this.column + 1 > x[1]) range.x = null;
    if (range.y !== this.map.range.y || range.x !== this.map.range.x) this.map.show(range);
  }
}
