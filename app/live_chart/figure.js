// A figure that the server draws from the run log's rows (app/figures.py). It is fetched again when
// the version it follows has changed, and redrawn in place, so zoom and legend survive.

import { element, readTheme, setHidden, setText } from "./dom.js";
import { houseAxis, houseLayout, loadPlotly } from "./plotly.js";
import { follow, get } from "./poll.js";

const CONFIG = { displaylogo: false, doubleClick: "reset", modeBarButtons: [["resetScale2d", "toImage"]] };

export class FigureView {
  constructor(root) {
    this.root = root;
    const card = element("section", "fasa-card");
    this.title = element("h3", "fasa-title");
    this.stage = element("div", "fasa-stage");
    this.plot = element("div", "fasa-plot");
    this.empty = element("p", "fasa-empty");
    this.stage.append(this.plot, this.empty);
    this.note = element("p", "fasa-note");
    this.caption = element("p", "fasa-caption");
    card.append(this.title, this.stage, this.note, this.caption);
    root.append(card);
    this.size = new ResizeObserver(() => this.draw());
    this.size.observe(this.stage);
  }

  update({ data, setTriggerValue }) {
    const before = this.following;
    this.data = data;
    this.setTriggerValue = setTriggerValue;
    const { spec } = data;
    setText(this.title, spec.title);
    setText(this.caption, spec.caption);
    setText(this.empty, spec.empty);
    setHidden(this.note, true);
    this.stage.style.height = `${spec.height}px`;
    this.plot.dataset.figure = spec.name;
    this.following = follow(data.base, data.run, { onState: () => this.onState() });
    before?.stop();
    loadPlotly(data.plotly).then(
      (Plotly) => {
        this.Plotly = Plotly;
        this.draw();
      },
      (error) => setText(this.empty, `${error.message}: reload the page.`),
    );
    this.onState();
  }

  // The address of what is shown; it changes with the parameters and with the theme.
  address() {
    const { base, run, spec } = this.data;
    const query = new URLSearchParams(spec.params);
    if (readTheme(this.root).dark) query.set("dark", "1");
    return `${base}/live/runs/${run}/figures/${spec.name}?${query}`;
  }

  onState() {
    const run = this.following?.poller.state;
    if (!run) return;
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
      setText(this.empty, this.data.spec.empty);
      this.draw();
    } catch (error) {
      if (wanted !== this.wanted) return;
      this.wanted = null; // the next answer of the poll tries again
      if (error.sentence) setText(this.empty, error.sentence);
    }
  }

  draw() {
    if (this.queued || this.gone) return;
    this.queued = true;
    requestAnimationFrame(() => {
      this.queued = false;
      if (!this.gone && this.Plotly && this.answer && this.stage.clientWidth > 0) this.render();
    });
  }

  render() {
    const { traces, layout, note } = this.answer;
    setHidden(this.empty, traces.length > 0);
    setHidden(this.note, !note);
    setText(this.note, note);
    this.plot.style.visibility = traces.length ? "visible" : "hidden";
    if (!traces.length && !this.drawn) return;
    this.Plotly.react(this.plot, traces, this.layout(layout), CONFIG);
    this.plot.dataset.traces = String(traces.length);
    if (!this.drawn) {
      this.drawn = true;
      this.plot.on("plotly_click", ({ points }) => this.pick(points[0]));
    }
  }

  layout(own) {
    const theme = readTheme(this.root);
    const house = houseLayout(theme, this.stage.clientWidth, this.data.spec.height);
    const layout = { ...house, ...own, legend: { ...house.legend, ...own.legend } };
    for (const name of new Set(["xaxis", "yaxis", ...Object.keys(own)])) {
      if (/^[xy]axis\d*$/.test(name)) layout[name] = { ...houseAxis(theme), ...own[name] };
    }
    return layout;
  }

  pick(point) {
    const { customdata } = point ?? {};
    if (this.data.spec.picks && customdata !== undefined) this.setTriggerValue("pick", customdata);
  }

  destroy() {
    this.gone = true;
    this.size.disconnect();
    this.following?.stop();
    if (this.drawn) this.Plotly.purge(this.plot);
    this.root.replaceChildren();
  }
}
