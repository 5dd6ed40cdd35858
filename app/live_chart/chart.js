// One chart: a Plotly div that is made once and redrawn in place with Plotly.react, so zoom, hover
// and hidden legend entries survive every update.

import { element, readTheme, setHidden, setText } from "./dom.js";
import { gather, MarkLabel, shapes } from "./marks.js";
import { escape, houseAxis, houseLayout, loadPlotly } from "./plotly.js";
import { follow } from "./poll.js";
import { hold, smooth, thin, xValues, yValues } from "./series.js";

const CONFIG = {
  displaylogo: false,
  doubleClick: "reset",
  modeBarButtons: [["resetScale2d", "toImage"]],
};

const X_TITLES = { epoch: "epochs done", step: "step", time: "minutes since the start" };
const X_HOVER = { epoch: "epoch %{x:.2f}", step: "step %{x:,d}", time: "minute %{x:.1f}" };
const FEW = 40; // points up to which a line shows its markers

export class ChartView {
  constructor(root) {
    this.root = root;
    const card = element("section", "fasa-card");
    this.title = element("h3", "fasa-title");
    this.stage = element("div", "fasa-stage");
    this.plot = element("div", "fasa-plot");
    this.empty = element("p", "fasa-empty");
    this.caption = element("p", "fasa-caption");
    this.stage.append(this.plot, this.empty);
    this.label = new MarkLabel(this.stage, this.plot);
    card.append(this.title, this.stage, this.caption);
    root.append(card);
    this.queued = false;
    this.size = new ResizeObserver(() => this.draw());
    this.size.observe(this.stage);
  }

  update({ data }) {
    this.data = data;
    const { spec } = data;
    setText(this.title, spec.title);
    setText(this.caption, spec.caption);
    setText(this.empty, spec.empty);
    this.stage.style.height = `${spec.height}px`;
    this.plot.dataset.chart = spec.key;
    const before = this.following;
    this.following = follow(data.base, data.run, {
      wants: spec.lines.map((line) => line.want),
      onRows: () => this.draw(),
      onState: () => this.onState(),
    });
    before?.stop();
    loadPlotly(data.plotly).then(
      (Plotly) => {
        this.Plotly = Plotly;
        this.draw();
      },
      (error) => setText(this.empty, `${error.message}: reload the page.`),
    );
  }

  onState() {
    // The x axis in epochs or minutes needs the run's length and start, known from the first answer.
    // And when the run went on by a hundredth, the axis grows even where no new point came.
    const run = this.following.poller.state;
    const marks = this.following.poller.marksVersion;
    const frame = `${run?.total_steps} ${run?.total_epochs} ${run?.began} ${marks}`;
    if (frame !== this.frame || run?.step > 1.01 * this.drawnStep) {
      this.frame = frame;
      this.draw();
    }
  }

  // Several reasons to draw within one frame make one drawing.
  draw() {
    if (this.queued || this.gone) return;
    this.queued = true;
    requestAnimationFrame(() => {
      this.queued = false;
      if (!this.gone && this.Plotly && this.data && this.stage.clientWidth > 0) this.render();
    });
  }

