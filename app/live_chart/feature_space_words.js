// The sentences of the page Feature space. Pure; imports nothing but how epochs are called.

import { METHODS, epochText, isReady, thinnedWords } from "./feature_space_moment.js";
import { many } from "./feature_space_colors.js";

const ABOUT = {
  pca: "PCA turns the features' axes to where they vary most and shows the two widest: straight shadows, so distances are true as far as two axes hold them",
  umap: "UMAP of real and virtual features together keeps neighbours beside each other; fitted on both, it may draw them closer than they are",
  umap_real: "UMAP fitted on the real features only, the virtual ones put into that picture afterwards: it cannot flatter them",
};
const UMAP_LIMITS = "its axes have no unit, and distances between far clusters mean little";
const MEGABYTE = 1e6;

// What the picture is and how to read it. `virtual`: the run has virtual features.
export function captionText({ method, virtual, two }) {
  const how = method === "pca" ? ABOUT.pca : `${ABOUT[method]}; ${UMAP_LIMITS}`;
  const points = virtual
    ? "Each filled point is the box-head feature of one probe object, each ring a virtual feature drawn from its class's prior " +
      "with fixed noise (Eq. 3), so both can be followed from epoch to epoch; an ellipse is the prior at two standard deviations. "
    : "Each filled point is the box-head feature of one probe object, the same objects at every epoch. ";
  const pair = two ? " Each run has axes of its own: compare neighbourhoods, not places." : "";
  return `${points}${how}.${pair}`;
}

// Words of the two axes. PCA's picture is turned onto that of the epoch before, so an axis holds a
// mixture of the two components' shares of the variance.
export function axisTexts(method, { variance = [], rotation = [[1, 0], [0, 1]] } = {}) {
  return [0, 1].map((axis) => {
    if (method !== "pca") return `UMAP ${axis + 1} (no unit)`;
    const share = rotation[0][axis] ** 2 * variance[0] + rotation[1][axis] ** 2 * variance[1];
    return `PCA ${axis + 1}${Number.isFinite(share) ? `, ${percent(share)} of the variance` : ""}`;
  });
}

// What a snapshot holds and what the snapshots cost.
export function costText(snapshot, { seconds, share, bytes, most_bytes: mostBytes, most_share: mostShare }) {
  const parts = [`${many(snapshot.objects, "object")}, ${many(snapshot.virtual, "virtual feature")}`];
  if (seconds != null) {
    const most = mostShare == null ? "" : ` (at most ${percent(mostShare)})`;
    const of = share == null ? "" : `, all of them ${percent(share)} of the run's time${most}`;
    parts.push(`the last one took ${seconds < 0.1 ? seconds.toFixed(2) : seconds.toFixed(1)} s${of}`);
  }
  if (bytes != null) parts.push(`kept of this run ${megabytes(bytes)}${mostBytes == null ? "" : ` of ${megabytes(mostBytes)}`} MB`);
  return `Snapshot of ${epochText(snapshot)} (step ${snapshot.step.toLocaleString("en")}): ${parts.join("; ")}.`;
}

function percent(share) {
  const value = 100 * share;
  return `${value >= 10 ? value.toFixed(0) : String(Number(value.toPrecision(2)))} %`;
}

function megabytes(bytes) {
  const value = bytes / MEGABYTE;
  return value >= 10 ? value.toFixed(0) : String(Number(value.toPrecision(2)));
}

// How the picture of a method came about, from what the projector stored with it.
export function parameterText(method, { seconds, parameters = {} } = {}) {
  const { seed, start, n_neighbors: neighbours, min_dist: least, epochs, variance } = parameters;
  const { pca_dimensions: dimensions, num_left_out: lost } = parameters;
  const told = [
    dimensions && `on ${dimensions} principal components${variance ? ` (${percent(variance[0])} of the variance)` : ""}`,
    neighbours && `${neighbours} neighbours`,
    least !== undefined && `min_dist ${least}`,
    method !== "pca" && epochs && `${epochs} rounds`,
    method !== "pca" && start !== undefined && (start === "pca" ? "begun from PCA" : "begun from an earlier epoch's picture"),
    seed !== undefined && `seed ${seed}`,
    lost && `${many(lost, "feature that is not finite", "features that are not finite")} left out`,
  ].filter(Boolean);
  const took = seconds == null ? "" : `, made in ${seconds < 1 ? seconds.toFixed(2) : seconds.toFixed(1)} s`;
  return `${METHODS[method]}${took}${told.length ? `: ${told.join(", ")}` : ""}.`;
}

// Why there is nothing to show of a run; "" when there is.
export function emptyText(run) {
  const { state, overview, aimed } = run;
  if (run.sentence && !overview) return run.sentence;
  if (!state || !overview) return "";
  if (overview.snapshots.length) {
    return aimed?.snapshot ? "" : aimed?.words ?? "";
  }
  if (state.deleted !== null) return "This run was deleted, and no snapshot of it is left.";
  if (state.liveness === "over") {
    return `This run is ${state.status} and left no feature snapshot: the first comes at the end of an epoch.`;
  }
  if (state.liveness === "waiting") return "This run has not begun: its first snapshot comes at the end of epoch 1.";
  return "No snapshot yet: the first comes at the end of this epoch and shows up here by itself; the button “Snapshot features” of the live page takes one at once.";
}

// What is to be known of the run beside the picture, sentences.
export function remarks(run) {
  const { state, overview } = run;
  if (!state || !overview?.snapshots.length) return [];
  const found = [];
  if (state.deleted !== null) found.push("This run was deleted.");
  if (!state.fasa) found.push("A baseline without FASA: it draws no virtual features and has no prior, so there are no rings and no ellipses.");
  else if (!overview.snapshots.at(-1).virtual) found.push("No prior has been formed yet: virtual features come once the classes have been observed.");
  if (["crashed", "failed"].includes(state.status)) found.push(`The run ${state.status} in epoch ${state.epoch}: these are the snapshots it left.`);
  const thinned = thinnedWords(overview.snapshots);
  if (thinned) found.push(thinned);
  return found;
}

// Words of the choice of methods: which of them this snapshot has.
export function methodLabel(method, snapshot) {
  const state = snapshot?.methods[method]?.state;
  if (!snapshot || isReady(snapshot, method)) return METHODS[method];
  return `${METHODS[method]} (${state === "running" ? "being computed" : state === "failed" ? "failed" : "not yet"})`;
}

// What was chosen, for eyes and for screen readers.
export function chosenText({ objects, virtual, other }) {
  if (!objects && !virtual) return "";
  const parts = [];
  if (objects) parts.push(many(objects, "object"));
  if (virtual) parts.push(many(virtual, "virtual feature"));
  const linked = other === null ? "" : ` ${other.toLocaleString("en")} of them stand out in the run beside it, too.`;
  return `${parts.join(" and ")} chosen.${linked}`;
}
