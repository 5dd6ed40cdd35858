// One run in the list: made once, then only its texts change.

import { duration, element, moment, number, pill, setHidden, setText } from "./dom.js";
import { Origin, originText } from "./origin.js";
import { COLUMNS } from "./run_columns.js";
import { Sparkline } from "./sparkline.js";

function plain(event) {
  return !(event.ctrlKey || event.metaKey || event.shiftKey || event.button);
}

export class RunRow {
  // `open(id)`, `menu(run, button)`, `undo(run)`, `select(id, on)` are the list's to do.
  constructor(base, run, { open, menu, undo, select }) {
    this.run = run;
    this.node = element("tr");
    this.node.dataset.run = run.id;
    this.cells = new Map(COLUMNS.map(({ key, label }) => {
      const cell = element("td", `fasa-cell-${key}`);
      cell.dataset.label = label;
      return [key, cell];
    }));
    this.node.addEventListener("click", (event) => {
      if (this.run.deleted !== null || !plain(event)) return;
      event.preventDefault();
      open(run.id);
    });
    this.makeName(base, open);
    this.makeProgress();
    this.pill = element("span");
    this.cells.get("status").append(this.pill);
    this.lines = { AP: new Sparkline("AP", "fasa-spark-all"), AP_r: new Sparkline("AP of rare classes", "fasa-spark-rare") };
    this.figures = { AP: element("span"), AP_r: element("span") };
    for (const key of ["AP", "AP_r"]) this.cells.get(key).append(this.lines[key].node, this.figures[key]);
    this.node.append(this.makeSelect(select), ...this.cells.values(), this.makeLast(menu, undo));
  }

  makeSelect(select) {
    const cell = element("td", "fasa-cell-select");
    this.box = element("input");
    this.box.type = "checkbox";
    this.box.setAttribute("aria-label", `select run ${this.run.id} to compare`);
    this.box.addEventListener("change", () => select(this.run.id, this.box.checked));
    const label = element("label"); // the whole cell can be clicked
    label.append(this.box);
    label.addEventListener("click", (event) => event.stopPropagation());
    cell.append(label);
    return cell;
  }

  makeName(base, open) {
    this.link = element("a", "fasa-link");
    this.link.href = `${base}/run?run=${this.run.id}`;
    this.link.dir = "auto"; // a name may be written from right to left
    this.about = element("div", "fasa-about fasa-quiet");
    this.about.dir = "auto";
    this.origin = new Origin(base, open);
    const cell = this.cells.get("name");
    cell.classList.add("fasa-first");
    cell.append(this.link, element("span", "fasa-quiet", ` #${this.run.id}`), this.about, this.origin.node);
    this.parent = element("a", "fasa-parent");
    this.parent.addEventListener("click", (event) => {
      event.stopPropagation();
      if (!plain(event)) return;
      event.preventDefault();
      open(this.run.parent.run);
    });
    this.base = base;
    this.cells.get("parent").append(this.parent);
  }

  makeProgress() {
    this.bar = element("div", "fasa-bar");
    this.fill = element("div", "fasa-fill");
    this.bar.append(this.fill);
    this.epoch = element("span", "fasa-quiet");
    this.cells.get("progress").append(this.bar, this.epoch);
  }

  makeLast(menu, undo) {
    this.more = element("button", "fasa-more", "⋯");
    this.more.type = "button";
    this.more.setAttribute("aria-haspopup", "menu");
    this.more.setAttribute("aria-label", `Actions on run ${this.run.id}`);
    this.more.addEventListener("click", (event) => {
      event.stopPropagation();
      event.preventDefault();
      menu(this.run, this.more);
    });
    this.undo = element("button", "fasa-button", "Undo");
    this.undo.type = "button";
    this.undo.setAttribute("aria-label", `Undo the deletion of run ${this.run.id}`);
    this.undo.addEventListener("click", (event) => {
      event.stopPropagation();
      undo(this.run);
    });
    const cell = element("td", "fasa-last");
    cell.append(this.more, this.undo);
    return cell;
  }

  // tops: the highest AP and AP_r of all runs shown; selected, full: of the comparison.
  show(run, { tops, selected, full }) {
    this.run = run;
    const gone = run.deleted !== null;
    this.node.classList.toggle("fasa-gone", gone);
    this.node.classList.toggle("fasa-put-away", run.archived);
    this.node.classList.toggle("fasa-selected", selected);
    setText(this.link, run.name);
    this.link.title = run.name;
    setText(this.about, `${run.dataset} · ${moment(run.created)}`);
    setHidden(this.more, gone);
    setHidden(this.undo, !gone);
    if (this.box.checked !== selected) this.box.checked = selected;
    this.box.disabled = gone || (full && !selected);
    this.box.title = full && !selected ? "that many are the most that can be compared" : "";
    this.origin.show({ ...run, parent: null }); // the parent has a column
    this.showParent(run);
    pill(run, this.pill);
    this.showProgress(run);
    this.showFigures(run, tops);
  }

  showParent(run) {
    setHidden(this.parent, !run.parent);
    if (!run.parent) return;
    setText(this.parent, `${run.parent.step === null ? "restart" : "fork"} of ${run.parent.run}`);
    this.parent.title = originText(run);
    this.parent.href = `${this.base}/run?run=${run.parent.run}`;
  }

  showProgress(run) {
    const share = run.total_steps ? Math.min(1, run.step / run.total_steps) : 0;
    this.bar.dataset.tone = run.liveness === "alive" ? "live" : run.status;
    this.bar.title = `${(100 * share).toFixed(0)} %: step ${run.step} of ${run.total_steps || "?"}`;
    this.fill.style.width = `${(100 * share).toFixed(1)}%`;
    setText(this.epoch, run.epoch ? `${run.epoch} / ${run.total_epochs || "?"}` : "–");
  }

  showFigures(run, tops) {
    const percent = (value) => (value === null ? "–" : value.toFixed(1));
    for (const key of ["AP", "AP_r"]) {
      setText(this.figures[key], percent(run[key]));
      this.lines[key].show(run.lines.at, run.lines[key], tops[key]);
    }
    const alive = run.liveness === "alive";
    setText(this.cells.get("left"), run.seconds_left === null ? "–" : duration(run.seconds_left));
    setText(this.cells.get("speed"), run.images_per_second === null ? "–" : number(run.images_per_second));
    this.cells.get("speed").classList.toggle("fasa-past", !alive); // as it was when it ended
    for (const key of ["alpha", "beta", "m"]) {
      setText(this.cells.get(key), run.fasa ? number(run.knobs[key]) : "–");
      this.cells.get(key).title = run.fasa ? "" : "a baseline: without FASA";
    }
  }

  countDown(lag) {
    if (this.run.deleted === null) return;
    const left = this.run.undo_until - (Date.now() / 1000 + lag);
    setText(this.undo, `Undo (${Math.max(0, Math.ceil(left))} s)`);
  }
}
