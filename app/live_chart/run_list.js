// The list of runs: search, order and filters above, a row a run, and what can be done with each.

import { element, setHidden, setText } from "./dom.js";
import { get, Loop } from "./poll.js";
import { COLUMNS, shownRuns } from "./run_columns.js";
import { RunLook } from "./run_look.js";
import { RunMenu } from "./run_menu.js";
import { RunRow } from "./run_row.js";

const UNANSWERED = 15000; // milliseconds until a silent server is said; a locked log takes ten seconds
const UNTAKEN = 8000; // milliseconds a run is queued while nothing trains, until that is said

export class RunListView {
  constructor(root) {
    this.root = root;
    const card = element("section", "fasa-card");
    this.look = new RunLook({
      base: "", changed: (look, settled) => this.relook(look, settled),
      compare: (ids) => this.setTriggerValue("compare", ids),
    });
    this.box = element("div", "fasa-table fasa-runs");
    this.body = element("tbody");
    const table = element("table");
    table.append(this.makeHead(), this.body);
    this.box.append(table);
    this.none = element("p", "fasa-none");
    this.empty = element("div", "fasa-nothing");
    this.refused = element("p", "fasa-lost");
    this.lost = element("p", "fasa-lost");
    for (const line of [this.refused, this.lost]) line.setAttribute("role", "alert");
    this.waiting = element("p", "fasa-waiting");
    this.waiting.setAttribute("role", "status");
    this.menu = new RunMenu((kind, run) => this.ask(kind, run));
    card.append(this.refused, this.waiting, this.look.node, this.box, this.none, this.empty, this.lost);
    root.append(card, this.menu.node);
    for (const node of [this.look.node, this.box, this.none, this.empty, this.refused, this.waiting, this.lost]) {
      setHidden(node, true);
    }
    this.runs = [];
    this.rows = new Map();
    this.sent = new Set(); // looks the page was told: their echo is no news
    this.queuedSince = new Map();
    this.loop = new Loop(
      () => this.fetch(),
      ({ sentence }) => {
        setText(this.lost, sentence);
        setHidden(this.lost, !sentence);
      },
    );
    this.clock = setInterval(() => this.rows.forEach((row) => row.countDown(this.lag)), 1000);
  }

  makeHead() {
    const row = element("tr");
    const select = element("th", "fasa-cell-select");
    select.append(element("span", "fasa-unseen", "select to compare"));
    this.heads = COLUMNS.map((column) => {
      const cell = element("th", `fasa-cell-${column.key}${column.key === "name" ? " fasa-first" : ""}`);
      const button = element("button", "", column.label);
      button.type = "button";
      if (column.hint) button.title = column.hint;
      button.addEventListener("click", () => this.order(column));
      cell.append(button);
      return { column, cell };
    });
    const last = element("th", "fasa-last");
    last.append(element("span", "fasa-unseen", "actions"));
    row.append(select, ...this.heads.map(({ cell }) => cell), last);
    for (const cell of row.children) cell.scope = "col";
    const head = element("thead");
    head.append(row);
    return head;
  }

  // A column is ordered one way, then the other, then the list is newest first again.
  order({ key, first }) {
    const { sort, ascending } = this.look.look;
    const starts = first === "ascending";
    if (sort !== key) this.look.set({ sort: key, ascending: starts });
    else if (ascending === starts) this.look.set({ sort: key, ascending: !starts });
    else this.look.set({ sort: "run", ascending: false });
  }

  update({ data, setTriggerValue }) {
    this.data = data;
    this.setTriggerValue = setTriggerValue;
    this.look.base = data.base;
    if (!this.empty.childElementCount) this.explain(data.spec.empty);
    const look = JSON.stringify(data.view.look);
    if (look !== this.heard && !this.sent.has(look)) this.look.adopt(data.view.look);
    this.heard = look;
    const { answer } = data.view;
    if (answer && answer.nonce === this.asked) this.answered(answer.sentence);
    this.loop.soon();
  }

  relook(look, settled) {
    this.render();
    if (!settled) return;
    this.sent.add(JSON.stringify(look));
    this.setTriggerValue("look", look);
  }

