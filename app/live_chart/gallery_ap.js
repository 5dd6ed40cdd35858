// AP of each class beside its frequency and instances; sorted by any column.

import { classesOf } from "./classes.js";
import { element, setHidden, setText } from "./dom.js";
import { momentText } from "./gallery_columns.js";
import { follow, get } from "./poll.js";

const COLUMNS = [
  { key: "name", label: "class", meaning: "name of the class" },
  { key: "frequency", label: "freq.", meaning: "rare, common or frequent, by training images" },
  { key: "instances", label: "instances", meaning: "instances in the training set" },
  { key: "segm", label: "mask AP", meaning: "percent, over IoU 0.50 to 0.95" },
  { key: "bbox", label: "box AP", meaning: "percent, over IoU 0.50 to 0.95" },
  { key: "change", label: "change", meaning: "points of mask AP since the chosen evaluation" },
];
const WORDS = { r: "rare", c: "common", f: "frequent" };
const USUAL = "-instances";

export class ApTableView {
  constructor(root) {
    this.root = root;
    const card = element("section", "fasa-card");
    this.title = element("h3", "fasa-title");
    const bar = element("div", "fasa-tools");
    this.search = element("input", "fasa-search");
    this.search.type = "search";
    this.search.placeholder = "Find a class";
    this.search.setAttribute("aria-label", "Find a class by name");
    this.search.addEventListener("input", () => this.rows());
    this.before = element("select", "fasa-select");
    this.before.setAttribute("aria-label", "Evaluation that the change is counted from");
    this.before.addEventListener("change", () => this.arrange({ before: this.before.value }));
    this.line = element("span", "fasa-quiet");
    bar.append(this.search, this.before, this.line);
    this.box = element("div", "fasa-table fasa-ap-table");
    this.box.tabIndex = 0;
    this.body = element("tbody");
    const table = element("table");
    table.append(this.head(), this.body);
    this.box.append(table);
    this.empty = element("p", "fasa-quiet");
    this.caption = element("p", "fasa-caption");
    card.append(this.title, bar, this.empty, this.box, this.caption);
    root.append(card);
  }

  head() {
    const row = element("tr");
    this.heads = COLUMNS.map(({ key, label, meaning }) => {
      const cell = element("th", key === "name" ? "fasa-first" : "");
      cell.scope = "col";
      const button = element("button", "", label);
      button.type = "button";
      button.title = meaning;
      button.addEventListener("click", () => {
        const usual = key === "name" ? key : `-${key}`;
        const other = key === "name" ? `-${key}` : key;
        this.arrange({ sort: this.sort === usual ? other : usual });
      });
      cell.append(button);
      row.append(cell);
      return { key, cell };
    });
    const head = element("thead");
    head.append(row);
    return head;
  }

  update({ data, setTriggerValue }) {
    this.data = data;
    this.setTriggerValue = setTriggerValue;
    setText(this.title, data.spec.title);
    setText(this.caption, data.spec.caption);
    const { sort, before } = data.view;
    this.sort = COLUMNS.some(({ key }) => key === sort.replace(/^-/, "")) ? sort : USUAL;
    this.since = /^\d{1,15}$/.test(before) ? before : "";
    const earlier = this.following;
    this.following = follow(data.base, data.run, { onState: () => this.onState() });
    earlier?.stop();
    this.onState();
    this.rows();
  }

  arrange(what) {
    if (what.sort !== undefined) this.sort = what.sort;
    if (what.before !== undefined) this.since = what.before;
    this.setTriggerValue("arrange", { sort: this.sort, before: this.since });
    this.onState();
    this.rows();
  }

  async onState() {
    const { state } = this.following.poller;
    if (!state) return;
    const wanted = `${this.since} ${state.rewinds} ${state.versions.epoch} ${state.classes}`;
    if (wanted === this.wanted) return;
    this.wanted = wanted;
    try {
      const { base, run } = this.data;
      const query = this.since ? `?before=${this.since}` : "";
      const [classes, answer] = await Promise.all([
        classesOf({ base, run }, this.following),
        get(`${base}/live/runs/${run}/ap${query}`).then((response) => response.json()),
      ]);
      if (this.gone || wanted !== this.wanted) return;
      Object.assign(this, { classes, answer });
      this.offer();
      this.rows();
    } catch (error) {
      if (wanted !== this.wanted) return;
      this.wanted = null; // the next answer of the poll tries again
      if (error.sentence) setText(this.line, error.sentence);
    }
  }

  // The evaluations that the change can be counted from.
  offer() {
    const { moments, before, epoch, step } = this.answer;
    const options = moments.slice(0, -1).reverse().map((moment) => {
      const option = element("option", "", `change since ${momentText(moment).replace("after ", "")}`);
      option.value = String(moment[0]);
      return option;
    });
    this.before.replaceChildren(...options);
    this.before.value = String(before);
    setHidden(this.before, options.length === 0);
    setText(this.line, step === null ? "" : momentText([step, epoch]));
  }

  value(key, index) {
    if (key === "name") return this.classes.names[index].toLowerCase();
    if (key === "frequency") return "fcr".indexOf(this.classes.frequency[index]);
    if (key === "instances") return this.classes.instances[index];
    return this.answer[key][index];
  }

  rows() {
    const { classes, answer } = this;
    const ready = Boolean(classes && answer?.step != null);
    setHidden(this.box, !ready);
    setHidden(this.empty, ready);
    if (!ready) {
      setText(this.empty, this.data.spec.empty);
      return;
    }
    const key = this.sort.replace(/^-/, "");
    const sign = this.sort.startsWith("-") ? -1 : 1;
    for (const { key: own, cell } of this.heads) {
      cell.setAttribute("aria-sort", own === key ? (sign < 0 ? "descending" : "ascending") : "none");
    }
    const asked = this.search.value.trim().toLowerCase();
    const order = classes.names
      .map((name, index) => [this.value(key, index) ?? null, index])
      .filter(([, index]) => !asked || classes.names[index].toLowerCase().includes(asked))
      .sort(([a, i], [b, j]) => {
        if (a === null || b === null) return (a === null) - (b === null) || i - j;
        return a < b ? -sign : a > b ? sign : i - j;
      });
    this.body.replaceChildren(...order.map(([, index]) => this.row(index)));
  }

  row(index) {
    const { classes, answer } = this;
    const row = element("tr");
    row.addEventListener("click", () => this.setTriggerValue("pick", index));
    const name = element("td", "fasa-first");
    const button = element("button", "fasa-ap-name", classes.names[index]);
    button.type = "button";
    button.title = `Pictures of ${classes.names[index]}`;
    name.append(button);
    const letter = classes.frequency[index];
    const badge = element("span", "fasa-badge", letter);
    badge.dataset.frequency = letter;
    badge.title = WORDS[letter] ?? letter;
    const frequency = element("td");
    frequency.append(badge);
    const change = answer.change[index];
    const moved = element("td", change > 0 ? "fasa-up" : change < 0 ? "fasa-down" : "", signed(change));
    row.append(
      name, frequency, element("td", "", classes.instances[index].toLocaleString("en")),
      element("td", "", percent(answer.segm[index])), element("td", "", percent(answer.bbox[index])), moved,
    );
    return row;
  }

  destroy() {
    this.gone = true;
    this.following?.stop();
    this.root.replaceChildren();
  }
}

function percent(value) {
  return value === null || value === undefined ? "–" : value.toFixed(1);
}

function signed(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "=";
  return `${value > 0 ? "▲ +" : "▼ −"}${Math.abs(value).toFixed(1)}`;
}
