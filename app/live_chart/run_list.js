// The list of runs, newest first; each row opens its live page, its menu does the rest.

import { duration, element, moment, pill, setHidden, setText } from "./dom.js";
import { Origin } from "./origin.js";
import { get, Loop } from "./poll.js";
import { RunMenu } from "./run_menu.js";

const COLUMNS = ["run", "status", "progress", "epoch", "time left", "AP", "AP_r", "data set", "created", ""];
const UNANSWERED = 15000; // milliseconds until a silent server is said; a locked log takes ten seconds

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
    head.lastChild.append(element("span", "fasa-unseen", "actions"));
    const thead = element("thead");
    thead.append(head);
    this.body = element("tbody");
    table.append(thead, this.body);
    this.box.append(table);
    this.empty = element("div", "fasa-nothing");
    this.archived = element("button", "fasa-button fasa-archive");
    this.archived.type = "button";
    this.archived.addEventListener("click", () => {
      this.showArchived = !this.showArchived;
      this.render();
    });
    this.refused = element("p", "fasa-lost");
    this.lost = element("p", "fasa-lost");
    for (const line of [this.refused, this.lost]) line.setAttribute("role", "alert");
    this.menu = new RunMenu((kind, run) => this.ask(kind, run));
    card.append(this.refused, this.box, this.empty, this.archived, this.lost);
    root.append(card, this.menu.node);
    for (const node of [this.box, this.empty, this.archived, this.refused, this.lost]) setHidden(node, true);
    this.showArchived = false;
    this.runs = [];
    this.rows = new Map();
    this.loop = new Loop(
      () => this.fetch(),
      ({ sentence }) => {
        setText(this.lost, sentence);
        setHidden(this.lost, !sentence);
      },
    );
    this.clock = setInterval(() => this.countDown(), 1000);
  }

  update({ data, setTriggerValue }) {
    this.data = data;
    this.setTriggerValue = setTriggerValue;
    if (!this.empty.childElementCount) this.explain(data.spec.empty);
    const { answer } = data.view;
    if (answer && answer.nonce === this.asked) {
      this.asked = null;
      this.say(answer.sentence);
    }
    this.loop.soon();
  }

  say(sentence) {
    setText(this.refused, sentence);
    setHidden(this.refused, !sentence);
  }

  // Everything but opening a run is the page's to do; its answer comes back in the data.
  ask(kind, run) {
    this.say("");
    if (kind === "open") {
      this.setTriggerValue("open", run.id);
      return;
    }
    const nonce = `${Date.now()} ${Math.random()}`;
    this.asked = nonce;
    this.setTriggerValue("ask", { kind, run: run.id, nonce });
    setTimeout(() => {
      if (this.asked !== nonce) return;
      this.asked = null;
      this.say("The server did not answer: reload the page and look whether it was done.");
    }, UNANSWERED);
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

  async fetch() {
    const { runs, now } = await (await get(`${this.data.base}/live/runs`)).json();
    this.runs = runs;
    this.lag = now - Date.now() / 1000;
    this.render();
    const busy = !runs.length || runs.some((run) => run.liveness !== "over" || run.deleted !== null);
    return busy ? 1500 : 5000;
  }

  render() {
    const archived = this.runs.filter((run) => run.archived).length;
    const runs = this.runs.filter((run) => this.showArchived || !run.archived || run.deleted !== null);
    setHidden(this.box, runs.length === 0);
    setHidden(this.empty, this.runs.length > 0);
    setHidden(this.archived, archived === 0);
    setText(this.archived, this.showArchived ? "hide archived runs" : `show archived runs (${archived})`);
    const rows = runs.map((run) => this.row(run));
    const known = new Set(this.runs.map((run) => run.id));
    for (const id of this.rows.keys()) {
      if (!known.has(id)) this.rows.delete(id);
    }
    const same = rows.length === this.body.children.length &&
      rows.every((row, index) => this.body.children[index] === row.node);
    if (!same) this.body.replaceChildren(...rows.map((row) => row.node));
    this.menu.follow(this.runs);
    this.countDown();
  }

  // A row is made once and then only its texts change.
  row(run) {
    let row = this.rows.get(run.id);
    if (!row) this.rows.set(run.id, (row = this.makeRow(run)));
    row.run = run;
    this.fill(row, run);
    return row;
  }

  makeRow(run) {
    const row = { node: element("tr"), cells: COLUMNS.map(() => element("td")), pill: element("span") };
    row.link = element("a", "fasa-link");
    row.link.href = `${this.data.base}/run?run=${run.id}`;
    row.link.dir = "auto"; // a name may be written from right to left
    row.number = element("span", "fasa-quiet", ` #${run.id}`);
    row.origin = new Origin(this.data.base, (id) => this.setTriggerValue("open", id));
    row.node.addEventListener("click", (event) => {
      if (row.run.deleted !== null || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
      event.preventDefault();
      this.setTriggerValue("open", run.id);
    });
    row.bar = element("div", "fasa-bar");
    row.fill = element("div", "fasa-fill");
    row.bar.append(row.fill);
    row.more = element("button", "fasa-more", "⋯");
    row.more.type = "button";
    row.more.setAttribute("aria-haspopup", "menu");
    row.undo = element("button", "fasa-button", "Undo");
    row.undo.type = "button";
    row.undo.addEventListener("click", (event) => {
      event.stopPropagation();
      this.ask("undo", row.run);
    });
    row.more.addEventListener("click", (event) => {
      event.stopPropagation();
      event.preventDefault();
      this.menu.open(row.run, row.more);
    });
    row.cells[0].className = "fasa-first";
    row.cells[0].append(row.link, row.number, row.origin.node);
    row.cells[1].append(row.pill);
    row.cells[2].append(row.bar);
    row.cells.at(-1).append(row.more, row.undo);
    row.cells.at(-1).className = "fasa-last";
    COLUMNS.forEach((label, index) => (row.cells[index].dataset.label = label));
    row.node.append(...row.cells);
    row.node.dataset.run = run.id;
    return row;
  }

  fill(row, run) {
    const share = run.total_steps ? Math.min(1, run.step / run.total_steps) : 0;
    const percent = (value) => (value === null ? "–" : value.toFixed(1));
    const gone = run.deleted !== null;
    row.node.classList.toggle("fasa-gone", gone);
    row.node.classList.toggle("fasa-put-away", run.archived);
    setText(row.link, run.name);
    row.link.title = run.name;
    row.more.setAttribute("aria-label", `Actions on run ${run.id}`);
    row.undo.setAttribute("aria-label", `Undo the deletion of run ${run.id}`);
    setHidden(row.more, gone);
    setHidden(row.undo, !gone);
    row.origin.show(run);
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
      moment(run.created),
    ];
    texts.forEach((text, index) => setText(row.cells[index + 3], text));
  }

  countDown() {
    for (const { run, undo } of this.rows.values()) {
      if (!run || run.deleted === null) continue;
      const left = run.undo_until - (Date.now() / 1000 + this.lag);
      setText(undo, `Undo (${Math.max(0, Math.ceil(left))} s)`);
    }
  }

  destroy() {
    this.loop.stop();
    clearInterval(this.clock);
    this.menu.close();
    this.root.replaceChildren();
  }
}
