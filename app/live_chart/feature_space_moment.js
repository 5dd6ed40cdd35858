// Which snapshot and method is shown, and in words what of it is still to come. Pure; imports nothing.

export const METHODS = { pca: "PCA", umap: "UMAP joint", umap_real: "UMAP fitted on real" };
const PATIENCE = 45; // seconds a snapshot may wait for its first picture until the projector is doubted

export function isReady(snapshot, method) {
  return snapshot?.methods[method]?.state === "ready";
}

// What the log calls epoch 0 is the first one.
export function epochText(snapshot) {
  return `epoch ${snapshot.epoch + 1}`;
}

// The place of the snapshot that `step` asks for, or of the nearest one kept before it; null: newest.
export function placeOf(snapshots, step) {
  if (step === null) return snapshots.length - 1;
  const found = snapshots.findLastIndex((snapshot) => snapshot.step <= step);
  return Math.max(found, snapshots.length ? 0 : -1);
}

// The snapshot of another run that belongs beside one: of the same step, else the last of its epoch
// or before it.
export function beside(snapshots, { step, epoch }) {
  return (
    snapshots.find((snapshot) => snapshot.step === step) ??
    snapshots.findLast((snapshot) => snapshot.epoch <= epoch) ??
    snapshots[0] ?? null
  );
}

// What can be shown of what is wanted: {snapshot, method, words}, snapshot null while there is no
// picture. Who follows the newest keeps the method and waits for its picture; who chose an epoch
// sees that epoch, by PCA while the method is not ready.
export function resolve(snapshots, wanted, method, { follows, now }) {
  if (!wanted) return { snapshot: null, method, words: "" };
  const words = isReady(wanted, method) ? "" : stateWords(wanted, method, now);
  if (!words) return { snapshot: wanted, method, words };
  const earlier = snapshots.slice(0, snapshots.indexOf(wanted) + 1);
  if (follows) {
    const kept = earlier.findLast((snapshot) => isReady(snapshot, method));
    const failed = wanted.methods[method]?.state === "failed";
    if (kept && !failed) return { snapshot: kept, method, words: `${words} Shown is ${epochText(kept)}.` };
  }
  if (isReady(wanted, "pca")) return { snapshot: wanted, method: "pca", words: `${words} Shown is PCA.` };
  const kept = earlier.findLast((snapshot) => isReady(snapshot, "pca"));
  if (kept && follows) return { snapshot: kept, method: "pca", words: `${words} Shown is ${epochText(kept)} by PCA.` };
  return { snapshot: null, method, words };
}

// One sentence or two on a picture that is not ready; `now` in seconds of the server's clock.
export function stateWords(snapshot, method, now) {
  const name = METHODS[method];
  const epoch = epochText(snapshot);
  const picture = snapshot.methods[method];
  if (picture?.state === "running") return `${name} of ${epoch} is being computed.`;
  if (picture?.state === "failed") return `${name} of ${epoch} failed: ${ended(picture.error ?? "no reason was stored")}`;
  const waits = now - snapshot.time;
  const untouched = Object.keys(snapshot.methods).length === 0;
  if (untouched && waits > PATIENCE) {
    return `${epoch[0].toUpperCase()}${epoch.slice(1)} has waited ${minutes(waits)} for its picture, so no projector seems to run: ` +
      "start one with “fasa project”, or all of the dashboard with “fasa up”.";
  }
  if (method !== "pca" && !untouched && waits > PATIENCE && !isAnyRunning(snapshot)) {
    return `There is no ${name} of ${epoch}: the projector had fallen behind and left it out.`;
  }
  return `${name} of ${epoch} is about to be computed.`;
}

function isAnyRunning(snapshot) {
  return Object.values(snapshot.methods).some(({ state }) => state === "running");
}

function ended(sentence) {
  return /[.!?]$/.test(sentence) ? sentence : `${sentence}.`;
}

function minutes(seconds) {
  return seconds < 120 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
}

// Epochs that have no snapshot any more, as a sentence; "" when none is missing. The first and the
// newest are always kept.
export function thinnedWords(snapshots) {
  const epochs = new Set(snapshots.map(({ epoch }) => epoch));
  const gaps = [];
  const [first, last] = [snapshots[0]?.epoch ?? 0, snapshots.at(-1)?.epoch ?? 0];
  for (let epoch = first; epoch <= last; epoch += 1) {
    if (epochs.has(epoch)) continue;
    if (gaps.at(-1)?.[1] === epoch - 1) gaps.at(-1)[1] = epoch;
    else gaps.push([epoch, epoch]);
  }
  if (!gaps.length) return "";
  const text = gaps.map(([from, to]) => (from === to ? `${from + 1}` : `${from + 1} to ${to + 1}`)).join(", ");
  const one = gaps.length === 1 && gaps[0][0] === gaps[0][1];
  return `No snapshot is kept of ${one ? "epoch" : "epochs"} ${text}: the oldest make room for new ones, and one that would cost too much time is left out.`;
}
