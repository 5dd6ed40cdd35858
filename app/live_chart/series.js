// From rows to the points of a line: x axis, units, smoothing, thinning. Pure.

const MOST_POINTS = 1500; // of a line on screen; a chart is about 600 pixels wide

// x of every row: step, epochs done (a fraction within an epoch), minutes since the start, or
// minutes since the fork. `view.starts` has the moment that is 0 of each run, by its id; of a fork
// two: when its parent was there, for the history it took over, and when it was forked.
export function xValues(table, view, run) {
  if (view.x === "step") return table.step;
  if (view.x === "time" || view.x === "fork") {
    const began = run?.began ?? run?.created ?? table.wall[0];
    const starts = (view.x === "fork" && view.starts?.[run?.id]) || [began];
    const own = starts[starts.length - 1];
    return table.wall.map((wall) => (wall - (wall < own ? starts[0] : own)) / 60);
  }
  const perEpoch = run?.total_steps && run?.total_epochs ? run.total_steps / run.total_epochs : 0;
  return perEpoch ? table.step.map((step) => step / perEpoch) : table.epoch.map((epoch) => epoch + 1);
}

// A value that holds until it is changed: its line goes on to where the run is now.
export function hold(x, y, end) {
  if (!x.length || !(end > x[x.length - 1])) return { x, y };
  return { x: [...x, end], y: [...y, y[y.length - 1]] };
}

// `rest` has the rows of the scalar that a share is a share of, together with its own.
export function yValues(table, line, rest) {
  const raw = line.series
    ? table.values
    : table.values.map((row) => (line.column < row.length ? row[line.column] : NaN));
  switch (line.transform) {
    case "percent":
      return raw.map((value) => value * 100);
    case "per_thousand":
      return raw.map((value) => value * 1000);
    case "thousandth":
      return raw.map((value) => value / 1000);
    case "share":
      return share(raw, table.step, rest);
    case "ratio": {
      const first = raw.find((value) => value > 0);
      return first === undefined ? raw.map(() => NaN) : raw.map((value) => value / first);
    }
    default:
      return raw;
  }
}

// In percent. Long curves are thinned one by one, so the other value may be one of just before.
function share(values, steps, rest) {
  let at = 0;
  return values.map((value, row) => {
    while (at + 1 < (rest?.step.length ?? 0) && rest.step[at + 1] <= steps[row]) at += 1;
    const whole = value + (rest?.values[at] ?? NaN);
    return whole > 0 ? (100 * value) / whole : NaN;
  });
}

// Exponential running mean, corrected for its start (as in Adam), so it neither lags nor dips there.
export function smooth(values, weight) {
  if (!(weight > 0)) return values;
  let mean = 0;
  let mass = 0;
  return values.map((value) => {
    if (!Number.isFinite(value)) return NaN;
    mean = weight * mean + (1 - weight) * value;
    mass = weight * mass + (1 - weight);
    return mean / mass;
  });
}

// At most about MOST_POINTS points between the x `from` and `to`; each bucket keeps its lowest and
// highest value, so no spike is lost. One point either side stays, for lines that leave the view.
export function thin(x, y, from = -Infinity, to = Infinity) {
  // Copies: Plotly takes an array it has seen for unchanged, and ours grow in place.
  if (x.length <= MOST_POINTS) return { x: x.slice(), y: y.slice() };
  let first = 0;
  let last = x.length;
  while (first + 1 < last && x[first + 1] < from) first += 1;
  while (last - 1 > first && x[last - 2] > to) last -= 1;
  if (last - first <= MOST_POINTS) return { x: x.slice(first, last), y: y.slice(first, last) };
  const size = Math.ceil(((last - first) * 2) / MOST_POINTS);
  const keep = [];
  for (let start = first; start < last; start += size) {
    const end = Math.min(last, start + size);
    let low = start;
    let high = start;
    for (let index = start; index < end; index += 1) {
      if (y[index] < y[low] || Number.isNaN(y[low])) low = index;
      if (y[index] > y[high] || Number.isNaN(y[high])) high = index;
    }
    keep.push(Math.min(low, high));
    if (low !== high) keep.push(Math.max(low, high));
  }
  if (keep[keep.length - 1] !== last - 1) keep.push(last - 1);
  return { x: keep.map((index) => x[index]), y: keep.map((index) => y[index]) };
}