  // The lines of the specification, and one for each further scalar that came under a `*`.
  lines() {
    const { lines, others } = this.data.spec;
    const known = new Set(lines.map((line) => line.series));
    const further = [];
    if (others.length) {
      const want = lines[0].want;
      for (const name of this.following.names(want)) {
        if (known.has(name)) continue;
        const look = others[further.length % others.length];
        const label = name.replace(/^[^/]*\//, "").replaceAll("_", " ");
        further.push({ ...lines[0], series: name, name: label, look, hidden: false });
      }
    }
    return [...lines, ...further];
  }

  traces(theme) {
    const { view } = this.data;
    const run = this.following.poller.state;
    const zoomed = this.zoomed() ?? [];
    const end = this.now();
    const traces = [];
    for (const line of this.lines()) {
      const table = this.following.table(line.want, line.series);
      if (!table) continue;
      let x = xValues(table, view.x, run);
      let y = yValues(table, line);
      if (line.holds) ({ x, y } = hold(x, y, end));
      const color = theme.dark ? line.look.color.dark : line.look.color.light;
      const weight = line.smooth && y.length > 2 ? view.smoothing : 0;
      const uid = cssName(line.name);
      const base = {
        type: "scatter",
        legendgroup: line.name,
        name: escape(line.name),
        yaxis: line.panel ? "y2" : "y",
        visible: line.hidden ? "legendonly" : true,
      };
      if (weight > 0) {
        traces.push({
          ...base,
          ...thin(x, y, ...zoomed),
          uid: `${uid}-raw`,
          mode: "lines",
          opacity: 0.22,
          showlegend: false,
          hoverinfo: "skip",
          line: { color, width: 1 },
        });
      }
      const points = thin(x, smooth(y, weight), ...zoomed);
      const few = points.x.length <= FEW;
      traces.push({
        ...base,
        ...points,
        uid,
        mode: (line.markers && few) || points.x.length < 3 ? "lines+markers" : "lines",
        line: { color, width: 2, dash: line.look.dash, shape: line.steps ? "hv" : "linear" },
        marker: { color, size: 6, symbol: line.look.symbol },
        cliponaxis: false,
        hovertemplate: `%{y:${this.data.spec.panels[line.panel].number}}<extra>${escape(line.name)}</extra>`,
      });
    }
    return traces;
  }

  // What the x axis is zoomed to; null when it shows everything.
  zoomed() {
    const axis = this.plot.layout?.xaxis;
    return axis && !axis.autorange && axis.range ? axis.range.map(Number) : null;
  }

  // x of where the run is now, on the axis that is chosen; NaN before its first step.
  now() {
    const run = this.following.poller.state;
    if (!run?.step) return NaN;
    const wall = Math.min(Date.now() / 1000 + this.following.poller.lag, run.ended ?? Infinity);
    const table = { step: [run.step], epoch: [run.epoch - 1], wall: [wall] };
    return xValues(table, this.data.view.x, run)[0];
  }

  markLines() {
    const { marks, state } = this.following.poller;
    const range = this.zoomed() ?? [0, this.now()];
    return gather(marks, this.data.view.x, state, range, this.stage.clientWidth);
  }

  layout(theme, traces) {
    const { spec, view } = this.data;
    const narrow = this.stage.clientWidth < 420;
    const axis = houseAxis(theme);
    const layout = {
      ...houseLayout(theme, this.stage.clientWidth, spec.height),
      hovermode: "x unified",
      hoversubplots: "axis",
      dragmode: narrow ? false : "zoom",
      shapes: shapes(this.label.lines, theme),
      xaxis: {
        ...axis,
        title: { text: X_TITLES[view.x], font: { size: 11 }, standoff: 6 },
        unifiedhovertitle: { text: X_HOVER[view.x] },
        showspikes: true,
        spikemode: "across",
        spikethickness: 1,
        spikedash: "solid",
        spikecolor: theme.quiet,
        uirevision: view.x,
        autorangeoptions: this.extent(),
        anchor: spec.panels.length > 1 ? "y2" : "y",
      },
    };
    spec.panels.forEach((panel, index) => {
      const gap = 0.06;
      const half = spec.panels.length > 1 ? [0.5 + gap, 1] : [0, 1];
      layout[index ? "yaxis2" : "yaxis"] = {
        ...axis,
        title: { text: panel.title, font: { size: 11 }, standoff: 4 },
        type: panel.log ? "log" : "linear",
        exponentformat: "none",
        ...(panel.whole && this.highest(traces, index) <= 6 ? { dtick: 1 } : {}),
        ...(panel.log ? { dtick: "D2", minor: { showgrid: false } } : {}),
        rangemode: panel.from_zero && !panel.log ? "tozero" : "normal",
        domain: index ? [0, 0.5 - gap] : half,
        uirevision: `${panel.title} ${panel.log}`,
      };
    });
    return layout;
  }

  highest(traces, panel) {
    const axis = panel ? "y2" : "y";
    return Math.max(0, ...traces.filter((trace) => trace.yaxis === axis).flatMap(({ y }) => [...y]));
  }

  // From the start to where the run is now: so that all charts of a page share their x axis.
  extent() {
    const end = this.now();
    return Number.isNaN(end) ? {} : { include: [0, end], clipmin: 0, clipmax: end };
  }

  render() {
    this.drawnStep = this.following.poller.state?.step ?? Infinity;
    const theme = readTheme(this.root);
    const traces = this.traces(theme);
    this.label.lines = this.markLines();
    this.plot.dataset.marks = String(this.label.lines.length);
    setHidden(this.empty, traces.length > 0);
    this.plot.style.visibility = traces.length ? "visible" : "hidden";
    this.plot.dataset.points = String(traces.reduce((sum, trace) => sum + trace.x.length, 0));
    if (!traces.length && !this.drawn) return;
    this.Plotly.react(this.plot, traces, this.layout(theme, traces), CONFIG);
    if (!this.drawn) {
      this.drawn = true;
      this.plot.on("plotly_relayout", (change) => {
        if (Object.keys(change).some((key) => key.startsWith("xaxis"))) this.draw();
      });
    }
  }

  destroy() {
    this.gone = true;
    this.size.disconnect();
    this.following?.stop();
    if (this.drawn) this.Plotly.purge(this.plot);
    this.root.replaceChildren();
  }
}

// Plotly looks a curve up by a CSS class made of its uid: a name as it is, with spaces and
// brackets, would be no such selector.
function cssName(name) {
  return "curve" + Array.from(name, (letter) => `-${letter.codePointAt(0).toString(36)}`).join("");
}
