// One image of the gallery at one moment: its picture, and on a canvas above it what is true and what
// was detected there.

import { element, setHidden, setText } from "./dom.js";
import { bitmap, labels, layers } from "./gallery_masks.js";

const SHARPEST = 1024; // pixels of a mask's longer side; finer ones cost more than they show
const NARROW = 210; // pixels below which a picture has no room for words
const TRUTH = "#ffffff";

// What became of an object, in a few words; `other` is the name of the class of its partner.
export function verdictText(object, isTrue, other) {
  if (object.word === "confused") return isTrue ? `taken for ${other}` : `truth: ${other}`;
  return object.word;
}

export class Picture {
  constructor() {
    this.node = element("div", "fasa-picture");
    this.image = element("img");
    this.image.decoding = "async";
    this.canvas = element("canvas");
    this.canvas.setAttribute("aria-hidden", "true");
    this.problem = element("p", "fasa-quiet");
    this.stage = element("div", "fasa-picture-stage");
    this.stage.append(this.image, this.canvas);
    this.node.append(this.stage, this.problem);
    this.image.addEventListener("error", () => this.say("The picture of this image cannot be shown."));
    this.size = new ResizeObserver(() => this.draw());
    this.size.observe(this.stage);
    this.emphasis = null; // the only object that is drawn, while a row of the list is pointed at
  }

  // about: {index, id, width, height} of the image; moment: see gallery_moment.js; view: what of it.
  show(about, moment, view) {
    Object.assign(this, { about, moment, view });
    this.stage.style.aspectRatio = `${about.width} / ${about.height}`;
    this.node.style.setProperty("--fasa-aspect", about.width / about.height);
    const address = moment.pictureAddress(about.index);
    if (this.image.getAttribute("src") !== address) {
      this.image.src = address;
      this.image.alt = `test image ${about.id}`;
      this.fault = "";
    }
    this.draw();
  }

  say(sentence) {
    this.fault = sentence;
    this.tell();
  }

  tell(more = "") {
    const sentence = [this.fault, this.objects?.problem, more].filter(Boolean).join(" ");
    setText(this.problem, sentence);
    setHidden(this.problem, !sentence);
  }

  draw() {
    if (this.queued || this.gone || !this.about) return;
    this.queued = true;
    requestAnimationFrame(() => {
      this.queued = false;
      if (!this.gone) this.render();
    });
  }

  render() {
    const width = this.stage.clientWidth;
    const height = this.stage.clientHeight;
    this.objects = this.moment.objectsOf(this.about.index);
    const state = [this.objects, this.moment.classes, this.emphasis, width, height, this.view.key()];
    if (!width || !height || state.every((part, at) => part === this.state?.[at])) return;
    this.state = state;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const context = this.canvas.getContext("2d");
    context.scale(ratio, ratio);
    this.node.dataset.drawn = this.objects ? String(this.objects.step) : "";
    if (!this.objects) return;
    const drawn = this.chosen();
    const lost = this.view.hidden.has("masks") ? 0 : this.paintMasks(context, drawn, width, height);
    const scale = width / this.about.width;
    if (!this.view.hidden.has("boxes")) for (const one of drawn) this.box(context, one, scale);
    if (!this.view.hidden.has("labels")) {
      const listed = drawn.filter((one) => !one.faint && this.isLabelled(one));
      labels(context, listed.map((one) => this.label(one, scale, width)), width, height);
    }
    this.tell(lost ? `${lost} mask${lost > 1 ? "s" : ""} could not be drawn.` : "");
  }

  // Which objects are drawn, truth first, and how: {object, isTrue, faint, color, letter}.
  chosen() {
    const { true: truth, detections } = this.objects;
    const look = (object, isTrue) => ({
      object,
      isTrue,
      faint: this.emphasis ? this.emphasis !== object : !this.view.concerns(this.moment, object, isTrue, this.objects),
      ...this.moment.look(object.class),
    });
    return [
      ...(this.view.hidden.has("truth") ? [] : truth.map((object) => look(object, true))),
      ...detections.filter(({ score }) => score >= this.view.score).reverse().map((object) => look(object, false)),
    ];
  }

  paintMasks(context, drawn, width, height) {
    const shrink = Math.min(1, SHARPEST / Math.max(this.about.width, this.about.height));
    const columns = Math.max(1, Math.round(this.about.width * shrink));
    const rows = Math.max(1, Math.round(this.about.height * shrink));
    let lost = 0;
    const masks = [];
    for (const { object, isTrue, faint, color } of drawn) {
      if (!object.mask) continue;
      try {
        object.bitmap ??= bitmap(object.mask, columns, rows);
      } catch {
        lost += 1;
        continue;
      }
      const missed = isTrue && object.word === "missed";
      masks.push({
        mask: object.bitmap,
        color: isTrue && !missed ? null : color,
        fill: faint || isTrue ? 0 : 0.38,
        edge: faint ? 0.15 : 0.95,
      });
    }
    if (!masks.length) return lost;
    const sheet = new OffscreenCanvas(columns, rows);
    sheet.getContext("2d").putImageData(layers(masks, columns, rows), 0, 0);
    context.drawImage(sheet, 0, 0, width, height);
    return lost;
  }

  // Truth dashed and white, missed objects dashed in their group's colour, detections in one line;
  // false alarms dotted.
  box(context, { object, isTrue, faint, color }, scale) {
    const [x1, y1, x2, y2] = object.box.map((edge) => edge * scale);
    const missed = isTrue && object.word === "missed";
    context.globalAlpha = faint ? 0.25 : 1;
    context.setLineDash(isTrue ? [5, 4] : object.word === "false alarm" ? [2, 3] : []);
    context.lineWidth = 3;
    context.strokeStyle = "rgba(16, 20, 26, 0.55)";
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    context.lineWidth = 1.5;
    context.strokeStyle = isTrue && !missed ? TRUTH : color;
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  // A true object that was found bears its detection's label.
  isLabelled({ object, isTrue }) {
    return !isTrue || object.word === "missed";
  }

  label({ object, isTrue, color, letter }, scale, width) {
    const [x1, y1] = object.box.map((edge) => edge * scale);
    const mark = { missed: "missed", "false alarm": "✕", confused: "≠", "not judged": "?" }[object.word] ?? "";
    if (width < NARROW) return { x: x1, y: y1, letter, color, text: mark };
    const was = object.word === "confused" ? this.moment.name(this.objects.true[object.partner].class) : "";
    const numbers = isTrue ? [] : [object.score.toFixed(2), `IoU ${object.iou.toFixed(2)}`];
    const text = [this.moment.name(object.class), ...numbers, mark, was].filter(Boolean).join(" ");
    return { x: x1, y: y1, letter, color, text };
  }

  destroy() {
    this.gone = true;
    this.size.disconnect();
    this.node.remove();
  }
}
