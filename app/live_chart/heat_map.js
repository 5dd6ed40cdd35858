// The heat map: a class field of every class after every epoch, classes in order of frequency.
// One Plotly div that is redrawn in place; what is in view is kept here and survives every update.

import { Card } from "./card.js";
import { classesOf } from "./classes.js";
import { element, number, readTheme, setHidden, setText } from "./dom.js";
import { csv, picture } from "./downloads.js";
import { Drawing } from "./drawing.js";
import { around, cells, colorRange, colorRows, colorTicks, inOrder } from "./heat_cells.js";
import { HeatCursor } from "./heat_cursor.js";
import { HoverLine } from "./hover.js";
import { gather, MarkLabel, shapes } from "./marks.js";
import { escape, houseAxis, houseLayout, loadPlotly } from "./plotly.js";
import { follow } from "./poll.js";

const CONFIG = { displayModeBar: false, doubleClick: false };
const NAMED = 11; // pixels a row needs for its name
const LEAST_ROWS = 3;
const FOUND = 15; // rows shown around a class that was looked for
const LONGEST_NAME = 18; // letters
const EDGES = { f: "dot", c: "dash", r: "solid" }; // of a group's first row, as its lines are dashed

// The hover line of the page's charts; which cell is read, the map's own cursor says.
class HeatHover extends HoverLine {
  key() {}

  rows() {
    return [];
  }
}

export class HeatMapView {
  constructor(root) {
    this.root = root;
    this.card = new Card(root);
    const { node, stage, plot, caption } = this.card;
    this.plot = plot;
    this.stage = stage;
    stage.classList.add("fasa-heat");
    this.tools = element("div", "fasa-tools");
    this.search = element("input", "fasa-search");
    Object.assign(this.search, { type: "search", placeholder: "Zoom to a class" });
    this.search.setAttribute("aria-label", "Zoom to a class by name");
    this.search.addEventListener("input", () => this.find());
    this.zooms = element("span", "fasa-zooms");
    this.tools.append(this.search, this.zooms);
    this.range = { x: null, y: null }; // what is in view; null: all of it
    this.ground = element("div", "fasa-ground"); // hatched: shows through where there is no data
    stage.prepend(this.ground);
    this.label = new MarkLabel(stage, plot);
    this.hover = new HeatHover(stage, plot);
    this.hover.kind = "epoch";
    this.cursor = new HeatCursor(this);
    node.insertBefore(this.tools, stage);
    node.insertBefore(this.cursor.readout, caption);
    this.drawing = new Drawing(stage, () => this.render(), () => this.follow());
  }

  update({ data, setTriggerValue }) {
    const other = this.data?.spec.want !== data.spec.want;
    this.data = data;
    this.setTriggerValue = setTriggerValue;
    const { spec } = data;
    this.card.say(spec);
    this.card.menu.describe(spec.title, (format) => this.download(format), () => this.fileName());
    this.plot.dataset.chart = spec.key;
    if (this.drawing.near && (other || !this.following)) this.follow();
    this.renew();
    loadPlotly(data.plotly).then(
      (Plotly) => {
        this.Plotly = Plotly;
        this.drawing.ask();
      },
      (error) => setText(this.card.empty, `${error.message}: reload the page.`),
    );
  }

  // Rows are asked for when the map first comes near the view, and from then on.
  follow() {
    if (!this.data) return;
    const before = this.following;
    this.following = follow(this.data.base, this.data.run, {
      wants: [this.data.spec.want],
      onRows: () => this.renew(),
      onState: () => this.onState(),
    });
    before?.stop();
    this.renew();
    this.onState();
  }

  async onState() {
    const { poller } = this.following;
    if (poller.marksVersion !== this.marksDrawn) this.drawing.ask();
    if (this.classes?.names.length === poller.state?.classes) return;
    const classes = await classesOf(this.data, this.following).catch(() => null);
    if (!classes || this.gone || classes === this.classes) return;
    this.classes = classes;
    Object.assign(this, inOrder(classes, this.data.spec.groups)); // order, starts
    this.offerZooms();
    this.renew();
  }

  // Buttons that zoom to all classes or to one frequency group, and in and out.
  offerZooms() {
    const button = (text, letter, label, press) => {
      const node = element("button", "fasa-chip", text);
      node.type = "button";
      node.dataset.frequency = letter;
      node.setAttribute("aria-label", label);
      node.addEventListener("click", press);
      return node;
    };
    const group = ({ group: { name, letter }, first, count }) => {
      const range = [first - 0.5, first + count - 0.5];
      const text = `${name} ${count.toLocaleString("en")}`;
      return button(text, letter, `Zoom to ${text}`, () => this.show({ x: null, y: range }));
    };
    this.zooms.replaceChildren(
      button("all", "", "Show all classes", () => this.show({ x: null, y: null })),
      ...this.starts.map(group),
      button("+", "", "Zoom in", () => this.cursor.zoom(0.5)),
      button("−", "", "Zoom out", () => this.cursor.zoom(2)),
    );
  }

