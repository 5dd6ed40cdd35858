// What a lasso chose: class shares as bars, and the objects as a gallery of their pictures.

import { many } from "./feature_space_colors.js";
import { WEAK_TEXT, isWeak } from "./feature_space_hover.js";
import { isVirtual, virtualPlace } from "./feature_space_points.js";
import { element, setHidden, setText } from "./dom.js";

const BATCH = 60; // pictures put into the page at once
const CLASSES = 12; // bars until a click shows all

// [{index, real, virtual}] of the chosen keys, most points first.
export function classShares(keys, classes) {
  const found = new Map();
  for (const key of keys) {
    const virtual = isVirtual(key);
    const index = virtual ? virtualPlace(key)[0] : classes[key];
    const share = found.get(index) ?? { index, real: 0, virtual: 0 };
    share[virtual ? "virtual" : "real"] += 1;
    found.set(index, share);
  }
  return [...found.values()].sort((a, b) => b.real + b.virtual - a.real - a.virtual || a.index - b.index);
}

export class Chosen {
  // on: {clear(), pin(index), hover(key or null)}
  constructor(on) {
    this.on = on;
    this.node = element("section", "fasa-chosen");
    const head = element("div", "fasa-tools");
    this.title = element("h4", "fasa-title", "Chosen points");
    this.words = element("p", "fasa-quiet");
    this.words.setAttribute("role", "status");
    this.clear = element("button", "fasa-button", "✕ clear");
    this.clear.type = "button";
    this.clear.addEventListener("click", () => on.clear());
    head.append(this.title, this.words, this.clear);
    this.body = element("div", "fasa-chosen-body");
    this.bars = element("div", "fasa-shares");
    this.gallery = element("div", "fasa-objects-grid");
    this.pictures = element("div");
    this.more = element("button", "fasa-button");
    this.more.type = "button";
    this.more.addEventListener("click", () => this.grow());
    this.about = element("p", "fasa-quiet");
    this.pictures.append(this.about, this.gallery, this.more);
    this.body.append(this.bars, this.pictures);
    this.node.append(head, this.body);
  }

  // run: whose keys they are; keys: a Set, null for none; words: what is said of them.
  show(run, keys, words) {
    setText(this.words, words);
    for (const node of [this.title, this.clear, this.body]) setHidden(node, !keys);
    const same = keys === this.keys && run?.overview === this.overview;
    Object.assign(this, { run, keys, overview: run?.overview });
    if (same) return;
    this.room = BATCH;
    this.all = false;
    if (!keys) return this.gallery.replaceChildren();
    this.objects = [...keys].filter((key) => !isVirtual(key) && key < this.overview.objects.image.length);
    const { class: classes } = this.overview.objects;
    this.objects.sort((a, b) => classes[a] - classes[b] || a - b);
    this.gallery.replaceChildren();
    this.drawBars();
    this.fill();
  }

  drawBars() {
    const shares = classShares(this.keys, this.overview.objects.class);
    const total = this.keys.size;
    const most = Math.max(...shares.map(({ real, virtual }) => real + virtual));
    const rows = shares.slice(0, this.all ? undefined : CLASSES).map((share) => this.bar(share, total, most));
    const head = element("p", "fasa-quiet", `${many(shares.length, "class", "classes")}, share of the chosen points: filled real, hatched virtual`);
    this.bars.replaceChildren(head, ...rows);
    if (shares.length <= CLASSES) return;
    const all = element("button", "fasa-choice", this.all ? "fewer" : `all ${shares.length} classes`);
    all.type = "button";
    all.addEventListener("click", () => {
      this.all = !this.all;
      this.drawBars();
    });
    this.bars.append(all);
  }

  bar({ index, real, virtual }, total, most) {
    const row = element("button", "fasa-share");
    row.type = "button";
    const name = this.run.className(index);
    const label = element("span", "fasa-share-name");
    const badge = element("span", "fasa-badge", this.overview.classes[index]?.frequency ?? "");
    badge.dataset.frequency = this.overview.classes[index]?.frequency ?? "";
    label.append(badge, ` ${name}`);
    const weak = isWeak(this.overview, this.run.shown?.points, index);
    if (weak) label.append(element("span", "fasa-weak", " ▲"));
    const track = element("span", "fasa-share-track");
    for (const [kind, count] of [["real", real], ["virtual", virtual]]) {
      const part = element("span", `fasa-share-${kind}`);
      part.style.width = `${(100 * count) / most}%`;
      track.append(part);
    }
    const share = Math.round((100 * (real + virtual)) / total);
    const counts = [real && `${real} real`, virtual && `${virtual} virtual`].filter(Boolean).join(" + ");
    row.append(label, track, element("span", "fasa-share-count", `${share} % (${counts})`));
    row.title = `Pin or unpin ${name}${weak ? `; its ${WEAK_TEXT}` : ""}`;
    row.addEventListener("click", () => this.on.pin(index));
    return row;
  }

  fill() {
    const shown = this.objects.slice(this.gallery.children.length, this.room);
    this.gallery.append(...shown.map((key) => this.object(key)));
    const left = this.objects.length - this.gallery.children.length;
    setHidden(this.more, left <= 0);
    setText(this.more, `${Math.min(left, BATCH)} more of ${left.toLocaleString("en")}`);
    const virtual = this.keys.size - this.objects.length;
    const drawn = `${many(virtual, "virtual feature")} ${virtual === 1 ? "has" : "have"} no picture and ${virtual === 1 ? "is" : "are"} counted by class.`;
    setText(this.about, `${this.objects.length ? `${many(this.objects.length, "object")}${virtual ? "; " : ""}` : ""}${virtual ? drawn : ""}`);
  }

  grow() {
    this.room += BATCH;
    this.fill();
  }

  object(key) {
    const { objects } = this.overview;
    const name = this.run.className(objects.class[key]);
    const split = objects.holdout[key] ? "held-out" : "training";
    const node = element("button", "fasa-object");
    node.type = "button";
    const image = element("img");
    Object.assign(image, { src: this.run.picture(key), loading: "lazy", alt: `${name}, ${split} image ${objects.image[key]}` });
    node.append(image, element("span", "", name), element("span", "fasa-quiet", split));
    for (const type of ["pointerenter", "focus"]) node.addEventListener(type, () => this.on.hover(key));
    for (const type of ["pointerleave", "blur"]) node.addEventListener(type, () => this.on.hover(null));
    node.addEventListener("click", () => this.on.pin(objects.class[key]));
    return node;
  }
}
