// The columns of the run list, and which runs it shows in which order. Nothing here draws.

import { condition } from "./dom.js";

// `value` is what the column is ordered by; null comes last in either order.
export const COLUMNS = [
  { key: "name", label: "run", first: "ascending", value: (run) => run.name.toLowerCase() },
  { key: "status", label: "status", first: "ascending", value: (run) => condition(run).word },
  { key: "progress", label: "progress", value: (run) => (run.total_steps ? run.step / run.total_steps : null) },
  { key: "left", label: "time left", first: "ascending", value: (run) => run.seconds_left },
  { key: "speed", label: "images/s", value: (run) => run.images_per_second },
  { key: "AP", label: "AP", value: (run) => run.AP },
  { key: "AP_r", label: "AP_r", value: (run) => run.AP_r },
  { key: "alpha", label: "α", hint: "alpha: factor on p when a super-group's loss fell", value: knob("alpha") },
  { key: "beta", label: "β", hint: "beta: factor on p when a super-group's loss rose", value: knob("beta") },
  { key: "m", label: "m", hint: "momentum of the feature prior", value: knob("m") },
  { key: "parent", label: "parent", value: (run) => run.parent?.run ?? null },
];

export const ORDERS = [
  { key: "run", label: "newest" },
  ...COLUMNS,
  { key: "dataset", label: "data set", first: "ascending", value: (run) => run.dataset.toLowerCase() },
];

function knob(name) {
  return (run) => (run.fasa ? run.knobs[name] ?? null : null); // a baseline has none of them
}

// Deleted runs are shown whatever is filtered, so that the deletion can be undone.
export function shownRuns(runs, look) {
  const words = look.search.toLowerCase().split(/\s+/).filter(Boolean);
  const kept = runs.filter((run) => run.deleted !== null || fits(run, look, words));
  const order = ORDERS.find(({ key }) => key === look.sort);
  const sign = look.ascending ? 1 : -1;
  const value = order?.value ?? ((run) => run.id);
  return kept.sort((a, b) => compare(value(a), value(b), sign) || b.id - a.id);
}

function fits(run, look, words) {
  if (run.archived && !look.archived) return false;
  if (look.status.length && !look.status.includes(condition(run).word)) return false;
  if (!look.tags.every((tag) => run.tags.includes(tag))) return false;
  if (!words.length) return true;
  const text = [run.name, `#${run.id}`, run.dataset, condition(run).word, run.note, ...run.tags].join("\n");
  const lower = text.toLowerCase();
  return words.every((word) => lower.includes(word));
}

function compare(a, b, sign) {
  if (a === b) return 0;
  if (a === null) return 1;
  if (b === null) return -1;
  return sign * (typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
}

// How often each word occurs, most frequent first: [[word, count], ...].
export function tally(words) {
  const counts = new Map();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts].sort(([a, n], [b, m]) => m - n || a.localeCompare(b));
}