  find() {
    const wanted = this.search.value.trim().toLowerCase();
    if (!this.classes) return;
    if (!wanted) return this.show({ x: null, y: null });
    const names = this.order.map((index) => this.classes.names[index].toLowerCase());
    const tests = [(name) => name === wanted, (name) => name.startsWith(wanted), (name) => name.includes(wanted)];
    const row = tests.map((test) => names.findIndex(test)).find((found) => found >= 0) ?? -1;
    this.search.setAttribute("aria-invalid", String(row < 0));
    if (row < 0) return this.cursor.say(`No class is called “${this.search.value.trim()}”.`);
    this.show({ x: this.range.x, y: around(row, FOUND, names.length) });
    return this.cursor.move(row, this.cursor.column ?? Infinity);
  }

  show(range) {
    this.range = range;
    if (!range.y && document.activeElement !== this.search) this.search.value = "";
    this.drawing.ask();
  }

  // New rows, another field, other classes: the cells are made anew at the next drawing.
  renew() {
    this.stale = true;
    this.drawing.ask();
  }

  fill() {
    const { spec } = this.data;
    const table = this.classes && this.following?.table(spec.want);
    this.cells = table?.epoch.length ? cells(table, this.order, spec) : null;
    this.colors = this.cells && colorRows(this.cells.rows, spec.scale);
    this.colorEnds = this.cells && colorRange(this.colors, spec.scale);
    this.stale = false;
    this.trace = null;
  }

  // The rows in view. Made once for the same cells: Plotly then redraws only what else has changed.
  coloured(theme) {
    const { spec } = this.data;
    const [top, bottom] = this.inView().y;
    const made = `${theme.dark} ${top} ${bottom}`;
    if (this.trace && this.traceMade === made) return this.trace;
    this.traceMade = made;
    const [zmin, zmax] = this.colorEnds;
    const ticks = colorTicks(this.colorEnds, spec.scale, (value) => number(value));
    const last = spec.colors.length - 1;
    const first = Math.ceil(top);
    this.trace = {
      type: "heatmap",
      z: this.colors.slice(first, Math.floor(bottom) + 1), zmin, zmax,
      x0: this.cells.first + 0.5, dx: 1, y0: first, dy: 1,
      hoverinfo: "skip",
      colorscale: spec.colors.map((color, place) => [place / last, theme.dark ? color.dark : color.light]),
      colorbar: {
        thickness: 9, outlinewidth: 0, xpad: 6, ypad: 0, len: 1, lenmode: "fraction",
        tickvals: ticks.at, ticktext: ticks.text, tickfont: { size: 11 },
        title: { text: escape(spec.unit), side: "right", font: { size: 11 } },
      },
    };
    return this.trace;
  }

  // All there is: epochs done across, rows downwards.
  whole() {
    const { first, columns, rows } = this.cells;
    return { x: [first, first + columns], y: [-0.5, rows.length - 0.5] };
  }

  inView() {
    const { x, y } = this.whole();
    return { x: this.range.x ?? x, y: this.range.y ?? y };
  }

  // Names of single classes where their rows are high enough, else of the groups.
  rowTicks(theme, [top, bottom], height) {
    const color = (group) => (theme.dark ? group.color.dark : group.color.light);
    const sign = (group) => `<span style="color:${color(group)}">${group.sign}</span>`;
    const vals = [];
    const text = [];
    const named = height / (bottom - top) >= NAMED;
    for (const { group, first, count } of this.starts) {
      const from = Math.max(first, Math.ceil(top));
      const to = Math.min(first + count - 1, Math.floor(bottom));
      if (from > to) continue;
      if (!named) {
        vals.push((from + to) / 2);
        text.push(`${group.name} ${sign(group)}`);
        continue;
      }
      for (let row = from; row <= to; row += 1) {
        const name = this.classes.names[this.order[row]];
        const letters = Array.from(name);
        const short = letters.length > LONGEST_NAME ? `${letters.slice(0, LONGEST_NAME - 1).join("")}…` : name;
        vals.push(row);
        text.push(`${escape(short)} ${sign(group)}`);
      }
    }
    this.plot.dataset.named = String(named ? vals.length : 0);
    return { tickmode: "array", tickvals: vals, ticktext: text };
  }

