// The controls above the picture: colours, method, second run, classes, what is drawn, the tool.

import { COLORS } from "./feature_space_colors.js";
import { METHODS } from "./feature_space_moment.js";
import { methodLabel } from "./feature_space_words.js";
import { element, setText } from "./dom.js";

const PRIORS = { pinned: "pinned classes", group: "their super-groups", none: "none" };
const ORDER = ["umap", "umap_real", "pca"];

function option(value, text) {
  const node = element("option", "", text);
  node.value = value;
  return node;
}

export class Bar {
  // on: {change(what), pin(index), tool(name), fit()}
  constructor(on) {
    this.on = on;
    this.node = element("div", "fasa-gallery-bar fasa-space-bar");
    this.color = this.select("colour", (value) => on.change({ color: value }));
    this.color.append(...Object.entries(COLORS).map(([key, text]) => option(key, text)));
    this.method = this.select("method", (value) => on.change({ method: value, at: null }));
    this.method.append(...ORDER.map((key) => option(key, METHODS[key])));
    this.beside = this.select("beside it", (value) => on.change({ beside: value ? Number(value) : null }));
    this.prior = this.select("priors of", (value) => on.change({ prior: value }));
    this.prior.append(...Object.entries(PRIORS).map(([key, text]) => option(key, text)));
    this.node.insertBefore(this.classField(), this.beside.parentElement);
    this.show = this.choices("show");
    this.real = this.chip(this.show, "● real", () => this.toggle("real"));
    this.virtual = this.chip(this.show, "○ virtual", () => this.toggle("virtual"));
    this.rest = this.chip(this.show, "dim the rest", () => on.change({ dims: !this.choice.dims }));
    this.rest.title = "Classes that are not pinned stand back";
    this.tools = this.choices("pointer");
    this.pan = this.chip(this.tools, "move", () => on.tool("pan"));
    this.lasso = this.chip(this.tools, "lasso", () => on.tool("lasso"));
    this.lasso.title = "Draw around points to choose them (key L, or with Shift held down)";
    this.fit = this.chip(this.tools, "show all", () => on.fit());
    this.fit.removeAttribute("aria-pressed");
  }

  select(label, change) {
    const field = element("label", "fasa-gallery-field");
    const node = element("select", "fasa-select");
    node.addEventListener("change", () => change(node.value));
    field.append(element("span", "fasa-quiet", label), node);
    this.node.append(field);
    return node;
  }

  choices(label) {
    const field = element("div", "fasa-gallery-field");
    const row = element("div", "fasa-choices");
    row.setAttribute("role", "group");
    row.setAttribute("aria-label", label);
    field.append(element("span", "fasa-quiet", label), row);
    this.node.append(field);
    return row;
  }

  chip(row, text, press) {
    const node = element("button", "fasa-choice", text);
    node.type = "button";
    node.setAttribute("aria-pressed", "false");
    node.addEventListener("click", press);
    row.append(node);
    return node;
  }

  // Typing lets matching classes stand out; Enter, or a name from the list, pins.
  classField() {
    const field = element("label", "fasa-gallery-field");
    field.append(element("span", "fasa-quiet", "find or pin a class"));
    this.search = element("input", "fasa-search");
    Object.assign(this.search, { type: "search", placeholder: "name, Enter pins" });
    this.names = element("datalist");
    this.names.id = `fasa-space-classes-${crypto.randomUUID?.() ?? Math.random()}`;
    this.search.setAttribute("list", this.names.id);
    this.search.addEventListener("input", (event) => this.look(event));
    this.search.addEventListener("keydown", (event) => event.key === "Enter" && this.take());
    field.append(this.search, this.names);
    return field;
  }

  look({ inputType }) {
    const sought = this.search.value.trim();
    const known = this.classes?.some(({ name }) => name.toLowerCase().includes(sought.toLowerCase()));
    this.search.setAttribute("aria-invalid", String(Boolean(sought) && !known));
    const fromList = inputType === undefined || inputType === "insertReplacementText";
    if (sought && fromList && this.classes?.some(({ name }) => name === sought)) return this.take();
    return this.on.change({ find: sought });
  }

  take() {
    const sought = this.search.value.trim().toLowerCase();
    if (!sought || !this.classes) return;
    const names = this.classes.map(({ name }) => name.toLowerCase());
    const tests = [(name) => name === sought, (name) => name.startsWith(sought), (name) => name.includes(sought)];
    const index = tests.map((test) => names.findIndex(test)).find((found) => found >= 0);
    if (index === undefined) return;
    this.search.value = "";
    this.on.change({ find: "" });
    this.on.pin(index);
  }

  toggle(kind) {
    const { hidden } = this.choice;
    // One of the two is always shown: to hide the last brings the other back.
    this.on.change({ hidden: hidden.includes(kind) ? [] : [kind] });
  }

  // run: the page's FeatureRun; runs: [{id, label}] that may stand beside it.
  update({ choice, run, runs, pins, tool }) {
    this.choice = choice;
    this.offer(run, runs);
    for (const name of ["color", "method", "prior"]) if (this[name].value !== choice[name]) this[name].value = choice[name];
    const second = String(choice.beside ?? "");
    if (this.beside.value !== second) this.beside.value = second;
    if (document.activeElement !== this.search) this.search.value = choice.find;
    const press = (node, pressed) => node.setAttribute("aria-pressed", String(pressed));
    press(this.real, !choice.hidden.includes("real"));
    press(this.virtual, !choice.hidden.includes("virtual"));
    press(this.rest, choice.dims);
    this.rest.disabled = pins.length === 0;
    press(this.pan, tool === "pan");
    press(this.lasso, tool === "lasso");
    for (const node of this.method.options) setText(node, methodLabel(node.value, run.target));
  }

  offer({ overview, run }, runs) {
    if (overview && this.classes !== overview.classes) {
      const listed = overview.classes.map(({ name }) => name).join("\n");
      this.classes = overview.classes;
      if (listed !== this.listed) this.names.replaceChildren(...overview.classes.map(({ name }) => option(name, "")));
      this.listed = listed;
    }
    const others = runs.filter(({ id }) => id !== run);
    const key = JSON.stringify(others);
    if (key === this.offered) return;
    this.offered = key;
    this.beside.replaceChildren(option("", "no other run"), ...others.map(({ id, label }) => option(String(id), label)));
  }
}

// Chips of the pinned classes; a press unpins.
export class PinRow {
  constructor(unpin) {
    this.unpin = unpin;
    this.node = element("div", "fasa-choices fasa-pins");
    this.node.setAttribute("role", "group");
    this.node.setAttribute("aria-label", "Pinned classes");
  }

  // pins: [{index, name, color, weak}]
  show(pins, weakText) {
    const key = JSON.stringify(pins);
    if (key === this.shown) return;
    this.shown = key;
    this.node.replaceChildren(...pins.map(({ index, name, color, weak }) => {
      const chip = element("button", "fasa-choice fasa-pinned-class");
      chip.type = "button";
      chip.style.setProperty("--fasa-key", color);
      chip.append(element("span", "", name));
      if (weak) chip.append(element("span", "fasa-weak", " ▲ few objects"));
      chip.append(element("span", "fasa-quiet", " ✕"));
      chip.title = weak ? `Unpin; its ${weakText}` : "Unpin";
      chip.setAttribute("aria-label", `Unpin ${name}${weak ? `, whose ${weakText}` : ""}`);
      chip.addEventListener("click", () => this.unpin(index));
      return chip;
    }));
  }
}
