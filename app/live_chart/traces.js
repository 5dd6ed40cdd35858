// From the lines of a chart and their rows to Plotly's traces, and to the rows of its CSV. Pure.

import { escape } from "./plotly.js";
import { hold, smooth, thin, xValues, yValues } from "./series.js";

const FEW = 40; // points up to which a line shows its markers
const BAND = 0.2; // opacity of an area; where two overlap they add up
const RAW = 0.22; // opacity of the values behind a smoothed line

// `view` says how all charts are shown, `zoomed` is what the x axis is zoomed to.
export function lineTraces(line, source, { view, theme, panels, zoomed }) {
  const { table, rest, run, end } = source;
  let x = xValues(table, view, run);
  const color = theme.dark ? line.look.color.dark : line.look.color.light;
  const shape = line.steps ? "hv" : "linear";
  const key = `${line.run ?? ""} ${line.name}`;
  const base = {
    type: "scatter",
    legendgroup: key,
    name: escape(line.name),
    yaxis: line.panel ? `y${line.panel + 1}` : "y",
    visible: line.hidden ? "legendonly" : true,
  };
  if (line.band) {
    const edges = line.band.map((column) => yValues(table, { ...line, column }));
    return area(edges, x, zoomed).map((points, edge) => ({
      ...base,
      ...points,
      uid: cssName(`${key} ${line.band[edge]}`),
      mode: "lines",
      showlegend: false,
      hoverinfo: "skip",
      line: { width: 0, shape },
      ...(edge ? { fill: "tonexty", fillcolor: faint(color, BAND) } : {}),
    }));
  }
  let y = yValues(table, line, rest);
  if (line.holds) ({ x, y } = hold(x, y, end));
  const weight = line.smooth && y.length > 2 ? (view.smoothing ?? 0) : 0;
  const traces = [];
  if (weight > 0) {
    traces.push({
      ...base,
      ...thin(x, y, ...zoomed),
      uid: `${cssName(key)}-raw`,
      mode: "lines",
      opacity: RAW,
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
    uid: cssName(key),
    meta: line.name, // as it is, for the hover line
    mode: (line.markers && few) || points.x.length < 3 ? "lines+markers" : "lines",
    line: { color, width: 2, dash: line.look.dash, shape },
    marker: { color, size: 6, symbol: line.look.symbol },
    cliponaxis: false,
    hovertemplate: `%{y:${panels[line.panel].number}}<extra>${escape(line.name)}</extra>`,
  });
  return traces;
}

// The two edges of an area, without the rows that have no data: Plotly would close it across them.
function area([low, high], x, zoomed) {
  const known = x.map((_, row) => row).filter((row) => Number.isFinite(low[row] + high[row]));
  const at = known.map((row) => x[row]);
  return [low, high].map((edge) => thin(at, known.map((row) => edge[row]), ...zoomed));
}

function faint(color, opacity) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return `rgba(${red},${green},${blue},${opacity})`;
}

export const CSV_HEAD = ["run", "line", "unit", "step", "epoch (from 0)", "time (UTC)", "value"];

// The values of a line, not smoothed, in the unit of its panel; of an area both edges.
export function csvRows(line, { table, rest, run, columns }, panels) {
  const edges = line.band ?? [line.column];
  return edges.flatMap((column) => {
    const name = line.band ? `${line.name}: ${columns[column]}` : line.name;
    return yValues(table, { ...line, column }, rest).map((value, row) => [
      run?.id ?? "",
      name,
      panels[line.panel].title,
      table.step[row],
      table.epoch[row],
      new Date(table.wall[row] * 1000).toISOString(),
      value,
    ]);
  });
}

// Plotly looks a curve up by a CSS class made of its uid: a name as it is, with spaces and
// brackets, would be no such selector.
function cssName(name) {
  return "curve" + Array.from(name, (letter) => `-${letter.codePointAt(0).toString(36)}`).join("");
}
