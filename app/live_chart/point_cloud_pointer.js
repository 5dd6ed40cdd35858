// Mouse, pen and fingers on a point cloud: drag, wheel, pinch, click, double click and lasso.

const CLICK = 5; // pixels a press may wander and still be a click
const LASSO_STEP = 2; // pixels between two corners of a lasso
const WHEEL = 0.0016; // of a zoom, per pixel the wheel was turned
const LINE = 16; // pixels of a wheel that counts in lines

export class Pointer {
  // `cloud` has node, pan, zoom, meet, leave, pick, touch, fit, lasso and closeLasso.
  constructor(cloud, signal) {
    this.cloud = cloud;
    this.pressed = new Map(); // pointer id -> [left, top]
    this.moved = 0; // pixels since the first press
    this.drawing = false; // a lasso
    const on = (kind, hear) => cloud.node.addEventListener(kind, hear, { signal, passive: false });
    on("pointerdown", (event) => this.down(event));
    on("pointermove", (event) => this.move(event));
    on("pointerup", (event) => this.up(event, true));
    on("pointercancel", (event) => this.up(event, false));
    on("pointerleave", (event) => event.pointerType === "mouse" && !this.pressed.size && cloud.leave());
    on("wheel", (event) => this.wheel(event));
    on("click", (event) => this.click(event));
    on("dblclick", () => this.moved <= CLICK && cloud.fit());
  }

  at(event) {
    const { left, top } = this.cloud.node.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  }

  down(event) {
    if (event.button !== 0) return;
    const { cloud } = this;
    cloud.node.focus({ preventScroll: true });
    cloud.node.setPointerCapture(event.pointerId);
    this.pressed.set(event.pointerId, this.at(event));
    if (this.pressed.size === 1) {
      this.moved = 0;
      this.drawing = cloud.tool === "lasso" || event.shiftKey;
      this.corners = [this.at(event)];
    } else {
      this.moved = Infinity; // two fingers never click
      this.drop();
    }
    event.preventDefault();
  }

  move(event) {
    const { cloud, pressed } = this;
    const here = this.at(event);
    const before = pressed.get(event.pointerId);
    if (!before) {
      if (!pressed.size) cloud.meet(...here, event.clientX, event.clientY);
      return;
    }
    this.moved += Math.hypot(here[0] - before[0], here[1] - before[1]);
    if (this.drawing) return this.draw(event, here);
    if (this.moved <= CLICK) return undefined; // not told apart from a click yet
    if (pressed.size > 1) return this.pinch(event, here);
    pressed.set(event.pointerId, here);
    cloud.leave();
    cloud.node.dataset.held = "";
    return cloud.pan(here[0] - before[0], here[1] - before[1]);
  }

  draw(event, here) {
    this.pressed.set(event.pointerId, here);
    const [left, top] = this.corners.at(-1);
    if (Math.hypot(here[0] - left, here[1] - top) >= LASSO_STEP) this.corners.push(here);
    if (this.moved <= CLICK) return;
    this.cloud.leave();
    this.cloud.lasso(this.corners);
  }

  // Two fingers: what lies under their middle moves with it and grows with their distance.
  pinch(event, here) {
    const { pressed, cloud } = this;
    const other = [...pressed].find(([id]) => id !== event.pointerId)[1];
    const before = pressed.get(event.pointerId);
    pressed.set(event.pointerId, here);
    const middle = (a, b) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    const apart = (a, b) => Math.max(1, Math.hypot(a[0] - b[0], a[1] - b[1]));
    const [now, was] = [middle(here, other), middle(before, other)];
    cloud.pan(now[0] - was[0], now[1] - was[1]);
    cloud.zoom(apart(here, other) / apart(before, other), ...now);
  }

  up(event, meant) {
    const { cloud } = this;
    if (!this.pressed.delete(event.pointerId) || this.pressed.size) return;
    delete cloud.node.dataset.held;
    if (meant && this.drawing && this.moved > CLICK) cloud.closeLasso(this.corners);
    this.drop();
  }

  // The second click of a double one means that, not the point once more.
  click(event) {
    if (this.moved > CLICK || event.detail > 1) return;
    if (event.pointerType === "touch") this.cloud.touch(...this.at(event), event.clientX, event.clientY);
    else this.cloud.pick(...this.at(event));
  }

  drop() {
    if (this.drawing) this.cloud.lasso([]);
    this.drawing = false;
  }

  wheel(event) {
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === 0 ? 1 : LINE);
    // A pinch on a touch pad comes as a wheel with ctrl, in small numbers.
    const turned = Math.max(-240, Math.min(240, event.ctrlKey ? pixels * 6 : pixels));
    this.cloud.zoom(Math.exp(-turned * WHEEL), ...this.at(event));
  }
}
