// The page Feature space: one run's real and virtual features in two dimensions, or two runs side
// by side; the same epoch, colours, pins and chosen points in both.

import { Bar, PinRow } from "./feature_space_bar.js";
import { Choice } from "./feature_space_choice.js";
import { Chosen } from "./feature_space_chosen.js";
import { Epochs } from "./feature_space_epochs.js";
import { Legend } from "./feature_space_legend.js";
import { Pane } from "./feature_space_pane.js";
import { FeatureRun } from "./feature_space_run.js";
import { DownloadMenu } from "./downloads.js";
import { WEAK_TEXT, isWeak } from "./feature_space_hover.js";
import { beside, placeOf } from "./feature_space_moment.js";
import { chosenText, emptyText } from "./feature_space_words.js";
import { classOf } from "./feature_space_points.js";
import { element, readTheme, setHidden, setText } from "./dom.js";
import { pictureFile, pointsFile } from "./feature_space_files.js";

const PAUSE = 250; // milliseconds without a further choice until the address follows
const ANSWER = 5000; // milliseconds the answer to it is waited for
const FILES = [["csv", "Points (CSV)"], ["png", "Picture (PNG)"]];

export class FeatureSpaceView {
  constructor(root) {
    this.root = root;
    this.panes = [];
    this.tool = "pan";
    const card = element("section", "fasa-card fasa-space");
    const head = element("div", "fasa-head");
    this.title = element("h3", "fasa-title");
    this.menu = new DownloadMenu(FILES);
    head.append(this.title, this.menu.node);
    this.bar = new Bar({
      change: (what) => this.choose(what),
      pin: (index) => this.pin(index),
      tool: (name) => this.take(name),
      fit: () => this.panes.forEach(({ cloud }) => cloud.fit()),
    });
    this.pinRow = new PinRow((index) => this.pin(index));
    this.epochs = new Epochs({
      change: (step) => this.choose({ step }),
      isHere: () => this.panes.every(({ run }) => !run.aimed?.snapshot || run.shown?.snapshot === run.aimed.snapshot),
      stopped: () => this.tell(),
    });
    this.stages = element("div", "fasa-panes");
    this.legend = new Legend();
    this.caption = element("p", "fasa-caption");
    this.chosen = new Chosen({
      clear: () => this.choose({ lasso: null }),
      pin: (index) => this.pinOf(this.chosenPane(), index),
      hover: (key) => this.point(this.chosenPane(), key === null ? null : this.chosenPane().pointOf(key), true),
    });
    card.append(head, this.bar.node, this.pinRow.node, this.epochs.node, this.stages, this.legend.node, this.caption, this.chosen.node);
    root.append(card);
  }

  update({ data, setTriggerValue }) {
    this.data = data;
    this.setTriggerValue = setTriggerValue;
    setText(this.title, data.spec.title);
    this.menu.describe(data.spec.title, (format) => this.download(format), () => this.fileName());
    const received = JSON.stringify(data.view);
    if (received !== this.received && !this.telling) this.hear(data.view);
    this.received = received;
    this.follow();
  }

  // The view of the address. While the answer to what was said last is awaited, another one answers
  // something said before.
  hear(view) {
    const told = new Choice(view);
    const pins = view.pins.map(({ index }) => index);
    const text = JSON.stringify({ ...told.address(), pins });
    if (text === this.said) this.said = null;
    if (this.said && Date.now() - this.saidAt < ANSWER) return;
    this.pins = pins;
    if (this.choice && JSON.stringify(told.address()) === JSON.stringify(this.choice.address())) return;
    this.choice = told;
    this.moved = true; // what is in view comes from the address
  }

  choose(what) {
    Object.assign(this.choice, what);
    this.follow();
    if (!this.epochs.timer) this.tell();
  }

  // Sends all that is chosen to the address when the person has rested. All, as the server may
  // leave out what was said before while it is busy.
  tell(pause = PAUSE) {
    clearTimeout(this.telling);
    this.telling = setTimeout(() => {
      this.telling = null;
      const chosen = { ...this.choice.address(), pins: this.pins };
      Object.assign(this, { said: JSON.stringify(chosen), saidAt: Date.now() });
      this.setTriggerValue("choose", chosen);
    }, pause);
  }

