// The gallery: test images with what is true and what was detected, a column for each run and epoch.
// The same image stands in one row; with one column, images fill the width.

import { element, setHidden, setText } from "./dom.js";
import { GalleryBar } from "./gallery_bar.js";
import { ColumnHead, momentText, MOST_COLUMNS } from "./gallery_columns.js";
import { Enlarged } from "./gallery_dialog.js";
import { Filter } from "./gallery_filter.js";
import { Moment } from "./gallery_moment.js";
import { Picture } from "./gallery_picture.js";

const BATCH = 12; // images that are put into the page at once; further ones when they come near
const PAUSE = 250; // milliseconds without a further choice until the address follows

export class GalleryView {
  constructor(root) {
    this.root = root;
    this.columns = []; // {moment, head}
    this.cards = new Map(); // image key -> {node, cells: [{button, picture, line}]}
    this.room = BATCH;
    const card = element("section", "fasa-card");
    this.title = element("h3", "fasa-title");
    this.bar = new GalleryBar((what) => this.choose(what));
    this.heads = element("div", "fasa-columns");
    this.add = element("button", "fasa-button", "+ compare with another epoch or run");
    this.add.type = "button";
    this.add.addEventListener("click", () => this.addColumn());
    this.count = element("p", "fasa-quiet");
    this.grid = element("div", "fasa-gallery");
    this.grid.addEventListener("keydown", (event) => this.key(event));
    this.end = element("div", "fasa-gallery-end");
    this.caption = element("p", "fasa-caption");
    this.scroller = element("div", "fasa-gallery-scroll");
    this.scroller.append(this.heads, this.grid);
    this.tools = element("div", "fasa-tools");
    this.tools.append(this.add, this.count);
    card.append(this.title, this.bar.node, this.caption, this.tools, this.scroller, this.end);
    this.enlarged = new Enlarged({ step: (by) => this.turn(by), close: () => this.choose({ image: null }) });
    root.append(card, this.enlarged.node);
    this.near = new IntersectionObserver(([entry]) => {
      if (entry.isIntersecting && this.room < this.shown?.length) {
        this.room += BATCH;
        this.draw();
      }
    }, { rootMargin: "600px" });
    this.near.observe(this.end);
  }

  update({ data, setTriggerValue }) {
    this.data = data;
    this.setTriggerValue = setTriggerValue;
    setText(this.title, data.spec.title);
    setText(this.caption, data.spec.caption);
    const received = JSON.stringify(data.view);
    if (received === this.received) {
      this.draw(); // the theme may be another one
      return;
    }
    this.received = received;
    const told = new Filter(data.view);
    if (this.filter && JSON.stringify(told.address()) === JSON.stringify(this.filter.address())) return;
    if (this.telling) return; // a choice that the address does not know yet
    const elsewhere = this.filter && this.filter.name !== told.name;
    this.filter = told;
    this.follow();
    if (elsewhere) this.root.scrollIntoView({ block: "start" });
  }

  choose(what) {
    Object.assign(this.filter, what);
    if (what.score === undefined && what.image === undefined && what.hidden === undefined) this.room = BATCH;
    this.follow();
    clearTimeout(this.telling);
    this.telling = setTimeout(() => {
      this.telling = null;
      this.setTriggerValue("choose", this.filter.address());
    }, PAUSE);
  }

  // One moment a column; one that is there already is kept.
  follow() {
    const { base, spec } = this.data;
    while (this.columns.length > this.filter.columns.length) this.drop(this.columns.pop());
    this.filter.columns.forEach(({ run, step }, index) => {
      let column = this.columns[index];
      if (column?.moment.run !== run) {
        column?.moment.destroy();
        const moment = new Moment({ base, run, step, looks: spec.looks, onChange: () => this.draw() });
        column = this.columns[index] = { moment, head: column?.head ?? this.head(index) };
      }
      column.moment.at(step, this.filter.score);
    });
    this.draw();
  }

  head(index) {
    const change = (chosen) => this.choose({ columns: this.filter.columns.map((old, at) => (at === index ? chosen : old)) });
    const remove = () => this.choose({ columns: this.filter.columns.filter((_, at) => at !== index) });
    const head = new ColumnHead({ first: index === 0, runs: this.data.spec.runs, change, remove });
    this.heads.append(head.node);
    return head;
  }

  // The same run's earliest evaluation that is not shown yet: what one wants to compare with first.
  addColumn() {
    const { run, answer } = this.columns[0].moment;
    const taken = this.filter.columns.map(({ step }) => step);
    const free = (answer?.moments ?? []).map(([step]) => String(step)).find((step) => !taken.includes(step));
    this.choose({ columns: [...this.filter.columns, { run, step: free ?? "newest" }] });
  }

  drop({ moment, head }) {
    moment.destroy();
    head.node.remove();
  }

  draw() {
    if (this.queued || this.gone || !this.filter) return;
    this.queued = true;
    requestAnimationFrame(() => {
      this.queued = false;
      if (!this.gone) this.render();
    });
  }

