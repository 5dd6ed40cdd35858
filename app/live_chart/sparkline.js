// A small line of one run's AP beside its number. It runs from the run's first step to its last
// one, and from 0 to the highest value of the column, so that lines of several runs compare.

import { element } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 66;
const HEIGHT = 20;
const EDGE = 2.5; // room for the dot at the newest point

export class Sparkline {
  constructor(label, className) {
    this.label = label;
    this.node = element("span", `fasa-spark ${className}`);
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.svg.setAttribute("width", WIDTH);
    this.svg.setAttribute("height", HEIGHT);
    this.svg.setAttribute("role", "img");
    this.line = document.createElementNS(SVG, "path");
    this.dot = document.createElementNS(SVG, "circle");
    this.dot.setAttribute("r", "2");
    this.hint = document.createElementNS(SVG, "title");
    this.svg.append(this.hint, this.line, this.dot);
    this.node.append(this.svg);
  }

  // at: 0..1000 of the run's steps; values: percent or null; top: the column's highest value.
  show(at, values, top) {
    const told = `${top} ${at.join()} ${values.join()}`;
    if (told === this.told) return;
    this.told = told;
    const points = [];
    at.forEach((where, index) => {
      if (values[index] !== null) points.push([where, values[index]]);
    });
    this.svg.style.visibility = points.length ? "visible" : "hidden";
    if (!points.length) return;
    const x = (where) => (EDGE + (where / 1000) * (WIDTH - 2 * EDGE)).toFixed(1);
    const y = (value) => (HEIGHT - EDGE - (value / (top || 1)) * (HEIGHT - 2 * EDGE)).toFixed(1);
    this.line.setAttribute("d", points.map(([where, value], n) => `${n ? "L" : "M"}${x(where)} ${y(value)}`).join(""));
    const [where, newest] = points.at(-1);
    this.dot.setAttribute("cx", x(where));
    this.dot.setAttribute("cy", y(newest));
    const highest = Math.max(...points.map(([, value]) => value));
    const words = `${this.label}: ${points[0][1].toFixed(1)} at first, ${newest.toFixed(1)} now, ` +
      `${highest.toFixed(1)} at best, in ${points.length} points; ${top.toFixed(1)} is the height of the box`;
    this.hint.textContent = words;
    this.svg.setAttribute("aria-label", words);
  }
}
