// One run's picture: its name, its axes, the points, and the card of the point at hand.

import { axisTexts, captionText, costText, emptyText, parameterText, remarks } from "./feature_space_words.js";
import { Paint } from "./feature_space_colors.js";
import { classOf } from "./feature_space_points.js";
import { element, setHidden, setText } from "./dom.js";
import { HoverCard } from "./feature_space_hover.js";
import { PointCloud } from "./point_cloud.js";

const GLIDE = 600; // milliseconds points take from one snapshot to the next
const EXPORTS = { tensorboard: "TensorBoard projector (zip)", numpy: "NumPy (zip)" };
const FAINT = [140, 140, 140];

export class Pane {
  // on: {hover(pane, point), select(pane, points), pick(pane, point), view(pane, view), tool(name)}
  constructor(run, on) {
    this.run = run; // a FeatureRun
    this.node = element("section", "fasa-pane");
    this.head = element("p", "fasa-pane-head");
    this.remark = element("p", "fasa-quiet");
    this.stage = element("div", "fasa-pane-stage");
    this.stage.dataset.run = String(run.run);
    this.empty = element("p", "fasa-empty");
    this.across = element("p", "fasa-axis");
    this.upward = element("p", "fasa-axis fasa-axis-up");
    this.foot = element("p", "fasa-quiet fasa-pane-foot");
    this.cost = element("span");
    this.exports = element("span");
    this.foot.append(this.cost, " ", this.exports);
    const below = element("div");
    below.append(this.remark, this.foot);
    this.node.append(this.head, this.stage, below);
    this.cloud = new PointCloud(this.stage, {
      label: "Feature space",
      onHover: (point) => on.hover(this, point),
      onSelect: (points) => on.select(this, points),
      onPick: (point) => on.pick(this, point),
      onView: (view) => on.view(this, view),
      onTool: (tool) => on.tool(tool),
    });
    this.stage.append(this.across, this.upward, this.empty);
    this.card = new HoverCard(this.stage);
    this.drawn = null; // what the cloud has
  }

  // choice: see feature_space_choice.js; pins: [{index, name, light, dark}] of this run.
  show({ choice, pins, looks, dark, chosen, label }) {
    const { run } = this;
    const { shown } = run;
    setText(this.empty, emptyText(run));
    setHidden(this.empty, Boolean(shown) || !this.empty.textContent);
    setText(this.head, shown ? `${label}, epoch ${shown.snapshot.epoch + 1}` : label);
    setText(this.remark, [shown && run.aimed?.words, ...remarks(run)].filter(Boolean).join(" "));
    setHidden(this.remark, !this.remark.textContent);
    setHidden(this.foot, !shown);
    this.stage.toggleAttribute("data-empty", !shown);
    if (!shown) return;
    this.scene = { choice, pins, looks, dark, chosen };
    this.paint = this.painted(shown.points, choice, pins, looks, dark);
    this.place(shown);
    this.dress(shown);
    const [across, upward] = axisTexts(shown.method, shown.points.head.parameters);
    setText(this.across, `${across} →`);
    setText(this.upward, `${upward} →`);
    this.tellCost(shown);
    this.stage.dataset.epoch = String(shown.snapshot.epoch + 1);
    this.stage.dataset.method = shown.method;
    this.stage.dataset.points = String(shown.points.count);
  }

  // What it cost and how it was made; the snapshot as files.
  tellCost({ snapshot, method }) {
    const { run } = this;
    setText(this.cost, `${costText(snapshot, run.overview.cost)} ${parameterText(method, snapshot.methods[method])}`);
    if (this.exported === snapshot.id) return;
    this.exported = snapshot.id;
    const links = Object.entries(EXPORTS).flatMap(([format, text]) => {
      const link = element("a", "", text);
      link.href = run.address(`/${snapshot.id}/export?format=${format}`);
      link.download = "";
      return [" · ", link];
    });
    this.exports.replaceChildren("Export", ...links);
  }

  painted(points, choice, pins, looks, dark) {
    const made = JSON.stringify([choice.color, pins, dark]);
    const same = this.paint && this.paintMade === made && this.paint.points === points && this.paint.overview === this.run.overview;
    this.paintMade = made;
    return same ? this.paint : new Paint({ mode: choice.color, overview: this.run.overview, points, pins, looks, dark });
  }

