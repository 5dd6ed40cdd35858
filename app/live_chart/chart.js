// One chart: a Plotly div that is made once and redrawn in place with Plotly.react, so zoom, hover
// and hidden legend entries survive every update. Its lines may come from several runs.

import { Card } from "./card.js";
import { chartLayout, CONFIG } from "./chart_layout.js";
import { readTheme, setText } from "./dom.js";
import { csv, picture } from "./downloads.js";
import { Drawing } from "./drawing.js";
import { HoverLine } from "./hover.js";
import { gatherAll, MarkLabel } from "./marks.js";
import { loadPlotly } from "./plotly.js";
import { follow } from "./poll.js";
import { xValues } from "./series.js";
import { CSV_HEAD, csvRows, lineTraces } from "./traces.js";

export class ChartView {
  constructor(root) {
    this.root = root;
    this.card = new Card(root);
    const { stage, plot } = this.card;
    this.label = new MarkLabel(stage, plot);
    this.hover = new HoverLine(stage, plot);
    this.following = new Map(); // run -> what is followed of it
    this.drawing = new Drawing(stage, () => this.render(), () => this.follow());
  }

  update({ data }) {
    this.data = data;
    const { spec, view } = data;
    this.card.say(spec);
    this.card.plot.dataset.chart = spec.key;
    this.card.stage.setAttribute("aria-label", `Chart: ${spec.title}. Arrow keys read its values.`);
    this.card.menu.describe(spec.title, (format) => this.download(format), () => this.fileName());
    this.hover.kind = view.x;
    if (this.drawing.near) this.follow();
    loadPlotly(data.plotly).then(
      (Plotly) => {
        this.Plotly = Plotly;
        this.drawing.ask();
      },
      (error) => setText(this.card.empty, `${error.message}: reload the page.`),
    );
  }

  // Rows are asked for when the chart first comes near the view, and from then on.
  follow() {
    if (!this.data) return;
    const { base, run, spec } = this.data;
    const before = this.following;
    const wants = new Map(run === null ? [] : [[run, []]]);
    for (const line of spec.lines) {
      const owner = line.run ?? run;
      wants.set(owner, [...(wants.get(owner) ?? []), line.want]);
    }
    this.following = new Map(
      [...wants].map(([owner, asked]) => [
        owner,
        follow(base, owner, {
          wants: asked,
          onRows: () => this.drawing.ask(),
          onState: () => this.onState(),
        }),
      ]),
    );
    for (const following of before.values()) following.stop();
    this.drawing.ask();
  }

  // The x axis in epochs or minutes needs the run's length and start, known from the first answer.
  // And when the run went on by a hundredth, the axis grows even where no new point came.
  onState() {
    const frame = this.pollers()
      .map(({ state, marksVersion }) => `${state?.total_steps} ${state?.total_epochs} ${state?.began} ${marksVersion}`)
      .join();
    if (frame !== this.frame || this.step() > 1.01 * this.drawnStep) {
      this.frame = frame;
      this.drawing.ask();
    }
  }

  pollers() {
    return [...this.following.values()].map(({ poller }) => poller);
  }

  step() {
    return Math.max(...this.pollers().map(({ state }) => state?.step ?? 0));
  }

  // The lines of the specification, and one for each further scalar that came under a `*`.
  lines() {
    const { spec, run } = this.data;
    const { lines, others } = spec;
    if (!others.length) return lines;
    const known = new Set(lines.map((line) => line.series));
    const names = this.following.get(lines[0].run ?? run)?.names(lines[0].want) ?? [];
    const further = names.filter((name) => !known.has(name)).map((name, place) => ({
      ...lines[0],
      series: name,
      name: name.replace(/^[^/]*\//, "").replaceAll("_", " "),
      look: others[place % others.length],
      hidden: false,
    }));
    return [...lines, ...further];
  }

  // Each line that has rows, with what it is drawn from.
  sources() {
    const sources = [];
    for (const line of this.lines()) {
      const following = this.following.get(line.run ?? this.data.run);
      const table = following?.table(line.want, line.series);
      if (!table) continue;
      const source = {
        table,
        rest: line.rest ? following.table(line.want, line.rest) : undefined,
        columns: following.columns(line.want),
        run: following.poller.state,
        end: this.now(following.poller),
      };
      sources.push({ line, source });
    }
    return sources;
  }

  // What the x axis is zoomed to; null when it shows everything.
  zoomed() {
    const axis = this.card.plot.layout?.xaxis;
    return axis && !axis.autorange && axis.range ? axis.range.map(Number) : null;
  }

  // x of where a run is now, on the axis that is chosen; NaN before its first step.
  now({ state, lag }) {
    if (!state?.step) return NaN;
    const wall = Math.min(Date.now() / 1000 + lag, state.ended ?? Infinity);
    const table = { step: [state.step], epoch: [state.epoch - 1], wall: [wall] };
    return xValues(table, this.data.view, state)[0];
  }

  end() {
    const ends = this.pollers().map((poller) => this.now(poller)).filter((x) => !Number.isNaN(x));
    return ends.length ? Math.max(...ends) : NaN;
  }

  markLines() {
    const range = this.zoomed() ?? [this.data.view.x === "fork" ? -Infinity : 0, this.end()];
    return gatherAll(this.pollers(), this.data.view, range, this.card.stage.clientWidth);
  }

  render() {
    if (!this.Plotly || !this.data) return false;
    const { spec, view } = this.data;
    const { plot, stage } = this.card;
    this.drawnStep = this.step() || Infinity;
    const theme = readTheme(this.root);
    const zoomed = this.zoomed() ?? [];
    const shown = { view, theme, panels: spec.panels, zoomed };
    const traces = this.sources().flatMap(({ line, source }) => lineTraces(line, source, shown));
    const lines = (this.label.lines = this.markLines());
    plot.dataset.marks = String(lines.length);
    plot.dataset.points = String(traces.reduce((sum, trace) => sum + trace.x.length, 0));
    this.card.setDrawn(traces.length > 0);
    if (!traces.length && !this.drawn) return false;
    const width = stage.clientWidth;
    const layout = chartLayout({ spec, view, theme, width, traces, end: this.end(), lines });
    this.Plotly.react(plot, traces, layout, CONFIG);
    if (!this.drawn) {
      this.drawn = true;
      plot.on("plotly_relayout", (change) => {
        if (Object.keys(change).some((key) => key.startsWith("xaxis"))) this.drawing.ask();
      });
    }
    return true;
  }

  title() {
    const names = this.pollers().map(({ state }) => state?.name).filter(Boolean);
    return names.length === 1 ? `${this.data.spec.title} · ${names[0]}` : this.data.spec.title;
  }

  fileName() {
    return `run ${[...this.following.keys()].join("+")} ${this.data.spec.key}`;
  }

  async download(format) {
    if (format !== "csv") return picture(this.Plotly, this.card.plot, format, this.title());
    const { panels } = this.data.spec;
    return csv([CSV_HEAD, ...this.sources().flatMap(({ line, source }) => csvRows(line, source, panels))]);
  }

  destroy() {
    this.drawing.stop();
    this.hover.stop();
    for (const following of this.following.values()) following.stop();
    if (this.drawn) this.Plotly.purge(this.card.plot);
    this.root.replaceChildren();
  }
}
