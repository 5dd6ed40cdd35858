// What is drawn over the points on a canvas of its own: outlines of priors with their class's name,
// the lasso, and a mark around the point that is met.

import { blend } from "./point_cloud_glide.js";

const DEVIATIONS = 2; // an outline lies this many standard deviations from its middle
const FONT_SIZE = 12;
const OWN = 0.6; // share of the class's own colour in that of its outline
const GAP = 4; // pixels between an outline and its name

export class Overlay {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.ellipses = [];
    this.lasso = []; // [left, top] in CSS pixels
    this.mark = null; // index of a point
  }

  // Outlines of the same label move from where they are now, with the points.
  setEllipses(ellipses, points) {
    const old = new Map(this.ellipses.map((ellipse) => [ellipse.label, now(ellipse, points.glide)]));
    this.ellipses = ellipses.map((ellipse) => ({ ...ellipse, from: old.get(ellipse.label) ?? null }));
  }

  // The points are about to glide elsewhere: outlines stay where they are until new ones come.
  settle(points) {
    this.ellipses = this.ellipses.map((ellipse) => ({ ...now(ellipse, points.glide), from: null }));
  }

  // `theme`: text and ground colour, font. `passing` false leaves out lasso and mark.
  draw(points, camera, { ratio, size, theme, passing = true }) {
    const { canvas, context } = this;
    const mark = passing && this.mark !== null && this.mark < points.count && points.shows(this.mark);
    const empty = !this.ellipses.length && !mark && !(passing && this.lasso.length);
    canvas.hidden = empty;
    if (empty) return;
    const [width, height] = [Math.round(camera.width * ratio), Math.round(camera.height * ratio)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, camera.width, camera.height);
    this.outlines(points, camera, theme);
    if (mark) this.ring(camera.toScreen(...points.place(this.mark)), size, theme);
    if (passing) this.loop(theme);
  }

  outlines(points, camera, theme) {
    const { context } = this;
    const shapes = this.ellipses
      .map((ellipse) => shape(now(ellipse, points.glide), camera, theme.dark ? 255 : 0))
      .filter(Boolean);
    for (const { left, top, along, across, angle, color } of shapes) {
      context.beginPath();
      context.ellipse(left, top, along, across, angle, 0, 2 * Math.PI);
      context.lineWidth = 3.5;
      context.globalAlpha = 0.7;
      context.strokeStyle = theme.background;
      context.stroke();
      context.globalAlpha = 1;
      context.lineWidth = 1.5;
      context.strokeStyle = color;
      context.stroke();
    }
    this.names(shapes, camera, theme);
  }

  // Names stand above their outlines, within the view, and below one another where they would meet.
  names(shapes, camera, theme) {
    const { context } = this;
    const line = FONT_SIZE + GAP;
    const taken = [];
    Object.assign(context, { font: `600 ${FONT_SIZE}px ${theme.font}`, textAlign: "left", textBaseline: "top" });
    Object.assign(context, { lineWidth: 4, lineJoin: "round", strokeStyle: theme.background });
    for (const { left, top, wide, high, color, label } of shapes) {
      const inView = left + wide > 0 && left - wide < camera.width && top + high > 0 && top - high < camera.height;
      if (!label || !inView) continue;
      const width = context.measureText(label).width;
      const x = within(left - width / 2, GAP, camera.width - width - GAP);
      let y = within(top - high - line, GAP, camera.height - line);
      const meets = (box) => x < box.right && x + width > box.x && y < box.y + line && y + line > box.y;
      for (let box = taken.find(meets); box && y < camera.height; box = taken.find(meets)) y = box.y + line;
      taken.push({ x, y, right: x + width });
      context.strokeText(label, x, y);
      context.fillStyle = color;
      context.fillText(label, x, y);
    }
  }

  ring([left, top], size, theme) {
    const { context } = this;
    for (const [width, color] of [[4, theme.background], [2, theme.text]]) {
      context.beginPath();
      context.arc(left, top, size / 2 + 3, 0, 2 * Math.PI);
      Object.assign(context, { lineWidth: width, strokeStyle: color });
      context.stroke();
    }
  }

  loop(theme) {
    if (this.lasso.length < 2) return;
    const { context } = this;
    context.beginPath();
    this.lasso.forEach(([left, top]) => context.lineTo(left, top));
    context.closePath();
    context.globalAlpha = 0.08;
    context.fillStyle = theme.text;
    context.fill();
    context.globalAlpha = 1;
    for (const [width, color, dash] of [[3, theme.background, []], [1.5, theme.text, [5, 4]]]) {
      context.setLineDash(dash);
      Object.assign(context, { lineWidth: width, strokeStyle: color });
      context.stroke();
    }
    context.setLineDash([]);
  }
}

// An ellipse where it is at a moment of the points' glide.
function now(ellipse, glide) {
  const { from } = ellipse;
  if (!from || glide.share === 1) return ellipse;
  const between = (name) => blend(from[name], ellipse[name], glide.eased);
  const names = ["x", "y", "varX", "covXY", "varY"];
  return { ...ellipse, ...Object.fromEntries(names.map((name) => [name, between(name)])) };
}

// The outline on screen: its middle, half its axes and the first one's angle, half its width and
// height; null where a number is missing. The axes are the covariance's eigenvectors, their half
// lengths `DEVIATIONS` times the roots of its eigenvalues. `ink` (0 to 255) is what is mixed into the
// class's colour, so that the outline stands off the points of that colour.
export function shape({ x, y, varX, covXY, varY, color, label }, camera, ink) {
  if (![x, y, varX, covXY, varY].every(Number.isFinite)) return null;
  const [left, top] = camera.toScreen(x, y);
  const mean = (varX + varY) / 2;
  const spread = Math.hypot((varX - varY) / 2, covXY);
  const length = (variance) => DEVIATIONS * camera.scale * Math.sqrt(Math.max(0, variance));
  return {
    left, top, label,
    along: length(mean + spread), across: length(mean - spread),
    angle: -0.5 * Math.atan2(2 * covXY, varX - varY), // the screen's y goes down
    wide: length(varX), high: length(varY),
    color: `rgb(${color.slice(0, 3).map((part) => Math.round(blend(ink, part, OWN))).join(",")})`,
  };
}

function within(value, least, most) {
  return Math.max(least, Math.min(most, value));
}
