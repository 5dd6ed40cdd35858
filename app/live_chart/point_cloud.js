// A cloud of up to some 50,000 points that one can walk through: WebGL2 below, outlines, lasso and
// marks above. It draws when something changed and is in view, and nothing else ever.

import { element, readTheme, setHidden, setText } from "./dom.js";
import { Drawing } from "./drawing.js";
import { Camera } from "./point_cloud_camera.js";
import { wantsMotion } from "./point_cloud_glide.js";
import { Grid } from "./point_cloud_grid.js";
import { KEYS_TEXT, press } from "./point_cloud_keys.js";
import { Overlay } from "./point_cloud_overlay.js";
import { Pointer } from "./point_cloud_pointer.js";
import { Points } from "./point_cloud_points.js";
import { Renderer } from "./point_cloud_renderer.js";

const REACH = 8; // CSS pixels from a point within which it is met, beside half its size
const MOVE = 220; // milliseconds of a move of the view that a person asked for
const SIZE = { least: 3, most: 8, share: 1.9 }; // CSS pixels; times the fourth root of a point's share of the view
const GROWTH = 0.3; // power of the magnification by which points grow when one goes nearer
const LARGEST = 2.5; // times their size
const SHARPEST = { few: 2, many: 1.5, at: 20000 }; // device pixels to a CSS pixel at most
const PICTURE = 2; // of a picture to keep
const MARGIN = 144; // CSS pixels drawn beyond each edge: a drag within it only slides the picture
const CLIPPED = 12; // of them, where GL leaves out points whose middle is not on the canvas
const NO_WEBGL = "This browser shows no WebGL2 graphics, which the points need: turn on its hardware acceleration or use a newer one.";
const LOST = "The browser took the graphics memory back; the points return with it, or when the page is loaded anew.";

export class PointCloud {
  // Callbacks may be left out. `onTool` hears of a tool that was chosen by keyboard.
  constructor(host, { label = "Points", onHover, onSelect, onPick, onView, onTool } = {}) {
    this.tell = { onHover, onSelect, onPick, onView, onTool };
    this.node = element("div", "fasa-cloud");
    this.trouble = element("p", "fasa-cloud-trouble");
    this.trouble.hidden = true;
    this.canvas = element("canvas");
    this.over = element("canvas");
    const side = `calc(100% + ${2 * MARGIN}px)`;
    Object.assign(this.canvas.style, { inset: `${-MARGIN}px`, width: side, height: side });
    this.node.append(this.canvas, this.over, this.trouble);
    host.append(this.node);
    this.points = new Points();
    this.camera = new Camera();
    this.overlay = new Overlay(this.over);
    this.tool = "pan";
    this.theme = readTheme(this.node);
    this.stale = true;
    this.painted = { x: 0, y: 0, scale: 1, ratio: 0 }; // what the picture there is shows
    this.met = null; // index of the point under the pointer
    this.selected = false;
    this.listen(label);
    try {
      this.renderer = new Renderer(this.canvas);
    } catch {
      this.say(NO_WEBGL);
    }
    this.drawing = new Drawing(this.node, () => this.render());
  }

  listen(label) {
    const { node } = this;
    this.listeners = new AbortController();
    const { signal } = this.listeners;
    Object.assign(node, { tabIndex: 0, role: "application" });
    node.setAttribute("aria-label", `${label}. ${KEYS_TEXT}`);
    node.setAttribute("aria-roledescription", "scatter plot");
    node.addEventListener("keydown", (event) => press(this, event) && event.preventDefault(), { signal });
    this.pointer = new Pointer(this, signal);
    const lost = (event) => {
      event.preventDefault(); // else it is never restored
      this.say(LOST);
    };
    const restored = () => {
      this.say("");
      this.renderer.build();
      this.repaint();
    };
    this.canvas.addEventListener("webglcontextlost", lost, { signal });
    this.canvas.addEventListener("webglcontextrestored", restored, { signal });
  }

  say(trouble) {
    this.grid = null;
    setText(this.trouble, trouble);
    setHidden(this.trouble, !trouble);
    this.canvas.hidden = trouble !== "";
  }

  // What is shown -------------------------------------------------------------------------------