  // One run a pane; one that is there already is kept.
  follow() {
    const { base, run } = this.data;
    const wanted = this.choice.beside === null ? [run] : [run, this.choice.beside];
    this.panes = this.panes.filter((pane, place) => {
      if (pane.run.run === wanted[place]) return true;
      pane.destroy();
      return false;
    });
    for (const id of wanted.slice(this.panes.length)) {
      const pane = new Pane(new FeatureRun({ base, run: id, onChange: () => this.draw() }), {
        hover: (from, point) => this.point(from, point),
        select: (from, points) => this.select(from, points),
        pick: (from, point) => this.pinOf(from, this.classAt(from, point)),
        view: (from, view) => this.viewed(from, view),
        tool: (name) => this.take(name),
      });
      this.panes.push(pane);
      this.stages.append(pane.node);
      pane.cloud.setTool(this.tool);
    }
    this.stages.dataset.panes = String(this.panes.length);
    this.draw();
  }

  draw() {
    if (this.queued || this.gone || !this.choice) return;
    this.queued = true;
    requestAnimationFrame(() => {
      this.queued = false;
      if (!this.gone) this.render();
    });
  }

  render() {
    const { choice, panes, data: { spec, view } } = this;
    const [first, second] = panes;
    this.aim();
    const { dark } = readTheme(this.root);
    panes.forEach((pane, place) => pane.show({
      choice, looks: spec.looks, dark, pins: this.pinsOf(pane), chosen: this.chosenKeys(place),
      label: spec.runs.find(({ id }) => id === pane.run.run)?.label ?? `run ${pane.run.run}`,
    }));
    this.applyView(first);
    const leading = panes.find(({ run }) => run.shown);
    const nothing = !leading && !second && emptyText(first.run) !== "";
    for (const node of [this.bar.node, this.pinRow.node, this.legend.node, this.caption]) setHidden(node, nothing);
    this.menu.setEnabled(Boolean(leading));
    this.bar.update({ choice, run: first.run, runs: spec.runs, pins: view.pins, tool: this.tool });
    this.pinRow.show(this.pinChips(first, dark), WEAK_TEXT);
    const { snapshots } = first.run;
    this.epochs.show(nothing ? [] : snapshots, snapshots.indexOf(first.run.target), choice.step);
    if (leading) {
      const virtual = panes.some(({ run }) => run.shown?.snapshot.virtual);
      this.legended = leading.paint.legend();
      const counts = second && this.legended.entries.some(({ text }) => text.endsWith(")"));
      if (counts) this.legended.note += ` Counts are those of run ${leading.run.run}.`;
      this.legend.show(this.legended, { virtual });
      setText(this.caption, `${leading.caption(Boolean(second))} ${spec.help}`);
    }
    this.showChosen();
  }

  // Which snapshots are to be shown: the same epoch of both runs.
  aim() {
    const { choice, panes: [first, second] } = this;
    const { snapshots } = first.run;
    const place = placeOf(snapshots, choice.step);
    const near = [snapshots[place + 1], snapshots[place - 1]].filter(Boolean);
    first.run.aim(snapshots[place] ?? null, choice.method, { follows: choice.step === null, neighbours: near });
    if (!second) return;
    const others = second.run.snapshots;
    const partner = (snapshot) => (snapshot ? beside(others, snapshot) : others.at(-1) ?? null);
    second.run.aim(partner(first.run.aimed.snapshot ?? snapshots[place]), choice.method, {
      follows: choice.step === null, neighbours: near.map(partner).filter(Boolean),
    });
  }

  applyView(first) {
    if (!this.moved || !first.run.shown) return;
    this.moved = false;
    if (this.choice.at) first.cloud.setView(this.choice.at);
    else first.cloud.resetView();
  }

  viewed(pane, { x, y, scale, fitted }) {
    if (pane !== this.panes[0]) return;
    this.choice.at = fitted ? null : { x, y, scale };
    this.tell();
  }

  take(tool) {
    this.tool = tool;
    for (const { cloud } of this.panes) cloud.setTool(tool);
    this.draw();
  }

