// The legend: what filled and open mean, and what the colours mean.

import { element, setText } from "./dom.js";

function css([red, green, blue]) {
  return `rgb(${red}, ${green}, ${blue})`;
}

export class Legend {
  constructor() {
    this.node = element("div", "fasa-legend");
  }

  // As Paint.legend() says it; `virtual`: there are rings.
  show(legend, { virtual }) {
    const key = JSON.stringify([legend, virtual]);
    if (key === this.shown) return;
    this.shown = key;
    const kinds = [element("span", "fasa-legend-kind", "● real")];
    if (virtual) kinds.push(element("span", "fasa-legend-kind", "○ virtual"));
    const entries = legend.entries.map(({ color, text }) => {
      const entry = element("span", "fasa-legend-entry");
      entry.style.setProperty("--fasa-key", css(color));
      setText(entry, text);
      return entry;
    });
    const note = legend.note ? [element("span", "fasa-quiet", legend.note)] : [];
    this.node.replaceChildren(...kinds, ...(legend.bar ? [this.bar(legend.bar)] : []), ...entries, ...note);
  }

  bar({ colors, ticks, title }) {
    const node = element("span", "fasa-colorbar");
    const strip = element("span", "fasa-colorbar-strip");
    strip.style.background = `linear-gradient(to right, ${colors.map(css).join(", ")})`;
    const labels = element("span", "fasa-colorbar-ticks");
    for (const [share, text] of ticks) {
      const tick = element("span", "", text);
      tick.style.left = `${100 * share}%`;
      labels.append(tick);
    }
    node.append(element("span", "fasa-quiet", title), strip, labels);
    return node;
  }
}
