// The menu of one run in the list: what can be done with it, and the questions before.

import { Confirmation } from "./confirmation.js";
import { element, setHidden } from "./dom.js";

const RESUMABLE = ["stopped", "crashed", "failed", "interrupted"];

const ITEMS = [
  { kind: "open", label: "Open" },
  {
    kind: "stop", label: "Stop …", when: (run) => ["alive", "waiting"].includes(run.liveness),
    question: (run) => (run.liveness === "waiting"
      ? { question: `Take run ${run.id} out of the queue?`, yes: "Take it out", no: "Leave it" }
      : {
        question: `Stop run ${run.id} after this step? A checkpoint is kept, so it can be resumed.`,
        yes: "Stop the run", no: "Keep training",
      }),
  },
  { kind: "resume", label: "Resume", when: (run) => RESUMABLE.includes(run.status) && !run.copied },
  { kind: "restart", label: "Restart with changes …" },
  { kind: "fork", label: "Fork from a checkpoint …", when: (run) => run.liveness !== "waiting" },
  { kind: "edit", label: "Name, tags, note …" },
  { kind: "archive", label: "Archive", when: (run) => !run.archived },
  { kind: "bring_back", label: "Take out of the archive", when: (run) => run.archived },
  {
    kind: "delete", label: "Delete …",
    question: (run) => ({
      question: `Delete run ${run.id} with its curves and checkpoints? You have a minute to undo it.`,
      yes: "Delete", no: "Keep",
    }),
  },
];

function isAtWork(run) {
  return run.liveness !== "over" && run.liveness !== "waiting";
}

export class RunMenu {
  constructor(choose) {
    this.choose = choose;
    this.node = element("div", "fasa-menu");
    this.node.popover = "auto"; // in the top layer: no table clips it, Escape and a click beside it close it
    this.list = element("div");
    this.list.setAttribute("role", "menu");
    this.items = ITEMS.map((item) => this.item(item));
    this.list.append(...this.items.map(({ node }) => node));
    this.confirmation = new Confirmation();
    this.node.append(this.list, this.confirmation.node);
    this.node.addEventListener("keydown", (event) => this.move(event));
    this.node.addEventListener("toggle", (event) => {
      if (event.newState === "closed") this.reset();
    });
  }

  item(about) {
    const node = element("button", "", about.label);
    node.type = "button";
    node.setAttribute("role", "menuitem");
    node.dataset.action = about.kind;
    node.addEventListener("click", () => this.press(about, node));
    return { ...about, node };
  }

  open(run, button) {
    this.run = run;
    this.offer();
    this.node.showPopover({ source: button });
    const place = button.getBoundingClientRect();
    const height = this.node.offsetHeight;
    const below = place.bottom + height < window.innerHeight;
    this.node.style.right = `${Math.max(6, document.documentElement.clientWidth - place.right)}px`;
    this.node.style.top = `${below ? place.bottom + 2 : Math.max(6, place.top - height - 2)}px`;
    this.visible()[0]?.focus();
  }

  offer() {
    for (const { node, when } of this.items) setHidden(node, Boolean(when) && !when(this.run));
    const remove = this.items.at(-1).node;
    remove.disabled = isAtWork(this.run);
    remove.title = remove.disabled ? "stop it first" : "";
    this.node.setAttribute("aria-label", `Actions on run ${this.run.id}`);
  }

  // The run may have changed while its menu is open.
  follow(runs) {
    if (!this.run) return;
    this.run = runs.find(({ id }) => id === this.run.id) ?? null;
    if (this.run) this.offer();
    else this.close();
  }

  press({ kind, question }, node) {
    const { run } = this;
    if (!question) {
      this.close();
      this.choose(kind, run);
      return;
    }
    setHidden(this.list, true);
    this.confirmation.ask({
      ...question(run),
      from: node,
      then: () => {
        this.close();
        this.choose(kind, run);
      },
      otherwise: () => this.close(),
    });
  }

  visible() {
    return this.items.map(({ node }) => node).filter((node) => !node.hidden && !node.disabled);
  }

  move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const nodes = this.visible();
    const at = nodes.indexOf(document.activeElement);
    nodes[(at + step + nodes.length) % nodes.length]?.focus();
  }

  close() {
    if (this.node.matches(":popover-open")) this.node.hidePopover();
    this.reset();
  }

  reset() {
    this.run = null;
    this.confirmation.close();
    setHidden(this.list, false);
  }
}