  render() {
    const { filter, columns } = this;
    const first = columns[0].moment;
    const alone = columns.length === 1;
    const nothing = alone && first.answer?.moments.length === 0; // then only the sentence why
    for (const node of [this.bar.node, this.caption, this.tools]) setHidden(node, nothing);
    this.bar.show(filter, first);
    columns.forEach(({ moment, head }, index) => head.show(filter.columns[index], moment, alone));
    setHidden(this.add, columns.length >= MOST_COLUMNS || !first.answer?.moments.length);
    this.root.style.setProperty("--fasa-column-count", columns.length);
    this.grid.dataset.columns = String(columns.length);
    const all = first.answer?.images ?? [];
    this.shown = all.filter(({ key }) => this.isWanted(key));
    this.sayCount(all.length);
    this.grid.dataset.images = String(this.shown.length);
    this.place(this.shown.slice(0, this.room));
    this.showEnlarged();
  }

  // An image is shown when any of the columns holds what is wanted in it.
  isWanted(key) {
    return this.columns.some(({ moment }) => {
      const image = moment.imageOf(key);
      return image && this.filter.wantsImage(moment, image);
    });
  }

  sayCount(all) {
    const none = all > 0 && this.shown.length === 0;
    const text = none ? `None of ${all} images holds what is asked for: choose another class or lower the score.`
      : this.filter.isOpen() ? `${all} images` : `${this.shown.length} of ${all} images`;
    setText(this.count, all ? text : "");
  }

  place(images) {
    const keys = new Set(images.map(({ key }) => key));
    for (const [key, card] of this.cards) {
      if (keys.has(key) && card.cells.length === this.columns.length) continue;
      for (const { picture } of card.cells) picture.destroy();
      card.node.remove();
      this.cards.delete(key);
    }
    images.forEach(({ key, id }, index) => {
      let card = this.cards.get(key);
      if (!card) this.cards.set(key, (card = this.card(id)));
      if (this.grid.children[index] !== card.node) this.grid.insertBefore(card.node, this.grid.children[index] ?? null);
      this.columns.forEach(({ moment }, at) => this.fill(card.cells[at], moment, key));
    });
  }

  card(id) {
    const node = element("div", "fasa-gallery-row");
    node.dataset.image = String(id);
    const cells = this.columns.map((_, at) => {
      const button = element("button", "fasa-cell");
      button.type = "button";
      button.dataset.column = String(at);
      button.addEventListener("click", () => this.choose({ image: id }));
      const picture = new Picture();
      const line = element("span", "fasa-quiet");
      button.append(picture.node, line);
      node.append(button);
      return { button, picture, line };
    });
    return { node, cells };
  }

  fill({ button, picture, line }, moment, key) {
    const about = moment.imageOf(key);
    picture.node.hidden = !about;
    button.disabled = !about;
    if (!about) {
      setText(line, moment.answer?.step == null ? moment.sentence : "This run does not keep this image.");
      return;
    }
    picture.show(about, moment, this.filter);
    const found = about.objects.filter(([, word]) => word === "found").length;
    const true_ = about.objects.filter(([, word]) => word !== "crowd").length;
    setText(line, `${found} of ${true_} found`);
    button.setAttribute("aria-label", `Enlarge image ${about.id}: ${found} of ${true_} objects found`);
  }

  // Arrow keys: along the row to the next picture, up and down by rows.
  key(event) {
    const cell = event.target.closest?.(".fasa-cell");
    if (!cell || !event.key.startsWith("Arrow")) return;
    const rows = [...this.grid.children];
    const row = rows.indexOf(cell.parentElement);
    const column = Number(cell.dataset.column);
    const across = { ArrowLeft: -1, ArrowRight: 1 }[event.key] ?? 0;
    const down = { ArrowUp: -1, ArrowDown: 1 }[event.key] ?? 0;
    const single = this.columns.length === 1;
    const abreast = single ? rows.filter(({ offsetTop }) => offsetTop === rows[0].offsetTop).length : 1;
    const target = rows[row + down * abreast + (single ? across : 0)]?.children[single ? 0 : column + across];
    if (!target) return;
    event.preventDefault();
    target.focus();
  }

  turn(by) {
    const at = this.shown.findIndex(({ id }) => id === this.filter.image);
    const target = this.shown[at + by];
    if (target) this.choose({ image: target.id });
  }

  showEnlarged() {
    const { image } = this.filter;
    const known = this.columns[0].moment.answer?.images.find(({ id }) => id === image);
    if (!known) {
      this.enlarged.close();
      return;
    }
    const at = this.shown.indexOf(known);
    const place = at < 0 ? "not among those chosen" : `${at + 1} of ${this.shown.length}`;
    const columns = this.columns.map(({ moment }) => ({ moment, about: moment.imageOf(known.key), head: this.headline(moment) }));
    this.enlarged.show(image, place, columns, this.filter);
  }

  headline({ run, answer }) {
    const label = this.data.spec.runs.find(({ id }) => id === run)?.label ?? `run ${run}`;
    return answer?.step == null ? label : `${label}, ${momentText([answer.step, answer.epoch])}`;
  }

  destroy() {
    this.gone = true;
    clearTimeout(this.telling);
    this.near.disconnect();
    this.enlarged.destroy();
    for (const column of this.columns) this.drop(column);
    for (const { cells } of this.cards.values()) for (const { picture } of cells) picture.destroy();
    this.root.replaceChildren();
  }
}
