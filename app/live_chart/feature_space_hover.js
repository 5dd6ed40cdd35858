// The card of one point: the object's picture, and what is known of it and of its class.

import { many } from "./feature_space_colors.js";
import { classOf, isVirtual, virtualPlace } from "./feature_space_points.js";
import { element, number, setHidden } from "./dom.js";

const FEWEST = 3; // objects: a prior that rests on fewer is marked
const AWAY = 14; // pixels between pointer and card

// What the card says: {name, frequency, lines: [text], weak, picture: object index or null}
export function describePoint(run, points, point) {
  const { overview } = run;
  const index = classOf(points, overview.objects.class, point);
  const about = overview.classes[index] ?? { frequency: "", instances: 0 };
  const key = points.keys[point];
  const virtual = isVirtual(key);
  const lines = [];
  if (virtual) {
    lines.push(`virtual feature number ${virtualPlace(key)[1] + 1}, drawn from the prior`);
  } else {
    const split = overview.objects.holdout[key] ? "held-out" : "training";
    lines.push(`real object of ${split} image ${overview.objects.image[key]}`);
  }
  const taken = points.predicted[point];
  const said = taken === overview.classes.length ? "background" : run.className(taken);
  lines.push(taken === index ? "classified right" : `classified as ${said}`);
  lines.push(`classification loss ${number(points.loss[point])}`);
  const probes = overview.objects.class.filter((other) => other === index).length;
  const size = priorSize(points, index, about.instances);
  lines.push(`class: ${many(about.instances, "training instance")}, ${many(probes, "probe object")}`);
  if (size !== null) lines.push(`its prior rests on ${many(Number(size.toPrecision(3)), "object")} (effective sample size)`);
  const weak = isWeak(overview, points, index);
  return { name: run.className(index), frequency: about.frequency, lines, weak, picture: virtual ? null : key };
}

// In objects: no more than there are, however many RoIs of them were seen. null: not known.
function priorSize(points, index, instances) {
  const rois = points.priorSize.get(index);
  return rois > 0 ? Math.min(rois, instances) : null;
}

export function isWeak(overview, points, index) {
  const size = points ? priorSize(points, index, overview.classes[index]?.instances ?? 0) : null;
  return size === null ? overview.weak.includes(index) : size < FEWEST;
}

export const WEAK_TEXT = `prior rests on fewer than ${FEWEST} objects`;

export class HoverCard {
  constructor(stage) {
    this.stage = stage;
    this.node = element("div", "fasa-point-card");
    this.image = element("img");
    this.image.alt = "";
    this.text = element("div");
    this.text.setAttribute("aria-live", "polite"); // a point read by keyboard is spoken
    this.node.append(this.image, this.text);
    this.node.hidden = true;
    stage.append(this.node);
  }

  // left, top: pixels within the stage, of the point.
  show(run, points, point, left, top) {
    const about = describePoint(run, points, point);
    const title = element("p", "fasa-point-name");
    const badge = element("span", "fasa-badge", about.frequency);
    badge.dataset.frequency = about.frequency;
    title.append(badge, ` ${about.name}`);
    this.text.replaceChildren(title, ...about.lines.map((line) => element("p", "", line)));
    if (about.weak) this.text.append(element("p", "fasa-weak", `▲ ${WEAK_TEXT}`));
    setHidden(this.image, about.picture === null);
    if (about.picture !== null) this.image.src = run.picture(about.picture);
    setHidden(this.node, false);
    this.place(left, top);
  }

  place(left, top) {
    const { clientWidth: width, clientHeight: height } = this.stage;
    const { offsetWidth, offsetHeight } = this.node;
    const right = left + AWAY + offsetWidth <= width;
    const x = right ? left + AWAY : Math.max(0, left - AWAY - offsetWidth);
    const y = Math.max(0, Math.min(height - offsetHeight, top - offsetHeight / 2));
    this.node.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
  }

  hide() {
    setHidden(this.node, true);
  }
}
