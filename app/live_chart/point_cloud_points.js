// Where the points were, where they go and how they look: plain arrays, as the renderer uploads them.

import { Glide } from "./point_cloud_glide.js";

const GREY = [138, 144, 153, 255]; // of a point whose colour was not given
const GOLDEN = 0.6180339887498949;

export class Points {
  constructor() {
    this.count = 0;
    this.from = new Float32Array(0); // x, y of each point in turn
    this.to = new Float32Array(0);
    this.fresh = new Uint8Array(0); // 1: was not there before, fades in
    this.keys = [];
    this.glide = new Glide();
    this.sorted = null; // what order() found, until something changes
    this.style = { colors: new Uint8Array(0), open: new Uint8Array(0), dim: new Uint8Array(0) };
  }

  // Points with a key that is already here start from where that one is now.
  replace({ count, x, y, keys }, milliseconds) {
    const before = this.count > 0 && milliseconds > 0 ? this.places(keys, count) : null;
    const to = new Float32Array(2 * count);
    const from = new Float32Array(2 * count);
    const fresh = new Uint8Array(count);
    const share = this.glide.eased;
    for (let point = 0; point < count; point += 1) {
      const at = 2 * point;
      to[at] = x[point];
      to[at + 1] = y[point];
      const old = before ? 2 * before[point] : -2;
      const oldX = old < 0 ? NaN : this.from[old] + (this.to[old] - this.from[old]) * share;
      const oldY = old < 0 ? NaN : this.from[old + 1] + (this.to[old + 1] - this.from[old + 1]) * share;
      const known = Number.isFinite(oldX) && Number.isFinite(oldY);
      from[at] = known ? oldX : to[at];
      from[at + 1] = known ? oldY : to[at + 1];
      fresh[point] = known ? 0 : 1;
    }
    Object.assign(this, { count, to, from, fresh, keys, sorted: null });
    this.glide = new Glide(before ? milliseconds : 0);
  }

  // For each new point the old one of the same key, or -1.
  places(keys, count) {
    const found = new Int32Array(count).fill(-1);
    let same = count === this.count;
    for (let point = 0; same && point < count; point += 1) same = keys[point] === this.keys[point];
    if (same) return found.map((_, point) => point);
    const old = new Map();
    for (let point = 0; point < this.count; point += 1) old.set(this.keys[point], point);
    for (let point = 0; point < count; point += 1) found[point] = old.get(keys[point]) ?? -1;
    return found;
  }

  setStyle(style) {
    Object.assign(this.style, style);
    this.sorted = null;
  }

  // Whether a point is drawn and can be met: it has a place, and a colour that is not fully clear.
  shows(point) {
    const { colors } = this.style;
    const seen = 4 * point + 3 >= colors.length || colors[4 * point + 3] > 0;
    return seen && Number.isFinite(this.to[2 * point]) && Number.isFinite(this.to[2 * point + 1]);
  }

  // Colour RGBA and look (open, dim, fresh, 0) of every point, a byte each.
  bytes() {
    const { colors, open, dim } = this.style;
    const tints = new Uint8Array(4 * this.count);
    tints.set(colors.subarray(0, tints.length));
    for (let at = Math.min(colors.length, tints.length); at < tints.length; at += 1) tints[at] = GREY[at % 4];
    const looks = new Uint8Array(4 * this.count);
    for (let point = 0; point < this.count; point += 1) {
      looks[4 * point] = open[point] ? 255 : 0;
      looks[4 * point + 1] = dim[point] ? 255 : 0;
      looks[4 * point + 2] = this.fresh[point] ? 255 : 0;
    }
    return { tints, looks };
  }

  // Indices from the back to the front: dim before bright, discs before the rings that one sees
  // through. Within each the order leaps over the points, so no class hides another for its number.
  order() {
    this.sorted ??= this.layered();
    return this.sorted;
  }

  layered() {
    const { count } = this;
    const { open, dim } = this.style;
    const layers = new Int8Array(count);
    const sizes = [0, 0, 0, 0];
    for (let point = 0; point < count; point += 1) {
      layers[point] = this.shows(point) ? (dim[point] ? 0 : 2) + (open[point] ? 1 : 0) : -1;
      if (layers[point] >= 0) sizes[layers[point]] += 1;
    }
    const next = [0, sizes[0], sizes[0] + sizes[1], sizes[0] + sizes[1] + sizes[2]];
    const indices = new Uint32Array(next[3] + sizes[3]);
    const stride = coprime(Math.floor(count * GOLDEN), count);
    for (let turn = 0, point = 0; turn < count; turn += 1, point = (point + stride) % count) {
      if (layers[point] >= 0) indices[next[layers[point]]++] = point;
    }
    return indices;
  }

  // {left, right, bottom, top} of where the points go, or null when none has a place.
  bounds() {
    const box = { left: Infinity, right: -Infinity, bottom: Infinity, top: -Infinity };
    for (let at = 0; at < 2 * this.count; at += 2) {
      const x = this.to[at];
      const y = this.to[at + 1];
      if (!Number.isFinite(x) || !Number.isFinite(y)) continue;
      if (x < box.left) box.left = x;
      if (x > box.right) box.right = x;
      if (y < box.bottom) box.bottom = y;
      if (y > box.top) box.top = y;
    }
    return box.left <= box.right ? box : null;
  }

  // Where a point is drawn now.
  place(point) {
    const at = 2 * point;
    const share = this.glide.eased;
    return [0, 1].map((axis) => this.from[at + axis] + (this.to[at + axis] - this.from[at + axis]) * share);
  }
}

// The smallest number from `wanted` on that shares no factor with `count`.
function coprime(wanted, count) {
  const divisor = (a, b) => (b === 0 ? a : divisor(b, a % b));
  let stride = Math.max(1, wanted);
  while (divisor(stride, count) > 1) stride += 1;
  return stride;
}
