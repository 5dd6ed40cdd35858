// The list of runs, newest first; each row opens its live page.

import { duration, element, number, pill, setHidden, setText } from "./dom.js";
import { get, Loop } from "./poll.js";

const COLUMNS = ["run", "status", "progress", "epoch", "time left", "AP", "AP_r", "data set", "created"];

function when(seconds) {
  const date = new Date(seconds * 1000);
  const today = new Date().toDateString() === date.toDateString();
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return today ? `today ${time}` : `${date.toLocaleDateString()} ${time}`;
}

export class RunListView {
  constructor(root) {
    this.root = root;
    const card = element("section", "fasa-card");
    this.box = element("div", "fasa-table fasa-runs");
    const table = element("table");
    const head = element("tr");
    for (const label of COLUMNS) {
      const cell = element("th", label === "run" ? "fasa-first" : "", label);
      cell.scope = "col";
      head.append(cell);
    }
    const thead = element("thead");
    thead.append(head);
    this.body = element("tbody");
    table.append(thead, this.body);
    this.box.append(table);
    this.empty = element("div", "fasa-nothing");
    this.lost = element("p", "fasa-lost");
    this.lost.setAttribute("role", "alert");
    card.append(this.box, this.empty, this.lost);
    root.append(card);
    this.box.hidden = true;
    this.empty.hidden = true;
    this.lost.hidden = true;
    this.rows = new Map();
    this.loop = new Loop(
      () => this.ask(),
      ({ sentence }) => {
        setText(this.lost, sentence);
        setHidden(this.lost, !sentence);
      },
    );
  }

  update({ data, setTriggerValue }) {
    this.data = data;
    this.setTriggerValue = setTriggerValue;
    if (!this.empty.childElementCount) this.explain(data.spec.empty);
    this.loop.soon();
  }

  explain({ title, sentence, commands }) {
    const list = element("dl");
    for (const [command, meaning] of commands) {
      const term = element("dt");
      term.append(element("code", "", command));
      list.append(term, element("dd", "", meaning));
    }
    this.empty.append(element("h3", "fasa-title", title), element("p", "", sentence), list);
  }

  async ask() {
    const { runs } = await (await get(`${this.data.base}/live/runs`)).json();
    setHidden(this.box, runs.length === 0);
    setHidden(this.empty, runs.length > 0);
    const rows = runs.map((run) => this.row(run));
    for (const [id, row] of this.rows) {
      if (!rows.includes(row)) this.rows.delete(id);
    }
    const same = rows.length === this.body.children.length &&
      rows.every((row, index) => this.body.children[index] === row.node);
    if (!same) this.body.replaceChildren(...rows.map((row) => row.node));
    const busy = !runs.length || runs.some((run) => run.liveness !== "over");
    return busy ? 1500 : 5000;
  }

  // A row is made once and then only its texts change.
  row(run) {
    let row = this.rows.get(run.id);
    if (!row) {
      row = { node: element("tr"), cells: COLUMNS.map(() => element("td")), pill: element("span") };
      const link = element("a", "fasa-link");
      link.href = `${this.data.base}/run?run=${run.id}`;
      row.node.addEventListener("click", (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
        event.preventDefault();
        this.setTriggerValue("open", run.id);
      });
      row.link = link;
      row.bar = element("div", "fasa-bar");
      row.fill = element("div", "fasa-fill");
      row.bar.append(row.fill);
      row.cells[0].className = "fasa-first";
      row.cells[0].append(link);
      row.cells[1].append(row.pill);
      row.cells[2].append(row.bar);
      COLUMNS.forEach((label, index) => (row.cells[index].dataset.label = label));
      row.node.append(...row.cells);
      row.node.dataset.run = run.id;
      this.rows.set(run.id, row);
    }
    this.fill(row, run);
    return row;
  }

  fill(row, run) {
    const share = run.total_steps ? Math.min(1, run.step / run.total_steps) : 0;
    const percent = (value) => (value === null ? "–" : value.toFixed(1));
    setText(row.link, run.name);
    pill(run, row.pill);
    row.bar.dataset.tone = run.liveness === "alive" ? "live" : run.status;
    row.bar.title = `${(100 * share).toFixed(0)} %`;
    row.fill.style.width = `${(100 * share).toFixed(1)}%`;
    const texts = [
      run.epoch ? `${run.epoch} / ${run.total_epochs || "?"}` : "–",
      run.seconds_left === null ? "–" : duration(run.seconds_left),
      percent(run.AP),
      percent(run.AP_r),
      run.dataset,
      when(run.created),
    ];
    texts.forEach((text, index) => setText(row.cells[index + 3], text));
  }

  destroy() {
    this.loop.stop();
    this.root.replaceChildren();
  }
}
