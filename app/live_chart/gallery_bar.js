// The controls above the gallery: class, what to show, score, parts, and the list of confusions.

import { element, setHidden, setText } from "./dom.js";
import { PARTS, SHOWS } from "./gallery_filter.js";

const FEW = 8; // confusions that are listed before a click lists all

function chip(text, press) {
  const button = element("button", "fasa-choice", text);
  button.type = "button";
  button.addEventListener("click", press);
  return button;
}

export class GalleryBar {
  // change(what): the person chose; `what` holds the fields of the filter that differ.
  constructor(change) {
    this.change = change;
    this.node = element("div", "fasa-gallery-bar");
    this.shows = this.group("show", SHOWS, (key) => this.change({ show: key, pair: null }));
    this.parts = this.group("draw", PARTS, (key) => this.toggle(key));
    this.confusions = element("div", "fasa-confusions");
    this.confusions.setAttribute("role", "group");
    this.confusions.setAttribute("aria-label", "Confusions, the most frequent first");
    this.node.append(this.classField(), this.shows.node, this.scoreField(), this.parts.node, this.confusions);
  }

  classField() {
    const field = element("label", "fasa-gallery-field");
    field.append(element("span", "fasa-quiet", "class"));
    this.search = element("input", "fasa-search");
    this.search.type = "search";
    this.search.placeholder = "all classes";
    this.names = element("datalist");
    this.names.id = `fasa-classes-${crypto.randomUUID?.() ?? Math.random()}`;
    this.search.setAttribute("list", this.names.id);
    this.search.addEventListener("input", () => this.chooseClass());
    this.search.addEventListener("change", () => this.chooseClass());
    field.append(this.search, this.names);
    return field;
  }

  chooseClass() {
    const asked = this.search.value.trim();
    const known = !asked || this.known?.has(asked);
    this.search.setAttribute("aria-invalid", String(!known));
    if (known && asked !== this.filter.name) this.change({ name: asked, pair: null });
  }

  scoreField() {
    const field = element("label", "fasa-gallery-field");
    this.scoreText = element("span", "fasa-quiet");
    this.score = element("input");
    Object.assign(this.score, { type: "range", min: "0.05", max: "0.95", step: "0.05" });
    this.score.addEventListener("input", () => this.change({ score: Number(this.score.value) }));
    field.append(this.scoreText, this.score);
    return field;
  }

  group(label, choices, press) {
    const node = element("div", "fasa-gallery-field");
    const row = element("div", "fasa-choices");
    row.setAttribute("role", "group");
    row.setAttribute("aria-label", label);
    const buttons = Object.entries(choices).map(([key, text]) => {
      const button = chip(text, () => press(key));
      button.dataset.choice = key;
      row.append(button);
      return [key, button];
    });
    node.append(element("span", "fasa-quiet", label), row);
    return { node, buttons };
  }

  toggle(part) {
    const hidden = new Set(this.filter.hidden);
    if (!hidden.delete(part)) hidden.add(part);
    this.change({ hidden });
  }

  // moment: that of the first column, whose classes and confusions are offered.
  show(filter, moment) {
    this.filter = filter;
    if (document.activeElement !== this.search) this.search.value = filter.name;
    if (document.activeElement !== this.score) this.score.value = String(filter.score);
    setText(this.scoreText, `score at least ${filter.score.toFixed(2)}`);
    for (const [key, button] of this.shows.buttons) press(button, key === filter.show);
    for (const [key, button] of this.parts.buttons) press(button, !filter.hidden.has(key));
    if (moment.classes && this.classes !== moment.classes) this.offer(moment.classes);
    this.list(moment);
  }

  offer(classes) {
    this.classes = classes;
    this.known = new Set(classes.names);
    const options = [...classes.names].sort().map((name) => {
      const option = element("option");
      option.value = name;
      return option;
    });
    this.names.replaceChildren(...options);
  }

  list(moment) {
    const { confusions = [] } = moment.answer ?? {};
    setHidden(this.confusions, confusions.length === 0);
    const key = JSON.stringify([confusions, this.filter.pair, this.all, Boolean(moment.classes)]);
    if (key === this.listed) return;
    this.listed = key;
    const chips = confusions.slice(0, this.all ? undefined : FEW).map(([was, taken, count]) => {
      const pair = [moment.name(was), moment.name(taken)];
      const chosen = this.filter.pair?.join("\n") === pair.join("\n");
      const text = `${pair[0]} → ${pair[1]} ${count}`;
      const button = chip(text, () => this.change({ show: chosen ? "all" : "confusions", pair: chosen ? null : pair, name: "" }));
      button.title = `${pair[0]}, found as ${pair[1]}: ${count} time${count > 1 ? "s" : ""}`;
      press(button, chosen);
      return button;
    });
    if (confusions.length > FEW) {
      const word = this.all ? "fewer" : `all ${confusions.length}`;
      chips.push(chip(word, () => {
        this.all = !this.all;
        this.list(moment);
      }));
    }
    this.confusions.replaceChildren(element("span", "fasa-quiet", "confusions (true → detected)"), ...chips);
  }
}

function press(button, pressed) {
  button.setAttribute("aria-pressed", String(pressed));
}
