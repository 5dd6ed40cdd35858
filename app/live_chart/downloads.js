// The small menu of a chart or figure: its data as CSV, its picture as PNG or SVG. The browser
// makes the pictures; nothing is sent anywhere.

import { element, readTheme, setHidden } from "./dom.js";
import { escape } from "./plotly.js";

const ITEMS = [
  ["csv", "Data (CSV)"],
  ["png", "Picture (PNG)"],
  ["svg", "Drawing (SVG)"],
];
const SHARPNESS = 2; // pixels of the PNG for one on screen
const TITLE = 44; // pixels above the picture
const LEGEND = 30; // below it
const DIGITS = 7; // as many as the log's float32 holds
const FORMULA = /^[=+\-@\t\r]/; // a spreadsheet would compute such a text

let menus = 0;

// A menu button as the ARIA practices describe it: arrows move, Escape closes, focus comes back.
export class DownloadMenu {
  constructor(items = ITEMS) {
    this.node = element("div", "fasa-download");
    this.button = element("button", "fasa-download-button", "⤓");
    this.list = element("div", "fasa-download-list");
    this.list.hidden = true;
    menus += 1;
    this.list.id = `fasa-downloads-${menus}`;
    this.list.setAttribute("role", "menu");
    this.button.type = "button";
    this.button.setAttribute("aria-haspopup", "menu");
    this.button.setAttribute("aria-controls", this.list.id);
    this.button.setAttribute("aria-expanded", "false");
    this.items = items.map(([format, label]) => {
      const item = element("button", "", label);
      item.type = "button";
      item.dataset.format = format;
      item.tabIndex = -1;
      item.setAttribute("role", "menuitem");
      item.addEventListener("click", () => this.choose(format));
      this.list.append(item);
      return item;
    });
    this.button.addEventListener("click", () => this.open(this.list.hidden));
    this.node.addEventListener("keydown", (event) => this.key(event));
    this.node.addEventListener("focusout", (event) => {
      if (!this.node.contains(event.relatedTarget)) this.open(false);
    });
    this.node.append(this.button, this.list);
    this.setEnabled(false);
  }

  // `make(format)` answers with a Blob; `name` is the file's without its ending.
  describe(title, make, name) {
    this.button.setAttribute("aria-label", `Download: ${title}`);
    this.button.title = "Download data or picture";
    this.make = make;
    this.name = name;
  }

  setEnabled(enabled) {
    this.button.disabled = !enabled;
  }

  open(open) {
    if (open === !this.list.hidden) return;
    setHidden(this.list, !open);
    this.button.setAttribute("aria-expanded", String(open));
    if (open) this.items[0].focus();
  }

  key(event) {
    const { key } = event;
    if (key === "Escape" && !this.list.hidden) {
      this.open(false);
      this.button.focus();
    } else if (key === "ArrowDown" || key === "ArrowUp") {
      if (this.list.hidden) return this.open(true), event.preventDefault();
      const at = this.items.indexOf(document.activeElement);
      const step = key === "ArrowDown" ? 1 : this.items.length - 1;
      this.items[(at + step) % this.items.length].focus();
    } else if (key === "Home" || key === "End") {
      this.items.at(key === "Home" ? 0 : -1).focus();
    } else {
      return undefined;
    }
    event.stopPropagation();
    return event.preventDefault();
  }

  async choose(format) {
    this.open(false);
    this.button.focus();
    try {
      save(await this.make(format), `${fileName(this.name())}.${format}`);
      this.button.title = "Download data or picture";
    } catch (error) {
      this.button.title = `Nothing was saved: ${error.sentence ?? error.message}`;
      this.button.dataset.failed = "true";
    }
  }
}

function save(blob, name) {
  const link = element("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function fileName(text) {
  return text.replace(/[^\p{Letter}\p{Number}._-]+/gu, "-").replace(/^[-.]+|-+$/g, "") || "chart";
}

// What a drawn Plotly div shows now, zoom included, on the page's ground and under its title.
// Traces that are hidden are left out, in the legend, too.
export async function picture(Plotly, plot, format, title) {
  const theme = readTheme(plot);
  const { width, _size: size } = plot._fullLayout;
  const figure = {
    data: plot.data.filter((_, index) => plot._fullData[index].visible === true),
    layout: {
      ...plot.layout,
      paper_bgcolor: theme.background,
      plot_bgcolor: theme.background,
      title: { text: escape(title), font: { size: 15 }, x: 0, xref: "paper", y: 1, yref: "container",
               yanchor: "top", pad: { t: 12 } },
      margin: { l: size.l, r: size.r + 10, t: TITLE, b: size.b },
      // Below the picture: what is above it grows with the legend and would meet the title.
      legend: { ...plot.layout.legend, y: -size.b / size.h, yanchor: "top" },
    },
  };
  const sharpness = format === "png" ? SHARPNESS : 1;
  const shape = { width: width + 10, height: TITLE + size.h + size.b + LEGEND, scale: sharpness };
  const address = await Plotly.toImage(figure, { format, ...shape });
  return (await fetch(address)).blob(); // a data: address; nothing leaves the browser
}

// Rows of texts and numbers as CSV (RFC 4180); numbers that are missing are empty.
export function csv(rows) {
  const text = rows.map((row) => row.map(cell).join(",")).join("\r\n");
  return new Blob([text, "\r\n"], { type: "text/csv;charset=utf-8" });
}

function cell(value) {
  if (typeof value === "number") return Number.isFinite(value) ? short(value) : "";
  let text = String(value ?? "");
  if (FORMULA.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function short(value) {
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(DIGITS)));
}
