// Marks on a chart: a thin vertical line where something happened; near it, the pointer reads what.
// Marks closer than a few pixels share one line, so a thousand of them never cover the curves.

import { element, setHidden } from "./dom.js";
import { xValues } from "./series.js";

const APART = 6; // pixels between two lines at least
const NEAR = 9; // pixels from the pointer to the line it reads
const TOLD = 6; // marks a label tells one by one
const WEIGHT = { quiet: 0, branch: 1, change: 2, bad: 3 };

// Told apart by dash as well as by colour.
const LOOKS = {
  change: { light: "#B0578D", dark: "#CC79A7", dash: "solid" },
  quiet: { light: "#8A9099", dark: "#8A929C", dash: "dot" },
  branch: { light: "#0072B2", dark: "#56B4E9", dash: "dash" },
  bad: { light: "#C8452B", dark: "#F0664A", dash: "solid" },
};

// Marks as lines: [{x, tone, marks}], in the order of x; `range` is what the x axis shows.
export function gather(marks, axis, run, range, width) {
  return gatherAll([{ marks, state: run }], { x: axis }, range, width);
}

// The same for several runs: each mark says whose it is.
export function gatherAll(pollers, view, range, width) {
  const several = pollers.length > 1;
  const apart = (APART * (range[1] - Math.max(range[0], 0))) / Math.max(1, width);
  const placed = pollers
    .flatMap(({ marks, state }) => {
      const table = {
        step: marks.map((mark) => mark.step),
        wall: marks.map((mark) => mark.wall ?? NaN),
        epoch: marks.map(() => NaN),
      };
      const whose = several ? `${state?.name}: ` : "";
      return xValues(table, view, state).map((x, index) => {
        const mark = marks[index];
        return { x, mark: several ? { ...mark, text: whose + mark.text } : mark };
      });
    })
    .filter(({ x }) => x >= range[0] - apart && x <= range[1] + apart)
    .sort((a, b) => a.x - b.x);
  const lines = [];
  for (const { x, mark } of placed) {
    let line = lines.at(-1);
    if (!line || x - line.x >= apart) lines.push((line = { x, tone: mark.tone, marks: [] }));
    line.marks.push(mark);
    if (WEIGHT[mark.tone] > WEIGHT[line.tone]) line.tone = mark.tone;
  }
  return lines;
}

// The lines as Plotly's shapes; the more there are, the fainter.
export function shapes(lines, theme) {
  const opacity = Math.max(0.22, Math.min(0.8, 1.8 / Math.sqrt(Math.max(1, lines.length))));
  return lines.map(({ x, tone }) => {
    const look = LOOKS[tone] ?? LOOKS.quiet;
    const color = theme.dark ? look.dark : look.light;
    return {
      type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1,
      layer: "below", opacity, line: { color, width: tone === "bad" ? 2 : 1, dash: look.dash },
    };
  });
}

export function describe(mark) {
  return `step ${mark.step.toLocaleString("en")} · ${mark.text}`;
}

// The label beside the line the pointer is near; follows the pointer over one chart's stage.
export class MarkLabel {
  constructor(stage, plot) {
    this.stage = stage;
    this.plot = plot;
    this.lines = [];
    this.box = element("div", "fasa-mark-label");
    this.box.hidden = true;
    stage.append(this.box);
    const move = (event) => this.point(event);
    stage.addEventListener("pointermove", move);
    stage.addEventListener("pointerdown", move);
    stage.addEventListener("pointerleave", () => this.tell(null));
  }

  point(event) {
    const axis = this.plot._fullLayout?.xaxis;
    if (!axis || !this.lines.length) return this.tell(null);
    const at = event.clientX - this.stage.getBoundingClientRect().left;
    let nearest = null;
    let least = NEAR;
    for (const line of this.lines) {
      const pixel = axis._offset + axis.d2p(line.x);
      const distance = Math.abs(pixel - at);
      if (distance > least || pixel < axis._offset - 1 || pixel > axis._offset + axis._length + 1) continue;
      least = distance;
      nearest = { line, pixel };
    }
    return this.tell(nearest);
  }

  tell(nearest) {
    setHidden(this.box, !nearest);
    this.told = nearest?.line ?? null;
    if (!nearest) return;
    const { line, pixel } = nearest;
    const rows = line.marks.slice(-TOLD).map((mark) => {
      const row = element("div", `fasa-${mark.tone}`, describe(mark));
      row.dir = "auto";
      return row;
    });
    const more = line.marks.length - rows.length;
    if (more > 0) rows.unshift(element("div", "fasa-quiet", `${more} more here`));
    this.box.replaceChildren(...rows);
    const width = this.stage.clientWidth;
    const left = pixel < width / 2;
    this.box.style.top = `${(this.plot._fullLayout._size?.t ?? 20) + 3}px`;
    this.box.style.left = left ? `${pixel + 6}px` : "auto";
    this.box.style.right = left ? "auto" : `${width - pixel + 6}px`;
    this.box.style.maxWidth = `${Math.min(320, (left ? width - pixel : pixel) - 12)}px`;
  }
}