  // Points glide between snapshots of one method; another method is another picture.
  place({ points, method }) {
    if (this.placed === points) return;
    const glides = this.placed && this.method === method;
    if (!glides && this.placed) this.cloud.resetView();
    Object.assign(this, { placed: points, method });
    this.cloud.setPoints({ count: points.count, x: points.x, y: points.y, keys: points.keys, animate: glides ? GLIDE : 0 });
    this.card.hide();
  }

  dress({ points }) {
    const { choice, chosen, pins, dark } = this.scene;
    const open = new Uint8Array(points.count).fill(1, points.realCount);
    const key = [this.paintMade, choice.hidden.join(), chosen, choice.find, choice.dims, this.run.overview];
    const dressed = this.dressed?.points === points && this.dressed.key.every((part, at) => part === key[at]);
    if (!dressed) {
      this.dressed = { points, key };
      const dim = this.dimmed(points);
      const colors = this.paint.colors();
      const hidden = [choice.hidden.includes("real"), choice.hidden.includes("virtual")];
      for (let point = 0; point < points.count; point += 1) {
        if (hidden[point < points.realCount ? 0 : 1]) colors[4 * point + 3] = 0;
      }
      this.cloud.setStyle({ colors, open, dim });
      this.stage.dataset.bright = String(points.count - dim.reduce((sum, one) => sum + one, 0));
    }
    const outlines = this.outlines(points, choice, pins);
    const told = JSON.stringify(outlines);
    if (told !== this.outlined) this.cloud.setEllipses(outlines);
    this.outlined = told;
    this.stage.dataset.ellipses = String(outlines.length);
    if (dark !== this.dark) this.cloud.setDark(dark);
    this.dark = dark;
  }

  // What stands back: all that is not chosen, else not looked for, else not pinned.
  dimmed(points) {
    const { choice, chosen, pins } = this.scene;
    const { classes, objects } = this.run.overview;
    const dim = new Uint8Array(points.count);
    let stays = null;
    if (chosen) stays = (point) => chosen.has(points.keys[point]);
    else if (choice.find || (choice.dims && pins.length)) {
      const sought = choice.find.toLowerCase();
      const pinned = new Set(pins.map(({ index }) => index));
      const bright = classes.map(({ name }, index) => (sought ? name.toLowerCase().includes(sought) : pinned.has(index)));
      stays = (point) => bright[classOf(points, objects.class, point)];
    }
    if (stays) for (let point = 0; point < points.count; point += 1) dim[point] = stays(point) ? 0 : 1;
    return dim;
  }

  outlines(points, { prior, hidden }, pins) {
    if (prior === "none" || hidden.includes("virtual")) return [];
    const drawn = new Set(pins.map(({ index }) => index));
    if (prior === "group") {
      const groups = new Set([...drawn].map((index) => points.superGroup[index]).filter((group) => group >= 0));
      points.superGroup.forEach((group, index) => groups.has(group) && drawn.add(index));
    }
    return [...drawn].filter((index) => points.ellipses.has(index)).map((index) => ({
      ...points.ellipses.get(index),
      color: this.paint.ofClass(index) ?? FAINT,
      label: this.run.className(index),
    }));
  }

  // The card of a point and its ring; null takes them away.
  point(point, { ring = true } = {}) {
    const { shown } = this.run;
    if (ring) this.cloud.setMark(point);
    if (point === null || !shown || point >= shown.points.count) return this.card.hide();
    const { x, y, scale } = this.cloud.view();
    const left = this.stage.clientWidth / 2 + (shown.points.x[point] - x) * scale;
    const top = this.stage.clientHeight / 2 - (shown.points.y[point] - y) * scale;
    return this.card.show(this.run, shown.points, point, left, top);
  }

  // The point of a key; null where it is not shown.
  pointOf(key) {
    const points = this.run.shown?.points;
    if (!points) return null;
    const found = points.keys.indexOf(key);
    return found < 0 ? null : found;
  }

  caption(two) {
    const { snapshot, method } = this.run.shown;
    return captionText({ method, virtual: snapshot.virtual > 0, two });
  }

  destroy() {
    this.cloud.dispose();
    this.run.destroy();
    this.node.remove();
  }
}
