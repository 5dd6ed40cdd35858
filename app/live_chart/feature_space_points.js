// The points of one snapshot in two dimensions, and what names a point. Pure; imports nothing.
//
// Real points come first, then virtual ones class by class. A point's key says what it is across
// snapshots of its run; its link says what it is across runs, as far as they share their data.

const MOST_A_CLASS = 4096; // virtual features
const VIRTUAL = 2 ** 31; // keys from here on are virtual: class * MOST_A_CLASS + k above it
const TYPES = { f4: Float32Array, i4: Int32Array };
const LONGEST_CHOICE = 1500; // characters of an address

// Reads an answer of .../features/SNAPSHOT/points, see app/feature_points.py.
export function decodePoints(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const arrays = {};
  let at = 4 + length;
  for (const [name, type, shape] of head.arrays) {
    const size = shape.reduce((product, side) => product * side, 1);
    arrays[name] = new TYPES[type](buffer, at, size); // little-endian, as every browser's machine is
    at += arrays[name].byteLength;
  }
  return { ...arranged(arrays), head, bytes: 2 * buffer.byteLength };
}

function arranged(arrays) {
  const { real, virtual, objects, virtual_class: virtualClass } = arrays;
  const realCount = objects.length;
  const count = realCount + virtualClass.length;
  const x = new Float32Array(count);
  const y = new Float32Array(count);
  for (let point = 0; point < count; point += 1) {
    const [from, place] = point < realCount ? [real, point] : [virtual, point - realCount];
    x[point] = from[2 * place];
    y[point] = from[2 * place + 1];
  }
  const keys = new Float64Array(count);
  keys.set(objects);
  let k = 0;
  virtualClass.forEach((index, place) => {
    k = place && virtualClass[place - 1] === index ? k + 1 : 0;
    keys[realCount + place] = VIRTUAL + index * MOST_A_CLASS + k;
  });
  return {
    count, realCount, x, y, keys, objects, virtualClass,
    predicted: joined(Int32Array, arrays.real_predicted, arrays.virtual_predicted),
    loss: joined(Float32Array, arrays.real_loss, arrays.virtual_loss),
    superGroup: arrays.super_group,
    ellipses: ellipses(arrays),
    priorSize: priorSizes(arrays),
  };
}

function joined(type, first, second) {
  const both = new type(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

// class -> {x, y, varX, covXY, varY}, only where it is known.
function ellipses({ ellipse_class: classes, ellipses: values }) {
  const found = new Map();
  classes.forEach((index, place) => {
    const [x, y, varX, covXY, varY] = values.subarray(5 * place, 5 * place + 5);
    if ([x, y, varX, covXY, varY].every(Number.isFinite)) found.set(index, { x, y, varX, covXY, varY });
  });
  return found;
}

function priorSizes({ ellipse_class: classes, prior_size: sizes }) {
  return new Map(sizes ? [...classes].map((index, place) => [index, sizes[place]]) : []);
}

export function isVirtual(key) {
  return key >= VIRTUAL;
}

export function virtualPlace(key) {
  return [Math.floor((key - VIRTUAL) / MOST_A_CLASS), (key - VIRTUAL) % MOST_A_CLASS];
}

export function virtualKey(index, k) {
  return VIRTUAL + index * MOST_A_CLASS + k;
}

// Class of a point; `classes` are those of the run's probe objects.
export function classOf(points, classes, point) {
  return point < points.realCount ? classes[points.objects[point]] : points.virtualClass[point - points.realCount];
}

// Keys as a part of the address, e.g. "o3-9.12v5s0-5s3": ranges in base 36. "" when that is too long.
export function writeKeys(keys) {
  const sorted = [...keys].sort((a, b) => a - b);
  const parts = { o: [], v: [] };
  for (let at = 0; at < sorted.length; at += 1) {
    const first = sorted[at];
    while (sorted[at + 1] === sorted[at] + 1) at += 1;
    const base = isVirtual(first) ? VIRTUAL : 0;
    const [from, to] = [first - base, sorted[at] - base].map((number) => number.toString(36));
    parts[base ? "v" : "o"].push(from === to ? from : `${from}-${to}`);
  }
  // "o" and "v" are digits of base 36 too: upper case keeps them apart.
  const text = Object.entries(parts).filter(([, ranges]) => ranges.length)
    .map(([sign, ranges]) => `${sign.toUpperCase()}${ranges.join(".")}`).join("");
  return text.length <= LONGEST_CHOICE ? text : "";
}

// The keys of such a text; what cannot be read is left out.
export function readKeys(text) {
  const keys = new Set();
  for (const [, sign, ranges] of text.matchAll(/([OV])([0-9a-z.-]+)/g)) {
    for (const range of ranges.split(".")) {
      const [from, to = from] = range.split("-").map((part) => parseInt(part, 36));
      if (!(from <= to && to - from < 1e6)) continue;
      for (let number = from; number <= to; number += 1) keys.add(number + (sign === "V" ? VIRTUAL : 0));
    }
  }
  return keys;
}

// What links the points of two runs: an object by its image and box, a virtual feature by the name
// of its class and its k. `overview` as the route describes it.
export class Links {
  constructor({ classes, objects }) {
    this.classes = classes;
    this.classOfName = new Map(classes.map(({ name }, index) => [name, index]));
    this.texts = objects.image.map((image, index) => {
      const name = classes[objects.class[index]]?.name;
      return `${image} ${objects.box[index].join(",")} ${name}`;
    });
    this.objectOfText = new Map(this.texts.map((text, index) => [text, index]));
  }

  // The key that a point of the run of `other` has here; null where there is none.
  from(other, key) {
    if (!isVirtual(key)) return this.objectOfText.get(other.texts[key]) ?? null;
    const [index, k] = virtualPlace(key);
    const own = this.classOfName.get(other.classes[index]?.name);
    return own === undefined ? null : virtualKey(own, k);
  }
}
