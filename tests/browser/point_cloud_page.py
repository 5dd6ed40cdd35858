"""A bare page with one point cloud of the dashboard's own modules, for tests and benchmarks."""

from __future__ import annotations

from app.assets import OWN_FILES
from app.bundle import bundle

GROUNDS = {"light": ("#ffffff", "#31333f"), "dark": ("#0e1117", "#fafafa")}

# `blobs(count, classes)`: discs and rings around a middle for each class, the same each time.
BLOBS = """
window.blobs = (count, classes, { shift = 0, ground = "light" } = {}) => {
  let state = 1;
  const uniform = () => (state = (state * 1664525 + 1013904223) >>> 0) / 4294967296;
  const length = () => Math.sqrt(-2 * Math.log(uniform() + 1e-12));
  const normal = () => length() * Math.cos(2 * Math.PI * uniform());
  const middle = () => [normal() * 8, normal() * 5, 0.3 + uniform() * 0.6];
  const middles = Array.from({ length: classes }, middle);
  const tint = (place) => {
    const lightness = ground === "dark" ? 0.65 : 0.48;
    const reach = 0.6 * Math.min(lightness, 1 - lightness);
    const part = (start) => (start + ((place * 137.5) % 360) / 30) % 12;
    const level = (k) => lightness - reach * Math.max(-1, Math.min(k - 3, 9 - k, 1));
    return [0, 8, 4].map((start) => Math.round(255 * level(part(start))));
  };
  const made = {
    count, x: new Float32Array(count), y: new Float32Array(count), keys: new Float64Array(count),
    colors: new Uint8Array(4 * count), open: new Uint8Array(count), kind: new Uint32Array(count),
  };
  for (let point = 0; point < count; point += 1) {
    const [x, y, spread] = middles[point % classes];
    made.kind[point] = point % classes;
    made.x[point] = x + normal() * spread + shift;
    made.y[point] = y + normal() * spread;
    made.keys[point] = point;
    made.open[point] = Math.floor(point / classes) % 2;
    made.colors.set([...tint(point % classes), 230], 4 * point);
  }
  const priors = middles.map(([x, y, spread], place) => ({
    x: x + shift, y, varX: spread ** 2, covXY: 0, varY: spread ** 2,
    color: tint(place), label: `class ${place}`,
  }));
  return { ...made, priors };
};
"""


def point_cloud_page(width: int, height: int, ground: str = "light") -> str:
    """HTML of a page whose `#host` has that size in CSS pixels, with `PointCloud` and `blobs`."""
    modules = {path.stem: path.read_text("utf-8") for path in OWN_FILES.glob("*.js")}
    script = bundle(modules, "point_cloud").replace(
        "export const { PointCloud }", "const { PointCloud }"
    )
    back, text = GROUNDS[ground]
    return f"""<!doctype html><meta charset="utf-8"><title>Point cloud</title>
<style>
body {{ margin: 0; background: {back}; --st-background-color: {back}; --st-text-color: {text}; }}
#host {{ width: {width}px; height: {height}px; }}
{(OWN_FILES / "point_cloud.css").read_text("utf-8")}
</style>
<div id="host"></div>
<script type="module">
{script}
window.PointCloud = PointCloud;
{BLOBS}
</script>"""