  // Where a group begins, and the marks of what happened.
  lines(theme, width) {
    const { marks, state, marksVersion } = this.following.poller;
    this.marksDrawn = marksVersion;
    this.label.lines = gather(marks, "epoch", state, this.inView().x, width);
    this.plot.dataset.marks = String(this.label.lines.length);
    const edges = this.starts.slice(1).map(({ group, first }) => ({
      type: "line", xref: "paper", yref: "y", x0: 0, x1: 1, y0: first - 0.5, y1: first - 0.5,
      line: { color: theme.text, width: 1, dash: EDGES[group.letter] ?? "solid" },
    }));
    return [...edges, ...shapes(this.label.lines, theme).map((line) => ({ ...line, layer: "above" }))];
  }

  layout(theme) {
    const { height } = this.data.spec;
    const width = this.stage.clientWidth;
    const narrow = width < 420;
    const margin = { l: narrow ? 104 : 132, r: 10, t: 8, b: 36 };
    const { x, y } = this.inView();
    const axis = { ...houseAxis(theme), automargin: false, showgrid: false, ticks: "" };
    const few = x[1] - x[0] <= 8;
    return {
      ...houseLayout(theme, width, height),
      margin,
      dragmode: narrow ? false : "zoom",
      hovermode: false,
      showlegend: false,
      shapes: this.lines(theme, width - margin.l - margin.r),
      xaxis: {
        ...axis, range: x, ...(few ? { dtick: 1 } : {}),
        title: { text: "epochs done", font: { size: 11 }, standoff: 6 },
      },
      yaxis: { ...axis, range: [y[1], y[0]], ...this.rowTicks(theme, y, height - margin.t - margin.b) },
    };
  }

  render() {
    if (!this.Plotly || !this.following) return false;
    if (this.stale) this.fill();
    const some = this.cells !== null;
    this.card.setDrawn(some);
    setHidden(this.tools, !some);
    this.plot.dataset.points = String(this.cells?.columns ?? 0);
    if (some) {
      const theme = readTheme(this.root);
      this.Plotly.react(this.plot, [this.coloured(theme)], this.layout(theme), CONFIG);
      this.plot.dataset.rows = this.inView().y.map(Math.round).join(" ");
    }
    setHidden(this.ground, !some);
    if (some) this.placeGround();
    this.cursor.place();
    if (some && !this.drawn) {
      this.drawn = true;
      this.plot.on("plotly_relayout", (change) => this.zoom(change));
      this.plot.on("plotly_doubleclick", () => this.show({ x: null, y: null }));
    }
    return some;
  }

  placeGround() {
    const { l, t, w, h } = this.plot._fullLayout._size;
    Object.assign(this.ground.style, { left: `${l}px`, top: `${t}px`, width: `${w}px`, height: `${h}px` });
  }

  // A person dragged: whole rows and columns come into view.
  zoom(change) {
    const read = (axis) => [change[`${axis}.range[0]`], change[`${axis}.range[1]`]].map(Number);
    const range = { ...this.range };
    const whole = this.whole();
    const [left, right] = read("xaxis");
    if (Number.isFinite(left) && Number.isFinite(right)) {
      range.x = [Math.max(whole.x[0], Math.floor(left)), Math.min(whole.x[1], Math.ceil(right))];
    }
    const [bottom, top] = read("yaxis");
    if (Number.isFinite(top) && Number.isFinite(bottom)) {
      const count = Math.max(LEAST_ROWS, Math.round(bottom - top));
      range.y = around((top + bottom) / 2, count, this.cells.rows.length);
    }
    this.show(range);
  }

  fileName() {
    return `${this.following.poller.state?.name ?? "run"} ${this.data.spec.title} ${this.data.spec.want}`;
  }

  download(format) {
    if (format !== "csv") return picture(this.Plotly, this.plot, format, this.card.title.textContent);
    const { names, frequency } = this.classes;
    const rows = this.order.flatMap((index, row) =>
      this.cells.rows[row].map((value, column) => [
        names[index], frequency[index], this.cells.first + column + 1, value,
      ]),
    );
    return csv([["class", "frequency", "epoch", this.data.spec.unit], ...rows]);
  }

  destroy() {
    this.gone = true;
    this.drawing.stop();
    this.hover.stop();
    this.following?.stop();
    if (this.drawn) this.Plotly.purge(this.plot);
    this.root.replaceChildren();
  }
}
