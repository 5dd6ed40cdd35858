// One hover line across the charts of a page: where the pointer is on one chart, a thin line and
// the values show on all others that share its kind of x axis. An overlay: nothing is redrawn.
// By keyboard: a chart that has the focus moves the line with the left and right arrow.

import { element, number, setHidden } from "./dom.js";

const STEP = 1 / 80; // of the visible range: what one press of an arrow key moves
const MOST = 8; // values a box tells

const charts = new Set();
let pending = null;

// Tells all charts but `own` where the pointer is, once a frame.
function tell(own, kind, x) {
  const first = pending === null;
  pending = { own, kind, x };
  if (!first) return;
  requestAnimationFrame(() => {
    const { own: source, kind: axis, x: at } = pending;
    pending = null;
    for (const chart of charts) {
      if (chart !== source) chart.show(chart.kind === axis ? at : null);
    }
  });
}

export class HoverLine {
  constructor(stage, plot) {
    this.stage = stage;
    this.plot = plot;
    this.kind = ""; // of the x axis: epoch, step, time or fork
    this.at = null;
    this.line = element("div", "fasa-hover-line");
    this.box = element("div", "fasa-hover-box");
    this.line.hidden = this.box.hidden = true;
    stage.append(this.line, this.box);
    stage.tabIndex = 0;
    stage.addEventListener("pointermove", (event) => this.point(event));
    stage.addEventListener("pointerleave", () => this.leave());
    stage.addEventListener("keydown", (event) => this.key(event));
    stage.addEventListener("blur", () => this.leave());
    charts.add(this);
  }

  axis() {
    return this.plot._fullLayout?.xaxis;
  }

  point(event) {
    const axis = this.axis();
    if (!axis) return;
    const pixel = event.clientX - this.stage.getBoundingClientRect().left - axis._offset;
    const x = pixel >= 0 && pixel <= axis._length ? axis.p2d(pixel) : null;
    this.show(x, { values: false }); // Plotly tells the values under the pointer itself
    tell(this, this.kind, x);
  }

  key(event) {
    const axis = this.axis();
    const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.target !== this.stage || !axis) return;
    if (event.key === "Escape") this.leave();
    if (!direction) return;
    event.preventDefault();
    const [from, to] = axis.range.map(Number);
    const step = (to - from) * STEP * (event.shiftKey ? 8 : 1);
    const start = this.at ?? (direction > 0 ? from : to);
    const x = Math.min(to, Math.max(from, start + direction * step));
    this.box.setAttribute("role", "status"); // read aloud where it is moved by keyboard
    this.show(x);
    tell(this, this.kind, x);
  }

  leave() {
    this.box.removeAttribute("role");
    this.show(null);
    tell(this, this.kind, null);
  }

  show(x, { values = true } = {}) {
    const axis = this.axis();
    const pixel = axis && x !== null ? axis.d2p(x) : NaN;
    const inside = pixel >= 0 && pixel <= axis?._length;
    this.at = inside ? x : null;
    setHidden(this.line, !inside);
    setHidden(this.box, !inside || !values);
    if (!inside) return;
    const size = this.plot._fullLayout._size;
    const left = axis._offset + pixel;
    this.line.style.transform = `translateX(${left}px)`;
    this.line.style.top = `${size.t}px`;
    this.line.style.height = `${size.h}px`;
    if (!values) return;
    this.box.style.top = `${size.t + 2}px`;
    const onLeft = pixel > axis._length / 2;
    this.box.style.left = onLeft ? "auto" : `${left + 6}px`;
    this.box.style.right = onLeft ? `${this.stage.clientWidth - left + 6}px` : "auto";
    this.box.replaceChildren(...this.rows(x));
  }

  rows(x) {
    const rows = [];
    for (const trace of this.plot._fullData ?? []) {
      if (trace.visible !== true || !trace.meta) continue;
      const value = valueAt(trace, x);
      if (!Number.isFinite(value)) continue;
      const row = element("div", "", `${trace.meta} ${number(value)}`);
      row.style.setProperty("--fasa-key", trace.line.color);
      rows.push(row);
    }
    const more = rows.length - MOST;
    return more > 0 ? [...rows.slice(0, MOST), element("div", "", `and ${more} more`)] : rows;
  }

  stop() {
    charts.delete(this);
  }
}

// A line that holds its value has the one before x; others the nearest one.
function valueAt({ x: xs, y: ys, line }, x) {
  let low = 0;
  let high = xs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] <= x) low = middle + 1;
    else high = middle;
  }
  if (line.shape === "hv" || low === xs.length) return ys[low - 1];
  if (low === 0) return ys[0];
  return x - xs[low - 1] <= xs[low] - x ? ys[low - 1] : ys[low];
}
