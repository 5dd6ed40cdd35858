// What of the plane is in view: the middle in data units and CSS pixels per data unit, the same both
// ways, y upwards. Pure but for the time it is asked with.

import { blend, Glide } from "./point_cloud_glide.js";

const EDGE = 26; // pixels between the outermost points and the edge when all are in view
const FARTHEST = 1 / 4; // smallest and largest scale, in multiples of the one that shows all;
const NEAREST = 1000; // beyond it the float32 coordinates would show their steps
const ROOMY = 0.6; // share of the view that the points fill at least before all is fitted anew

export class Camera {
  constructor() {
    Object.assign(this, { width: 0, height: 0, x: 0, y: 0, scale: 1 });
    this.fitted = true; // shows all, and goes on showing all when the points change
    this.bounds = null; // {left, right, bottom, top} of the points; null: there is none
  }

  // {x, y, scale, fitted}
  view() {
    const { x, y, scale, fitted } = this;
    return { x, y, scale, fitted };
  }

  toScreen(x, y) {
    return [this.width / 2 + (x - this.x) * this.scale, this.height / 2 - (y - this.y) * this.scale];
  }

  toData(left, top) {
    return [this.x + (left - this.width / 2) / this.scale, this.y - (top - this.height / 2) / this.scale];
  }

  // The view that shows all points, alike for none, for one and for many at the same place.
  whole() {
    if (!this.bounds) return { x: 0, y: 0, scale: 1 };
    const { left, right, bottom, top } = this.bounds;
    const room = (length) => Math.max(1, length - 2 * EDGE, length / 2);
    const across = right > left ? room(this.width) / (right - left) : Infinity;
    const upward = top > bottom ? room(this.height) / (top - bottom) : Infinity;
    const scale = Math.min(across, upward);
    const sound = Number.isFinite(scale) && scale > 0 ? scale : Math.min(this.width, this.height) / 4 || 1;
    return { x: (left + right) / 2, y: (bottom + top) / 2, scale: sound };
  }

  fit(milliseconds = 0) {
    this.fitted = true;
    this.go(this.whole(), milliseconds);
  }

  set({ x, y, scale }) {
    if (![x, y, scale].every(Number.isFinite) || scale <= 0) return;
    this.fitted = false;
    this.go({ x, y, scale }, 0);
  }

  // Other points: a view that shows all moves only when they left it or shrank well within it, so
  // that playing epochs does not shake the picture.
  follow(bounds, milliseconds) {
    const had = this.bounds !== null;
    this.bounds = bounds;
    if (!this.fitted || !bounds || !this.width) return;
    const [left, top] = this.toScreen(bounds.left, bounds.top);
    const [right, bottom] = this.toScreen(bounds.right, bounds.bottom);
    const outside = Math.min(left, top, this.width - right, this.height - bottom) < EDGE / 3;
    const small = right - left < this.width * ROOMY && bottom - top < this.height * ROOMY;
    if (!had || outside || small) this.fit(had ? milliseconds : 0);
  }

  // True when the size is another one.
  resize(width, height) {
    if (width === this.width && height === this.height) return false;
    Object.assign(this, { width, height });
    if (this.fitted) this.fit();
    return true;
  }

  pan(right, down) {
    this.hold();
    this.x -= right / this.scale;
    this.y += down / this.scale;
  }

  // What lies under the pixel stays there.
  zoom(factor, left = this.width / 2, top = this.height / 2) {
    this.hold();
    const whole = this.whole().scale;
    const scale = Math.min(whole * NEAREST, Math.max(whole * FARTHEST, this.scale * factor));
    const [x, y] = this.toData(left, top);
    this.scale = scale;
    this.x = x - (left - this.width / 2) / scale;
    this.y = y + (top - this.height / 2) / scale;
  }

  // How much larger things are than when all is in view.
  magnification() {
    return this.scale / this.whole().scale;
  }

  // A person takes hold: a move under way ends where it is.
  hold() {
    this.fitted = false;
    this.move = null;
  }

  go(to, milliseconds) {
    this.move = milliseconds > 0 ? { from: this.view(), to, glide: new Glide(milliseconds) } : null;
    if (!this.move) Object.assign(this, to);
  }

  // Where a move is at a moment; true while it goes on.
  step(now) {
    if (!this.move) return false;
    const { from, to, glide } = this.move;
    const moving = glide.step(now);
    this.x = blend(from.x, to.x, glide.eased);
    this.y = blend(from.y, to.y, glide.eased);
    this.scale = from.scale * (to.scale / from.scale) ** glide.eased;
    if (!moving) this.move = null;
    return moving;
  }
}
