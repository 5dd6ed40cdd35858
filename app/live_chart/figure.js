// A figure that the server draws from the run log's rows (app/figures.py). It is fetched when it
// comes near the view and again when the version it follows has changed, and redrawn in place, so
// zoom and legend survive.

import { Card } from "./card.js";
import { CONFIG } from "./chart_layout.js";
import { readTheme, setText } from "./dom.js";
import { picture } from "./downloads.js";
import { Drawing } from "./drawing.js";
import { houseAxis, houseLayout, loadPlotly } from "./plotly.js";
import { follow, get } from "./poll.js";

export class FigureView {
  constructor(root) {
    this.root = root;
    this.card = new Card(root);
    this.drawing = new Drawing(this.card.stage, () => this.render(), () => this.onState());
  }

  update({ data, setTriggerValue }) {
    const before = this.following;
    this.data = data;
    this.setTriggerValue = setTriggerValue;
    const { spec } = data;
    this.card.say(this.answer ? spec : { ...spec, empty: "Loading…" });
    this.card.plot.dataset.figure = spec.name;
    this.card.menu.describe(spec.title, (format) => this.download(format), () => this.fileName());
    this.following = follow(data.base, data.run, { onState: () => this.onState() });
    before?.stop();
    loadPlotly(data.plotly).then(
      (Plotly) => {
        this.Plotly = Plotly;
        this.drawing.ask();
      },
      (error) => setText(this.card.empty, `${error.message}: reload the page.`),
    );
    this.onState();
  }

  // The address of what is shown; it changes with the parameters and with the theme.
  address(further = {}) {
    const { base, run, spec } = this.data;
    const query = new URLSearchParams({ ...spec.params, ...further });
    if (readTheme(this.root).dark) query.set("dark", "1");
    return `${base}/live/runs/${run}/figures/${spec.name}?${query}`;
  }

  onState() {
    const run = this.following?.poller.state;
    if (!run || !this.drawing.near) return;
    const wanted = `${this.address()} ${run.rewinds} ${run.versions[this.data.spec.follows]}`;
    if (wanted !== this.wanted) {
      this.wanted = wanted;
      this.fetch(wanted);
    }
  }

  async fetch(wanted) {
    try {
      const answer = await (await get(this.address())).json();
      if (this.gone || wanted !== this.wanted) return; // another one was asked for meanwhile
      this.answer = answer;
      setText(this.card.empty, this.data.spec.empty);
      this.drawing.ask();
    } catch (error) {
      if (wanted !== this.wanted) return;
      this.wanted = null; // the next answer of the poll tries again
      if (error.sentence) setText(this.card.empty, error.sentence);
    }
  }

  render() {
    if (!this.Plotly || !this.answer) return false;
    const { traces, layout, note } = this.answer;
    const { plot } = this.card;
    this.card.setDrawn(traces.length > 0);
    this.card.setNote(note);
    if (!traces.length && !this.drawn) return false;
    // Copies: Plotly notes in them what was clicked, and would take that for ours when drawn again.
    this.Plotly.react(plot, structuredClone(traces), this.layout(layout), CONFIG);
    plot.dataset.traces = String(traces.length);
    if (!this.drawn) {
      this.drawn = true;
      plot.on("plotly_click", ({ points }) => this.pick(points[0]));
      // A tree map opens the box that was clicked, unless it was picked.
      plot.on("plotly_treemapclick", ({ points }) => !this.pick(points[0]));
    }
    return true;
  }

  layout(own) {
    const theme = readTheme(this.root);
    const house = houseLayout(theme, this.card.stage.clientWidth, this.data.spec.height);
    const layout = { ...house, ...own, legend: { ...house.legend, ...own.legend } };
    for (const name of new Set(["xaxis", "yaxis", ...Object.keys(own)])) {
      if (/^[xy]axis\d*$/.test(name)) layout[name] = { ...houseAxis(theme), ...own[name] };
    }
    return layout;
  }

  pick(point) {
    const { customdata } = point ?? {};
    const picked = this.data.spec.picks && customdata !== undefined && customdata !== null;
    if (picked) this.setTriggerValue("pick", customdata);
    return picked;
  }

  fileName() {
    return `run ${this.data.run} ${this.data.spec.name}`;
  }

  async download(format) {
    if (format === "csv") return (await get(this.address({ format: "csv" }))).blob();
    const name = this.following.poller.state?.name;
    const { title } = this.data.spec;
    return picture(this.Plotly, this.card.plot, format, name ? `${title} · ${name}` : title);
  }

  destroy() {
    this.gone = true;
    this.drawing.stop();
    this.following?.stop();
    if (this.drawn) this.Plotly.purge(this.card.plot);
    this.root.replaceChildren();
  }
}
