// The bar above the run list: search, filters by status and tag, archived runs, order on a narrow
// screen, and the comparison of selected runs. It changes `look` and tells whoever made it.

import { condition, element, setHidden, setText } from "./dom.js";
import { ORDERS, tally } from "./run_columns.js";

const TYPED = 350; // milliseconds after the last letter until the address says what was searched
const FEWEST = 2;

export class RunLook {
  // `changed(look, settled)`: settled is false while somebody types.
  constructor({ base, changed, compare }) {
    this.base = base;
    this.changed = changed;
    this.node = element("div", "fasa-look");
    this.search = element("input", "fasa-search");
    Object.assign(this.search, { type: "search", placeholder: "search runs: name, tag, note, #number" });
    this.search.setAttribute("aria-label", "search runs");
    this.search.addEventListener("input", () => this.typed());
    this.order = this.orderChoice();
    this.filters = element("div", "fasa-filters");
    this.filters.setAttribute("role", "group");
    this.filters.setAttribute("aria-label", "filters");
    this.count = element("span", "fasa-quiet");
    this.count.setAttribute("aria-live", "polite");
    this.comparing = element("div", "fasa-comparing");
    this.compared = element("a", "fasa-button fasa-primary", "Compare");
    this.compared.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
      event.preventDefault();
      if (this.look.select.length >= FEWEST) compare(this.look.select);
    });
    this.none = this.button("select none", () => this.set({ select: [] }));
    this.chosen = element("span");
    this.comparing.append(this.chosen, this.compared, this.none);
    this.node.append(this.search, this.order, this.filters, this.count, this.comparing);
  }

  button(text, press) {
    const node = element("button", "fasa-button", text);
    node.type = "button";
    node.addEventListener("click", press);
    return node;
  }

  // Only seen where the table has no head to order by.
  orderChoice() {
    const label = element("label", "fasa-order", "order ");
    this.select = element("select");
    for (const { key, label: words, first } of ORDERS) {
      for (const order of key === "run" || first !== "ascending" ? ["↓", "↑"] : ["↑", "↓"]) {
        const option = element("option", "", `${words} ${order}`);
        option.value = `${key} ${order}`;
        this.select.append(option);
      }
    }
    this.select.addEventListener("change", () => {
      const [sort, order] = this.select.value.split(" ");
      this.set({ sort, ascending: order === "↑" });
    });
    label.append(this.select);
    return label;
  }

  adopt(look) {
    this.look = { ...look };
    if (this.search !== document.activeElement) this.search.value = look.search;
  }

  set(change, settled = true) {
    this.look = { ...this.look, ...change };
    this.changed(this.look, settled);
  }

  typed() {
    clearTimeout(this.typing);
    this.set({ search: this.search.value.slice(0, 100) }, false);
    this.typing = setTimeout(() => this.changed(this.look, true), TYPED);
  }

  show(runs, shown) {
    const { look } = this;
    const chips = [
      ...tally(runs.filter((run) => run.deleted === null).map((run) => condition(run).word))
        .map(([word, count]) => ({ list: "status", word, count })),
      ...tally(runs.flatMap((run) => run.tags)).slice(0, 24)
        .map(([word, count]) => ({ list: "tags", word, count })),
    ];
    for (const list of ["status", "tags"]) { // what is chosen stays, so that it can be let go
      for (const word of look[list]) {
        if (!chips.some((chip) => chip.list === list && chip.word === word)) chips.push({ list, word, count: 0 });
      }
    }
    const archived = runs.filter((run) => run.archived).length;
    if (archived || look.archived) chips.push({ list: "archived", word: "archived", count: archived });
    this.drawChips(chips);
    const few = shown < runs.filter((run) => look.archived || !run.archived).length;
    setText(this.count, few ? `${shown} of ${runs.length} runs` : "");
    setHidden(this.filters, chips.length < 2 && !look.status.length);
    this.select.value = `${look.sort} ${look.ascending ? "↑" : "↓"}`;
    this.tellComparing();
  }

  drawChips(chips) {
    const told = JSON.stringify([chips, this.look.status, this.look.tags, this.look.archived]);
    if (told === this.told) return;
    this.told = told;
    const held = document.activeElement?.dataset?.chip;
    this.filters.replaceChildren(...chips.map((chip) => this.chip(chip)));
    if (held) [...this.filters.children].find((node) => node.dataset.chip === held)?.focus();
  }

  chip({ list, word, count }) {
    const isFlag = list === "archived";
    const pressed = isFlag ? this.look.archived : this.look[list].includes(word);
    const node = this.button("", () => {
      const others = isFlag ? null : this.look[list].filter((other) => other !== word);
      this.set(isFlag ? { archived: !pressed } : { [list]: pressed ? others : [...others, word] });
    });
    node.className = `fasa-filter fasa-filter-${list}`;
    node.dataset.chip = `${list} ${word}`;
    node.setAttribute("aria-pressed", pressed);
    const name = element("bdi", "", word);
    node.append(name, element("small", "", String(count)));
    node.title = { status: "runs in this state", tags: "runs with this tag", archived: "archived runs too" }[list];
    return node;
  }

  tellComparing() {
    const { select } = this.look;
    setHidden(this.comparing, !select.length);
    const enough = select.length >= FEWEST;
    setText(this.chosen, `${select.length} selected${enough ? "" : ", select another to compare"}`);
    this.compared.setAttribute("aria-disabled", !enough);
    if (enough) this.compared.href = `${this.base}/compare?${select.map((id) => `run=${id}`).join("&")}`;
    else this.compared.removeAttribute("href");
  }

  destroy() {
    clearTimeout(this.typing);
  }
}