  // Pins are of the page's run; another run has the classes of the same names.
  pinsOf({ run }) {
    const { pins } = this.data.view;
    if (run.run === this.data.run || !run.overview) return pins;
    return pins.map((pin) => ({ ...pin, index: run.links.classOfName.get(pin.name) })).filter(({ index }) => index !== undefined);
  }

  pinChips({ run }, dark) {
    const { overview, shown } = run;
    return this.data.view.pins.map((pin) => ({
      index: pin.index, name: pin.name, color: dark ? pin.dark : pin.light,
      weak: Boolean(overview) && isWeak(overview, shown?.points, pin.index),
    }));
  }

  // Pins or unpins. Which colour it wears the server says, which knows the other pages.
  pin(index) {
    this.pins = this.pins.includes(index) ? this.pins.filter((other) => other !== index) : [...this.pins, index];
    this.tell(0);
  }

  pinOf({ run }, index) {
    const own = run.run === this.data.run ? index : this.panes[0].run.links.classOfName.get(run.className(index));
    if (own !== undefined) this.pin(own);
  }

  classAt({ run }, point) {
    return classOf(run.shown.points, run.overview.objects.class, point);
  }

  // The point at hand in one pane, and what it is in the other one. `ring`: no pointer is on it.
  point(from, point, ring = false) {
    from.point(point, { ring });
    const other = this.panes.find((pane) => pane !== from);
    if (!other?.run.shown || !from.run.shown) return;
    const key = point === null ? null : other.run.links.from(from.run.links, from.run.shown.points.keys[point]);
    other.point(key === null ? null : other.pointOf(key));
  }

  select(pane, points) {
    const { keys } = pane.run.shown.points;
    const chosen = new Set(Array.from(points, (point) => keys[point]));
    this.choose({ lasso: chosen.size ? { second: pane !== this.panes[0], keys: chosen } : null });
  }

  chosenPane() {
    return this.panes[this.choice.lasso?.second ? 1 : 0] ?? this.panes[0];
  }

  // The chosen keys as a pane's run has them; null: nothing is chosen.
  chosenKeys(place) {
    const { lasso } = this.choice;
    const from = this.chosenPane().run;
    const { run } = this.panes[place];
    if (!lasso || !from.overview || !run.overview) return null;
    if (run === from) return lasso.keys;
    const points = run.shown?.points;
    if (this.linked?.keys !== lasso.keys || this.linked.overview !== run.overview || this.linked.points !== points) {
      const there = new Set(points?.keys);
      const found = [...lasso.keys].map((key) => run.links.from(from.links, key)).filter((key) => there.has(key));
      this.linked = { keys: lasso.keys, overview: run.overview, points, found: new Set(found) };
    }
    return this.linked.found;
  }

  showChosen() {
    const { choice: { lasso } } = this;
    const pane = this.chosenPane();
    const ready = lasso && pane.run.overview;
    const objects = ready ? [...lasso.keys].filter((key) => key < 2 ** 31).length : 0;
    const place = this.panes.findIndex((other) => other !== pane);
    const other = ready && place >= 0 ? this.chosenKeys(place)?.size ?? 0 : null;
    const words = ready ? chosenText({ objects, virtual: lasso.keys.size - objects, other }) : "";
    const forgets = ready && this.choice.isTooLong() ? " They are too many for the address: a reload forgets them." : "";
    this.chosen.show(pane.run, ready ? lasso.keys : null, words + forgets);
  }

  fileName() {
    const { state, shown } = this.panes[0].run;
    return `${state?.name ?? "run"} feature space ${shown ? `epoch ${shown.snapshot.epoch + 1} ${shown.method}` : ""}`;
  }

  download(format) {
    const panes = this.panes.filter(({ run }) => run.shown);
    if (format === "csv") {
      const chosen = panes.map((pane) => this.chosenKeys(this.panes.indexOf(pane)));
      return pointsFile(panes, { hidden: this.choice.hidden, chosen });
    }
    return pictureFile(panes, { title: this.data.spec.title, legend: this.legended, caption: "" });
  }

  destroy() {
    this.gone = true;
    clearTimeout(this.telling);
    this.epochs.stop();
    clearTimeout(this.telling);
    for (const pane of this.panes) pane.destroy();
    this.root.replaceChildren();
  }
}
