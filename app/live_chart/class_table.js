// The class table: newest values of every class, and why its probability changed; search, sort,
// frequency filter, pins. Only the rows in view are in the page, so 1,203 classes cost no more than 20.

import { classesOf } from "./classes.js";
import { element, number, setHidden, setText } from "./dom.js";
import { follow, get } from "./poll.js";

const ROW = 30; // pixels
const SHOWN = 14; // rows in view at most
const SPARE = 6; // rows kept ready above and below
const FREQUENCIES = [["r", "rare"], ["c", "common"], ["f", "frequent"]];
const PLACES = { name: "fasa-first", why: "fasa-why" }; // columns of words, set to the left
const TYPING = 500; // milliseconds without a further letter until the address follows a search
const STEPS = { ArrowUp: -1, ArrowDown: 1, PageUp: -SHOWN, PageDown: SHOWN };

const FORMATS = {
  number: (value) => number(value),
  percent: (value) => (Number.isFinite(value) ? value.toFixed(1) : "–"),
  share: (value) => (Number.isFinite(value) ? value.toFixed(2) : "–"),
  group: (value) => (value >= 0 ? String(value) : "–"),
  factor(value) {
    if (!Number.isFinite(value)) return "–";
    if (value === 1) return "=";
    return `${value > 1 ? "▲" : "▼"} ×${value.toFixed(2)}`;
  },
};

export class ClassTableView {
  constructor(root) {
    this.root = root;
    this.order = [];
    this.sort = { key: "instances", down: true };
    this.chosen = new Set(FREQUENCIES.map(([letter]) => letter));
    this.classes = null;
    // {reasons: [[words, sentence]], of_class: [C], measures?: {name: [C]}}, see app/class_reasons.py
    // and app/measure_routes.py
    this.reasons = null;
    const card = element("section", "fasa-card");
    this.title = element("h3", "fasa-title");
    const bar = element("div", "fasa-tools");
    this.search = element("input", "fasa-search");
    this.search.type = "search";
    this.search.placeholder = "Find a class";
    this.search.setAttribute("aria-label", "Find a class by name");
    this.search.addEventListener("input", () => this.rearrange());
    this.filters = FREQUENCIES.map(([letter, word]) => this.filter(letter, word));
    this.count = element("span", "fasa-quiet");
    bar.append(this.search, ...this.filters, this.count);
    this.box = element("div", "fasa-table");
    this.box.tabIndex = 0;
    this.box.addEventListener("scroll", () => this.rows(), { passive: true });
    this.box.addEventListener("keydown", (event) => this.key(event));
    this.box.addEventListener("pointerover", (event) => this.explain(event.target));
    this.box.addEventListener("focusin", (event) => this.explain(event.target));
    this.table = element("table");
    this.headRow = element("tr");
    const head = element("thead");
    head.append(this.headRow);
    this.body = element("tbody");
    this.table.append(head, this.body);
    this.box.append(this.table);
    this.empty = element("p", "fasa-quiet");
    this.why = element("p", "fasa-readout");
    this.sentence = element("span");
    this.sentence.setAttribute("aria-live", "polite");
    this.sentence.dir = "auto";
    this.story = element("a", "fasa-story", "the whole story");
    this.why.append(this.sentence, this.story);
    this.caption = element("p", "fasa-caption");
    card.append(this.title, bar, this.box, this.why, this.empty, this.caption);
    root.append(card);
  }

