// From the rows of a want to the cells of the heat map: order of classes, values, colours. Pure.

const LONGEST = 5000; // columns drawn at most: the newest
const SAMPLE = 20000; // cells at most that the ends of the colours are judged by
const WITHIN = 0.995; // share of the cells that the colours tell apart
const LEAST_FACTOR = 1.1; // a map of factors reaches at least from 1/1.1 to 1.1

// The classes in order of frequency: {order: class indices, starts: [{group, first, count}]}.
// The most frequent group comes first, in it the class with the most instances.
export function inOrder(classes, groups) {
  const order = [];
  const starts = [];
  const known = new Set(groups.map(({ letter }) => letter));
  const others = { letter: "", name: "other", sign: "○", color: { light: "#8A9099", dark: "#8A929C" } };
  for (const group of [...groups, others]) {
    const members = classes.names
      .map((name, index) => index)
      .filter((index) => (group === others ? !known.has(classes.frequency[index]) : classes.frequency[index] === group.letter))
      .sort((a, b) => classes.instances[b] - classes.instances[a] || a - b);
    if (!members.length) continue;
    starts.push({ group, first: order.length, count: members.length });
    order.push(...members);
  }
  return { order, starts };
}

// The values of all classes by epoch: {first: the first column's epoch, columns: E, rows: [C][E]},
// NaN where nothing was logged. `relative` makes them multiples of the class's first value that is
// above 0 (start), or of its last one before (before).
export function cells(table, order, { relative, per_thousand: perThousand }) {
  const last = table.epoch.reduce((most, epoch) => Math.max(most, epoch), 0);
  const least = table.epoch.reduce((least, epoch) => Math.min(least, epoch), last);
  const first = Math.max(0, least, last - LONGEST + 1);
  const columns = new Array(last - first + 1);
  table.epoch.forEach((epoch, place) => {
    if (epoch >= first) columns[epoch - first] = table.values[place];
  });
  const scale = perThousand ? 1000 : 1;
  const rows = order.map((index) => {
    let base = NaN;
    return Array.from(columns, (column) => {
      const value = column ? column[index] * scale : NaN;
      if (!relative) return value;
      if (relative === "start" && value > 0 && Number.isNaN(base)) base = value;
      const ratio = value / base;
      if (relative === "before" && value > 0) base = value;
      return ratio;
    });
  });
  return { first, columns: columns.length, rows };
}

const TO_COLOR = { factor: Math.log2, log: Math.log10, linear: (value) => value };
const FROM_COLOR = { factor: (value) => 2 ** value, log: (value) => 10 ** value, linear: (value) => value };

// What Plotly colours: [C][E] on an even scale; null where there is no value.
export function colorRows(rows, scale) {
  const turn = TO_COLOR[scale];
  return rows.map((row) =>
    row.map((value) => {
      const color = turn(value);
      return Number.isFinite(color) ? color : null;
    }),
  );
}

// The ends of the colours: nearly all cells lie between them; what lies beyond wears the last colour.
export function colorRange(rows, scale) {
  const all = rows.flat();
  const stride = Math.ceil(all.length / SAMPLE);
  const known = Float64Array.from(all.filter((value, place) => value !== null && place % stride === 0)).sort();
  const least = Math.log2(LEAST_FACTOR);
  if (!known.length) return scale === "factor" ? [-least, least] : [0, 1];
  const at = (share) => known[Math.round(share * (known.length - 1))];
  const [low, high] = [at(1 - WITHIN), at(WITHIN)];
  if (scale === "factor") {
    const reach = Math.max(Math.abs(low), Math.abs(high), least);
    return [-reach, reach];
  }
  return high > low ? [low, high] : [low - 0.5, high + 0.5];
}

// Five values along the colour bar, as they are written there: {at: colours, text}.
export function colorTicks([low, high], scale, write) {
  const at = [0, 0.25, 0.5, 0.75, 1].map((share) => low + share * (high - low));
  return { at, text: at.map((color) => write(FROM_COLOR[scale](color))) };
}

// Which rows to show so that `count` of them stand around `row`; [top edge, bottom edge], whole rows.
export function around(row, count, total) {
  const shown = Math.max(1, Math.min(total, Math.round(count)));
  const first = Math.max(0, Math.min(total - shown, Math.round(row - shown / 2 + 0.5)));
  return [first - 0.5, first + shown - 0.5];
}
