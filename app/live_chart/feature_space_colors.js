// What the colours of points mean: a colour for each point, and the legend that says so. Pure;
// imports nothing but what a point is.

import { classOf } from "./feature_space_points.js";

export const COLORS = {
  class: "class",
  group: "super-group",
  frequency: "frequency",
  split: "split",
  loss: "loss",
  first: "epoch of first sight",
};
const LEAST_LOSS = 0.01; // ends of the colour bar: the same at all epochs and in all runs
const MOST_LOSS = 10;
const TICKS = [0.01, 0.1, 1, 10];
const GOLDEN_ANGLE = 137.508; // degrees: neighbouring numbers get hues far apart
const LISTED_GROUPS = 8;
const GREY = { light: [138, 144, 153], dark: [122, 130, 140] };

export function rgb(hex) {
  const value = parseInt(hex.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

// From hue in degrees, saturation and lightness in 0..1.
export function fromHue(hue, saturation, lightness) {
  const spread = saturation * Math.min(lightness, 1 - lightness);
  const channel = (n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (lightness - spread * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

// The same hue for the same name, in every run and at every visit (FNV-1a).
export function hueOf(name) {
  let hash = 0x811c9dc5;
  for (let at = 0; at < name.length; at += 1) hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193) >>> 0;
  return (hash >>> 8) % 360;
}

function between(stops, share) {
  const place = Math.max(0, Math.min(1, share)) * (stops.length - 1);
  const low = Math.min(stops.length - 2, Math.floor(place));
  return stops[low].map((from, channel) => Math.round(from + (place - low) * (stops[low + 1][channel] - from)));
}

// Paints one snapshot of one run.
// `looks` {frequency: {letter: {name, sign, light, dark}}, split: {...}, scale: [{light, dark}]},
// `pins` [{index, name, light, dark}], `overview` of the run, `dark` the theme.
export class Paint {
  constructor({ mode, overview, points, pins, looks, dark }) {
    Object.assign(this, { mode, overview, points, pins, looks, tone: dark ? "dark" : "light" });
    this.scale = looks.scale.map((stop) => rgb(stop[this.tone]));
    this.pinned = new Map(pins.map((pin) => [pin.index, rgb(pin[this.tone])]));
    this.lastEpoch = Math.max(1, ...overview.first_seen.map((epoch) => epoch ?? 0));
    this.known = new Map(); // class -> colour
  }

  // [r, g, b] of a class, where the mode gives all points of a class one colour; else null.
  ofClass(index) {
    if (this.mode === "split" || this.mode === "loss") return null;
    let color = this.known.get(index);
    if (!color) this.known.set(index, (color = this.makeClass(index)));
    return color;
  }

  makeClass(index) {
    const grey = GREY[this.tone];
    const about = this.overview.classes[index];
    if (this.mode === "frequency") return this.frequency(about?.frequency);
    if (this.mode === "group") return this.group(this.points.superGroup[index] ?? -1);
    if (this.mode === "first") {
      const epoch = this.overview.first_seen[index];
      return epoch == null ? grey : between(this.scale, epoch / this.lastEpoch);
    }
    return this.pinned.get(index) ?? fromHue(hueOf(about?.name ?? ""), 0.42, this.tone === "dark" ? 0.64 : 0.48);
  }

  frequency(letter) {
    const look = this.looks.frequency[letter];
    return look ? rgb(look[this.tone]) : GREY[this.tone];
  }

  group(number) {
    if (number < 0) return GREY[this.tone];
    const lightness = (this.tone === "dark" ? 0.6 : 0.42) + 0.07 * (number % 3);
    return fromHue((number * GOLDEN_ANGLE) % 360, 0.6, lightness);
  }

  ofPoint(point) {
    const { points } = this;
    if (this.mode === "split") return rgb(this.looks.split[this.splitOf(point)][this.tone]);
    if (this.mode === "loss") {
      const share = Math.log(points.loss[point] / LEAST_LOSS) / Math.log(MOST_LOSS / LEAST_LOSS);
      return Number.isFinite(points.loss[point]) ? between(this.scale, share) : GREY[this.tone];
    }
    return this.ofClass(classOf(points, this.overview.objects.class, point));
  }

  splitOf(point) {
    if (point >= this.points.realCount) return "virtual";
    return this.overview.objects.holdout[this.points.objects[point]] ? "holdout" : "train";
  }

  // [4 * count] red, green, blue, opacity.
  colors() {
    const bytes = new Uint8Array(4 * this.points.count);
    for (let point = 0; point < this.points.count; point += 1) {
      bytes.set(this.ofPoint(point), 4 * point);
      bytes[4 * point + 3] = 255;
    }
    return bytes;
  }

  // {entries: [{color, text}], bar: null or {colors, ticks: [[share, text]], title}, note}
  legend() {
    const legend = { entries: [], bar: null, note: "" };
    return this[`${this.mode}Legend`](legend);
  }

  classLegend(legend) {
    const others = this.overview.classes.length - this.pins.length;
    return {
      ...legend,
      entries: this.pins.map((pin) => ({ color: this.pinned.get(pin.index), text: pin.name })),
      note: others > 0
        ? `${others === 1 ? "The other class wears" : `${this.pins.length ? "All other" : "All"} ${others.toLocaleString("en")} classes wear`} ` +
          "a paler hue made from the name: the same in every run, shared by several."
        : "",
    };
  }

  groupLegend(legend) {
    const sizes = new Map();
    for (const number of this.points.superGroup) sizes.set(number, (sizes.get(number) ?? 0) + 1);
    const alone = sizes.get(-1) ?? 0;
    sizes.delete(-1);
    if (!sizes.size) return { ...legend, note: "No super-groups had been formed at this epoch: all points are grey." };
    const largest = [...sizes].sort(([, a], [, b]) => b - a);
    const entries = largest.slice(0, LISTED_GROUPS)
      .map(([number, size]) => ({ color: this.group(number), text: `group ${number} (${many(size, "class", "classes")})` }));
    if (alone) entries.push({ color: GREY[this.tone], text: `in no group (${many(alone, "class", "classes")})` });
    const more = largest.length - LISTED_GROUPS;
    return {
      ...legend, entries,
      note: `${more > 0 ? `${many(more, "further group", "further groups")}. ` : ""}Groups are numbered anew at each epoch.`,
    };
  }

  frequencyLegend(legend) {
    const counts = new Map();
    for (const { frequency } of this.overview.classes) counts.set(frequency, (counts.get(frequency) ?? 0) + 1);
    const entries = Object.entries(this.looks.frequency).filter(([letter]) => counts.get(letter))
      .map(([letter, { name }]) => ({ color: this.frequency(letter), text: `${name} (${many(counts.get(letter), "class", "classes")})` }));
    return { ...legend, entries };
  }

  splitLegend(legend) {
    const counts = { train: 0, holdout: 0, virtual: 0 };
    for (let point = 0; point < this.points.count; point += 1) counts[this.splitOf(point)] += 1;
    const entries = Object.entries(this.looks.split).filter(([key]) => counts[key])
      .map(([key, look]) => ({ color: rgb(look[this.tone]), text: `${look.name} (${counts[key].toLocaleString("en")})` }));
    return { ...legend, entries };
  }

  lossLegend(legend) {
    const share = (value) => Math.log(value / LEAST_LOSS) / Math.log(MOST_LOSS / LEAST_LOSS);
    const ticks = TICKS.map((value) => [share(value), `${value === LEAST_LOSS ? "≤ " : value === MOST_LOSS ? "≥ " : ""}${value}`]);
    return { ...legend, bar: { colors: this.scale, ticks, title: "classification loss (cross-entropy, nats; logarithmic)" } };
  }

  firstLegend(legend) {
    const unseen = this.overview.first_seen.filter((epoch) => epoch == null).length;
    const bar = {
      colors: this.scale, title: "epoch in which training first saw the class",
      ticks: [[0, "1"], [1, String(this.lastEpoch + 1)]],
    };
    const entries = unseen ? [{ color: GREY[this.tone], text: `not seen yet (${many(unseen, "class", "classes")})` }] : [];
    return { ...legend, bar, entries };
  }
}

export function many(count, one, more = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : more}`;
}