  // `keys`: texts or numbers, the same for the same thing before and after; points whose key is
  // known glide to their new place within `animate` milliseconds, new ones fade in. Points without a
  // place (NaN) are not there. The arrays are kept, not copied.
  setPoints({ count, x, y, keys, animate = 0 }) {
    const milliseconds = wantsMotion() ? animate : 0;
    this.overlay.settle(this.points);
    this.points.replace({ count, x, y, keys }, milliseconds);
    this.camera.follow(this.points.bounds(), milliseconds);
    this.renew("places");
    if (this.met !== null) this.meet(...this.metAt);
  }

  // Any of `colors` (RGBA; an alpha of 0 hides the point), `open`, `dim` and `size`; what is left out
  // stays. Without a size the room there is for each point decides.
  setStyle({ colors, open, dim, size }) {
    const given = Object.entries({ colors, open, dim, size }).filter(([, value]) => value !== undefined);
    this.points.setStyle(Object.fromEntries(given));
    this.renew("looks");
  }

  setEllipses(ellipses) {
    this.overlay.setEllipses(ellipses, this.points);
    this.drawing.ask();
  }

  // Rings a point, say the same object in another cloud; null takes the ring away.
  setMark(index) {
    this.overlay.mark = index;
    this.drawing.ask();
  }

  // The ground changed; the colours of outlines' names, marks and lasso are read anew.
  setDark(dark) {
    this.theme = { ...readTheme(this.node), dark };
    this.repaint();
  }

  setTool(tool, byPerson = false) {
    this.tool = tool;
    this.node.dataset.tool = tool;
    if (byPerson) this.tell.onTool?.(tool);
  }

  // {x, y, scale, fitted}: the middle in data units, CSS pixels per data unit, and whether the view
  // is the one that shows all (it then follows the points; any other stays as it is).
  view() {
    return this.camera.view();
  }

  // A view, or null for all points.
  setView(view) {
    if (!view || view.fitted) return this.resetView();
    this.camera.set(view);
    return this.drawing.ask();
  }

  resetView() {
    this.camera.fit();
    this.drawing.ask();
  }

  resize() {
    this.drawing.ask();
  }

  // Drawing -------------------------------------------------------------------------------------

  renew(what) {
    this.grid = null;
    this.renderer?.renew(what);
    this.repaint();
  }

  // The points are to be drawn anew. `drawing.ask()` alone does so only when the view needs it, else
  // it slides them, and draws what lies over them.
  repaint() {
    this.stale = true;
    this.drawing?.ask();
  }

  // Diameter of a point in CSS pixels.
  size() {
    const { camera, points } = this;
    const root = ((camera.width * camera.height) / Math.max(1, points.count)) ** 0.25;
    const { size = Math.max(SIZE.least, Math.min(SIZE.most, SIZE.share * root)) } = points.style;
    return size * Math.min(LARGEST, Math.max(1, camera.magnification() ** GROWTH));
  }

  ratio() {
    return Math.min(devicePixelRatio, this.points.count > SHARPEST.at ? SHARPEST.many : SHARPEST.few);
  }

  // False: others may draw in the same frame, one picture of points is quickly drawn.
  render() {
    if (!this.renderer || this.renderer.lost) return false;
    const { camera, painted, node } = this;
    const ratio = this.ratio();
    const resized = camera.resize(node.clientWidth, node.clientHeight);
    const now = performance.now();
    const { glide } = this.points;
    const { share } = glide;
    const moving = [glide.step(now), camera.step(now)].includes(true);
    if (this.stale || glide.share !== share || resized || painted.ratio !== ratio || !this.slide()) {
      this.paint({ ratio, margin: MARGIN });
      this.canvas.style.transform = "";
      this.painted = { ...camera.view(), ratio };
      this.stale = false;
    }
    this.overlay.draw(this.points, camera, { ratio, size: this.size(), theme: this.theme });
    if (moving) this.drawing.ask();
    return false;
  }

  // Moves the picture there is to where the view went; false when it is of another scale or does not
  // reach so far.
  slide() {
    const { x, y, scale, ratio } = this.painted;
    if (scale !== this.camera.scale) return false;
    const whole = (pixels) => Math.round(pixels * ratio) / ratio;
    const [right, down] = [whole((x - this.camera.x) * scale), whole((this.camera.y - y) * scale)];
    if (Math.max(Math.abs(right), Math.abs(down)) > MARGIN - CLIPPED) return false;
    this.canvas.style.transform = `translate(${right}px, ${down}px)`;
    return true;
  }