  filter(letter, word) {
    const button = element("button", "fasa-chip", word);
    button.type = "button";
    button.dataset.frequency = letter;
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      if (!this.chosen.delete(letter)) this.chosen.add(letter);
      button.setAttribute("aria-pressed", String(this.chosen.has(letter)));
      this.rearrange();
    });
    return button;
  }

  // As the address says, when the page is opened; afterwards the address follows the table.
  adopt({ find, sort, down, groups }) {
    this.search.value = find;
    this.sort = { key: sort, down };
    this.chosen = new Set(groups);
    for (const button of this.filters) {
      button.setAttribute("aria-pressed", String(this.chosen.has(button.dataset.frequency)));
    }
  }

  // A person arranged the table: the address is told, once the typing pauses.
  rearrange() {
    this.box.scrollTop = 0;
    this.arrange();
    clearTimeout(this.telling);
    this.telling = setTimeout(() => {
      const { key, down } = this.sort;
      const groups = FREQUENCIES.map(([letter]) => letter).filter((letter) => this.chosen.has(letter));
      this.setTriggerValue("arrange", { find: this.search.value.trim(), sort: key, down, groups });
    }, TYPING);
  }

  update({ data, setTriggerValue }) {
    this.data = data;
    this.setTriggerValue = setTriggerValue;
    const { spec } = data;
    setText(this.title, spec.title);
    setText(this.caption, spec.caption);
    this.pins = new Set(data.view.pins);
    if (!this.columns) {
      this.makeHead(spec.columns);
      this.adopt(data.view.arrangement);
    }
    const before = this.following;
    this.following = follow(data.base, data.run, {
      wants: spec.columns.map((column) => column.want).filter(Boolean),
      onRows: () => this.arrange(),
      onState: () => this.onState(),
    });
    before?.stop();
    this.onState();
    this.arrange();
  }

  makeHead(columns) {
    this.columns = columns.map((column) => ({ ...column }));
    for (const column of this.columns) {
      const cell = element("th", PLACES[column.key] ?? "");
      cell.scope = "col";
      const button = element("button", "", column.label);
      button.type = "button";
      button.title = column.meaning;
      button.addEventListener("click", () => {
        const same = this.sort.key === column.key;
        this.sort = { key: column.key, down: same ? !this.sort.down : column.style !== "words" };
        this.rearrange();
      });
      cell.append(button);
      column.head = cell;
      this.headRow.append(cell);
    }
  }

  // Names are fetched when the trainer has named them; reasons, when an epoch was adapted or
  // features were measured since.
  async onState() {
    const run = this.following?.poller.state;
    if (!run) return;
    if (this.classes?.names.length !== run.classes) {
      this.classes = await classesOf(this.data, this.following).catch(() => null);
      if (this.gone) return;
      this.arrange();
    }
    const { base, spec } = this.data;
    const version = `${run.rewinds} ${run.versions.epoch} ${run.versions.feature} ${run.classes}`;
    if (!spec.reasons || version === this.version) return;
    this.version = version;
    try {
      const reasons = await (await get(`${base}/live/runs/${this.data.run}/${spec.reasons}`)).json();
      if (this.gone || version !== this.version) return;
      this.reasons = reasons;
      this.arrange();
    } catch {
      this.version = null; // the poller says what is wrong; its next answer comes back here
    }
  }

  // Why the class's probability changed: [a few words, the sentence behind them].
  reason(index) {
    return this.reasons?.reasons[this.reasons.of_class[index]] ?? ["", ""];
  }

  // The sentence of the row that is pointed at or focused.
  explain(node) {
    const index = node.closest("tr[data-index]")?.dataset.index;
    if (index === undefined) return;
    this.explained = Number(index);
    this.tellWhy();
  }

  tellWhy() {
    setHidden(this.why, !this.reasons);
    const names = this.classes?.names ?? [];
    const name = names[this.explained];
    const sentence = this.reason(this.explained)[1];
    const known = name !== undefined && sentence !== "";
    setText(this.sentence, known ? `${name}: ${sentence}` : "Point at a class, or go to it with the arrow keys, to read why.");
    setHidden(this.story, !known || this.data.spec.reasons !== "reasons");
    if (!known) return;
    const twice = names.indexOf(name) !== names.lastIndexOf(name); // such a one goes by its index, too
    const { base, run } = this.data;
    const query = new URLSearchParams({ run, class: twice ? `${name} (#${this.explained})` : name });
    this.story.href = `${base}/super-groups?${query}`;
  }

  value(column, index) {
    if (column.key === "name") return this.classes.names[index].toLowerCase();
    if (column.key === "frequency") return "fcr".indexOf(this.classes.frequency[index]);
    if (column.key === "instances") return this.classes.instances[index];
    if (column.key === "why") return this.reason(index)[0] || NaN; // without one: last
    if (column.measure) return this.reasons?.measures[column.measure]?.[index] ?? NaN;
    const row = this.following.table(column.want)?.values[0];
    const value = row ? row[index] : NaN;
    return column.transform === "per_thousand" ? value * 1000 : value;
  }

  // Which classes are shown, in which order.
  arrange() {
    const { classes } = this;
    setHidden(this.box, !classes);
    setHidden(this.empty, Boolean(classes));
    if (!classes) {
      setText(this.empty, this.data.spec.empty);
      return;
    }
    const wanted = this.search.value.trim().toLowerCase();
    const column = this.columns.find(({ key }) => key === this.sort.key);
    const missing = (value) => typeof value === "number" && Number.isNaN(value);
    const sign = this.sort.down ? -1 : 1;
    this.order = classes.names
      .map((name, index) => index)
      .filter((index) => this.chosen.has(classes.frequency[index]))
      .filter((index) => !wanted || classes.names[index].toLowerCase().includes(wanted))
      .map((index) => [this.value(column, index), index])
      .sort(([a, i], [b, j]) => {
        if (missing(a) || missing(b)) return missing(a) - missing(b) || i - j;
        return a < b ? -sign : a > b ? sign : i - j;
      })
      .map(([, index]) => index);
    for (const { key, head } of this.columns) {
      const state = key === this.sort.key ? (this.sort.down ? "descending" : "ascending") : "none";
      head.setAttribute("aria-sort", state);
    }
    const all = classes.names.length;
    this.tellWhy();
    setText(this.count, this.order.length === all ? `${all} classes` : `${this.order.length} of ${all}`);
    this.rows();
  }

  // Put the rows in view into the page, between two fillers that keep the scroll bar right.
  rows() {
    if (!this.classes) return;
    const total = this.order.length;
    const height = Math.min(SHOWN, Math.max(1, total)) * ROW;
    this.box.style.maxHeight = `${height + ROW + 2}px`;
    const top = Math.floor(this.box.scrollTop / ROW);
    const first = Math.max(0, Math.min(top - SPARE, total - SHOWN - SPARE));
    const last = Math.min(total, first + SHOWN + 2 * SPARE);
    const filler = (rows) => {
      const row = element("tr", "fasa-filler");
      row.style.height = `${rows * ROW}px`;
      return row;
    };
    const shown = this.order.slice(first, last).map((index) => this.row(index));
    const focused = this.body.contains(document.activeElement)
      ? document.activeElement.closest("tr").dataset.index
      : null;
    this.body.replaceChildren(filler(first), ...shown, filler(total - last));
    if (focused !== null) this.focus(focused);
  }

  focus(index) {
    this.body.querySelector(`tr[data-index="${index}"] button`)?.focus({ preventScroll: true });
  }

  // Arrow keys go from row to row; those that are not in the page yet are brought into it.
  key(event) {
    const here = event.target.closest?.("tr[data-index]");
    const step = STEPS[event.key];
    if (!step || !this.order.length || (!here && event.target !== this.box)) return;
    event.preventDefault();
    const from = here ? this.order.indexOf(Number(here.dataset.index)) : Math.ceil(this.box.scrollTop / ROW) - step;
    const to = Math.max(0, Math.min(this.order.length - 1, from + step));
    const visible = Math.floor((this.box.clientHeight - ROW) / ROW);
    const top = Math.min(Math.max(this.box.scrollTop, (to - visible + 1) * ROW), to * ROW);
    if (top !== this.box.scrollTop) this.box.scrollTop = top;
    this.rows();
    this.focus(this.order[to]);
  }

  row(index) {
    const { classes } = this;
    const pinned = this.pins.has(index);
    const row = element("tr", pinned ? "fasa-pinned" : "");
    row.dataset.index = index;
    row.addEventListener("click", () => this.toggle(index));
    for (const column of this.columns) {
      const cell = element("td", PLACES[column.key] ?? "");
      if (column.key === "name") {
        const button = element("button", "fasa-pin", classes.names[index]);
        button.type = "button";
        button.setAttribute("aria-pressed", String(pinned));
        button.title = `${pinned ? "Unpin" : "Pin"} ${classes.names[index]}`;
        cell.append(button);
      } else if (column.key === "frequency") {
        const letter = classes.frequency[index];
        const badge = element("span", "fasa-badge", letter);
        badge.dataset.frequency = letter;
        badge.title = FREQUENCIES.find(([key]) => key === letter)?.[1] ?? letter;
        cell.append(badge);
      } else if (column.key === "instances") {
        cell.textContent = classes.instances[index].toLocaleString("en");
      } else if (column.key === "why") {
        const [words] = this.reason(index);
        cell.textContent = words || "–";
        cell.dir = "auto";
      } else {
        const value = this.value(column, index);
        cell.textContent = FORMATS[column.style](value);
        if (column.style === "factor" && Number.isFinite(value) && value !== 1) {
          cell.className = value > 1 ? "fasa-up" : "fasa-down";
        }
        if (Number.isNaN(value)) cell.title = column.missing;
        if (column.weak_below && value < column.weak_below) cell.prepend(element("span", "fasa-weak", "weak"), " ");
      }
      row.append(cell);
    }
    return row;
  }

  toggle(index) {
    if (!this.pins.delete(index)) this.pins.add(index);
    this.rows();
    this.setTriggerValue("toggle", index);
  }

  destroy() {
    this.gone = true;
    clearTimeout(this.telling);
    this.following?.stop();
    this.root.replaceChildren();
  }
}
