// The axes of a chart: one x axis for all panels, one y axis a panel, stacked from the top. Pure.

import { number } from "./dom.js";
import { shapes } from "./marks.js";
import { houseAxis, houseLayout } from "./plotly.js";

const X_TITLES = {
  epoch: "epochs done",
  step: "step",
  time: "minutes since the start",
  fork: "minutes since the fork",
};
const X_HOVER = {
  epoch: "epoch %{x:.2f}",
  step: "step %{x:,d}",
  time: "minute %{x:.1f}",
  fork: "minute %{x:.1f}",
};
const GAP = 0.07; // between two panels, of the whole height
const NARROW = 420; // pixels

export const CONFIG = {
  displaylogo: false,
  doubleClick: "reset",
  modeBarButtons: [["resetScale2d"]],
};

// Whether a panel is logarithmic: as it is made, unless the reader chose and it has a choice.
export function isLogarithmic(panel, view) {
  const asked = panel.switches && view.log && view.log !== "auto";
  return asked ? view.log === "log" : panel.log;
}

// `end` is where the run is now on the x axis, `lines` the marks.
export function chartLayout({ spec, view, theme, width, traces, end, lines }) {
  const house = houseLayout(theme, width, spec.height);
  const count = spec.panels.length;
  const layout = {
    ...house,
    hovermode: "x unified",
    hoversubplots: "axis",
    dragmode: width < NARROW ? false : "zoom",
    shapes: shapes(lines, theme),
    xaxis: {
      ...houseAxis(theme),
      title: { text: X_TITLES[view.x], font: { size: 11 }, standoff: 6 },
      unifiedhovertitle: { text: X_HOVER[view.x] },
      showspikes: false, // hover.js draws the line, on all charts alike
      uirevision: view.x,
      autorangeoptions: extent(end, view.x),
      anchor: count > 1 ? `y${count}` : "y",
    },
  };
  spec.panels.forEach((panel, index) => {
    const log = isLogarithmic(panel, view);
    layout[index ? `yaxis${index + 1}` : "yaxis"] = {
      ...houseAxis(theme),
      title: { text: panel.title, font: { size: 11 }, standoff: 4 },
      type: log ? "log" : "linear",
      exponentformat: "none",
      ...(panel.whole && highest(traces, index) <= 6 ? { dtick: 1 } : {}),
      ...(log ? { ...logTicks(traces, index), minor: { showgrid: false } } : {}),
      ...(count > 2 ? { nticks: 4 } : {}),
      rangemode: panel.from_zero && !log ? "tozero" : "normal",
      domain: domain(index, count),
      uirevision: `${panel.title} ${log}`,
    };
  });
  return layout;
}

function domain(index, count) {
  const height = (1 - GAP * (count - 1)) / count;
  const top = 1 - index * (height + GAP);
  return [Math.max(0, top - height), top];
}

function values(traces, panel) {
  const axis = panel ? `y${panel + 1}` : "y";
  return traces.filter((trace) => trace.yaxis === axis).flatMap(({ y }) => y);
}

function highest(traces, panel) {
  return values(traces, panel).reduce((most, value) => (value > most ? value : most), 0);
}

// Plotly writes only the leading digit at 2 and 5, which reads as another number: so each place is
// named here. The fewer decades there are, the more places.
function logTicks(traces, panel) {
  const known = values(traces, panel).filter((value) => value > 0);
  const [low, high] = known.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, 0]);
  if (!known.length) return {};
  const first = Math.floor(Math.log10(low)) - 1;
  const last = Math.ceil(Math.log10(high)) + 1;
  const decades = Math.log10(high / low);
  const digits = decades < 1 ? [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8] : decades <= 3 ? [1, 2, 5] : [1];
  const every = Math.max(1, Math.round(decades / 6));
  const tickvals = [];
  for (let power = first; power <= last; power += every) {
    for (const digit of digits) tickvals.push(Number((digit * 10 ** power).toPrecision(3)));
  }
  return { tickmode: "array", tickvals, ticktext: tickvals.map((value) => number(value)) };
}

// From the start to where the run is now: so that all charts of a page share their x axis.
function extent(end, axis) {
  if (Number.isNaN(end)) return {};
  if (axis === "fork") return { include: [0, end] }; // what came before the fork lies below 0
  return { include: [0, end], clipmin: 0, clipmax: end };
}