  paint({ ratio, margin }) {
    const look = { ratio, margin, size: this.size(), dark: this.theme.dark };
    this.renderer.draw(this.points, this.camera, look);
  }

  // A PNG of what is in view, on its ground.
  async picture() {
    const sheet = element("canvas");
    const { width, height } = this.camera;
    Object.assign(sheet, { width: width * PICTURE, height: height * PICTURE });
    const context = sheet.getContext("2d");
    context.fillStyle = this.theme.background;
    context.fillRect(0, 0, sheet.width, sheet.height);
    if (this.renderer && !this.renderer.lost && width) {
      this.paint({ ratio: PICTURE, margin: 0 });
      this.overlay.draw(this.points, this.camera, { ratio: PICTURE, theme: this.theme, passing: false });
      context.drawImage(this.canvas, 0, 0, sheet.width, sheet.height);
      if (!this.over.hidden) context.drawImage(this.over, 0, 0, sheet.width, sheet.height);
      this.repaint();
    }
    return new Promise((done) => sheet.toBlob(done, "image/png"));
  }

  // What a person does --------------------------------------------------------------------------

  pan(right, down) {
    this.camera.pan(right, down);
    this.drawing.ask();
    this.viewed();
  }

  zoom(factor, left, top) {
    this.camera.zoom(factor, left, top);
    this.drawing.ask();
    this.viewed();
  }

  fit() {
    this.camera.fit(wantsMotion() ? MOVE : 0);
    this.drawing.ask();
    this.viewed();
  }

  viewed() {
    const { move } = this.camera;
    this.tell.onView?.(move ? { ...move.to, fitted: true } : this.view());
  }

  // What can be met: nothing while nothing is drawn.
  places() {
    this.grid ??= new Grid(this.trouble.hidden ? this.points : new Points());
    return this.grid;
  }

  nearest(left, top) {
    const [x, y] = this.camera.toData(left, top);
    return this.places().nearest(x, y, (REACH + this.size() / 2) / this.camera.scale);
  }

  // The pointer is at a place of the cloud, and at one of the window.
  meet(left, top, clientX, clientY) {
    this.metAt = [left, top, clientX, clientY];
    this.show(this.nearest(left, top));
  }

  leave() {
    this.show(null);
  }

  show(index) {
    if (index === this.met) return;
    this.met = index;
    this.node.toggleAttribute("data-met", index !== null);
    this.setMark(index);
    const [, , clientX, clientY] = this.metAt ?? [];
    this.tell.onHover?.(index, clientX, clientY);
  }

  // A click; with the lasso in hand one beside all points clears the selection.
  pick(left, top) {
    const index = this.nearest(left, top);
    if (index !== null) this.tell.onPick?.(index);
    else if (this.tool === "lasso") this.clear();
  }

  // Fingers do not hover: the first tap on a point reads it, the next one chooses it.
  touch(left, top, clientX, clientY) {
    const before = this.met;
    this.meet(left, top, clientX, clientY);
    if (this.met === null || this.met === before) this.pick(left, top);
  }

  lasso(corners) {
    this.overlay.lasso = corners;
    this.drawing.ask();
  }

  closeLasso(corners) {
    this.select(this.places().inside(corners.map(([left, top]) => this.camera.toData(left, top))));
  }

  selectView() {
    const { width, height } = this.camera;
    this.closeLasso([[0, 0], [width, 0], [width, height], [0, height]]);
  }

  select(indices) {
    this.selected = indices.length > 0;
    this.tell.onSelect?.(indices);
  }

  // True when there was something to clear.
  clear() {
    const something = this.selected || this.met !== null || this.tool === "lasso";
    this.leave();
    if (this.selected) this.select(new Uint32Array(0));
    else if (this.tool === "lasso") this.setTool("pan", true);
    return something;
  }

  readMiddle() {
    const { left, top } = this.node.getBoundingClientRect();
    const { width, height } = this.camera;
    const { x, y, scale } = this.camera;
    const index = this.places().nearest(x, y, Math.hypot(width, height) / 2 / scale);
    if (index === null) return;
    if (index === this.met) return this.tell.onPick?.(index);
    const [right, down] = this.camera.toScreen(...this.points.place(index));
    this.metAt = [right, down, left + right, top + down];
    this.show(index);
  }

  dispose() {
    this.listeners.abort();
    this.drawing.stop();
    this.renderer?.dispose();
    this.renderer = null;
    this.node.remove();
  }
}
