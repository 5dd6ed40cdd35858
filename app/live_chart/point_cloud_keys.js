// A point cloud by keyboard: every thing a mouse does there.

const STEP = 40; // pixels an arrow moves
const FACTOR = 1.3; // of a zoom
const ARROWS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

export const KEYS_TEXT =
  "Arrows move, plus and minus zoom, 0 shows all, Enter reads the point nearest the middle and again chooses it, " +
  "L turns the lasso on and off, A selects all in view, Escape clears.";

// Whether the cloud understood the key.
export function press(cloud, { key, shiftKey, ctrlKey, metaKey, altKey }) {
  if (ctrlKey || metaKey || altKey) return false;
  if (ARROWS[key]) {
    const step = shiftKey ? 4 * STEP : STEP;
    cloud.pan(ARROWS[key][0] * step, ARROWS[key][1] * step);
  } else if (key === "+" || key === "=") cloud.zoom(FACTOR);
  else if (key === "-" || key === "_") cloud.zoom(1 / FACTOR);
  else if (key === "0") cloud.fit();
  else if (key === "l" || key === "L") cloud.setTool(cloud.tool === "lasso" ? "pan" : "lasso", true);
  else if (key === "a" || key === "A") cloud.selectView();
  else if (key === "Enter" || key === " ") cloud.readMiddle();
  else if (key === "Escape") return cloud.clear();
  else return false;
  return true;
}