  answered(sentence) {
    this.asked = null;
    this.demo.disabled = false;
    this.say(sentence);
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
    this.setTriggerValue("ask", { kind, run: run?.id ?? 0, nonce });
    setTimeout(() => {
      if (this.asked !== nonce) return;
      this.answered("The server did not answer: reload the page and look whether it was done.");
    }, UNANSWERED);
  }

  explain({ title, sentence, button, commands }) {
    const list = element("dl");
    for (const [command, meaning] of commands) {
      const term = element("dt");
      term.append(element("code", "", command));
      list.append(term, element("dd", "", meaning));
    }
    this.demo = element("button", "fasa-button fasa-primary", button);
    this.demo.type = "button";
    this.demo.addEventListener("click", () => {
      this.demo.disabled = true;
      this.ask("demo", null);
    });
    const other = element("p", "fasa-quiet", "or in a terminal");
    this.empty.append(element("h3", "fasa-title", title), element("p", "", sentence), this.demo, other, list);
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
    const { look } = this.look;
    const runs = shownRuns([...this.runs], look);
    const some = this.runs.length > 0;
    setHidden(this.look.node, !some);
    setHidden(this.box, runs.length === 0);
    setHidden(this.empty, some);
    setHidden(this.none, !some || runs.length > 0);
    setText(this.none, "No run fits the search and the filters: change them, or show archived runs.");
    this.look.show(this.runs, runs.length);
    const tops = Object.fromEntries(["AP", "AP_r"].map((key) => [
      key, runs.reduce((top, run) => Math.max(top, ...run.lines[key].map((value) => value ?? 0)), 0),
    ]));
    const full = look.select.length >= this.data.spec.most;
    const rows = runs.map((run) => this.row(run, { tops, full, selected: look.select.includes(run.id) }));
    const known = new Set(this.runs.map((run) => run.id));
    for (const id of this.rows.keys()) {
      if (!known.has(id)) this.rows.delete(id);
    }
    const same = rows.length === this.body.children.length &&
      rows.every((row, index) => this.body.children[index] === row.node);
    if (!same) this.arrange(rows);
    for (const { column, cell } of this.heads) {
      if (column.key === look.sort) cell.setAttribute("aria-sort", look.ascending ? "ascending" : "descending");
      else cell.removeAttribute("aria-sort");
    }
    this.menu.follow(this.runs);
    this.tellWaiting();
  }

  // Who works in the list by keyboard keeps the place when rows move.
  arrange(rows) {
    const held = this.body.contains(document.activeElement) ? document.activeElement : null;
    this.body.replaceChildren(...rows.map((row) => row.node));
    if (held?.isConnected) held.focus();
  }

  row(run, state) {
    let row = this.rows.get(run.id);
    if (!row) {
      row = new RunRow(this.data.base, run, {
        open: (id) => this.setTriggerValue("open", id),
        menu: (about, button) => this.menu.open(about, button),
        undo: (about) => this.ask("undo", about),
        select: (id, on) => this.select(id, on),
      });
      this.rows.set(run.id, row);
    }
    row.show(run, state);
    row.countDown(this.lag);
    return row;
  }

  select(id, on) {
    const others = this.look.look.select.filter((other) => other !== id);
    this.look.set({ select: on ? [...others, id] : others });
  }

  // A queued run that nobody takes up has no supervisor, or one that cannot start it.
  tellWaiting() {
    const now = Date.now();
    const queued = this.runs.filter((run) => run.liveness === "waiting" && run.deleted === null);
    const since = queued.map(({ id }) => [id, this.queuedSince.get(id) ?? now]);
    this.queuedSince = new Map(since);
    const trains = this.runs.some((run) => ["alive", "stalled"].includes(run.liveness));
    const [first] = since.filter(([, time]) => now - time > UNTAKEN).map(([id]) => id).slice(-1);
    setHidden(this.waiting, trains || first === undefined);
    if (this.waiting.hidden || this.waiting.dataset.run === String(first)) return;
    this.waiting.dataset.run = first;
    this.waiting.replaceChildren(
      `Run ${first} is queued and nothing trains: start the supervisor in a terminal with `,
      element("code", "", this.data.spec.supervise),
    );
  }

  destroy() {
    this.loop.stop();
    clearInterval(this.clock);
    this.look.destroy();
    this.menu.close();
    this.root.replaceChildren();
  }
}
