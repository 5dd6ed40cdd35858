// A question in the page before something is done that a person may regret.

import { element, setHidden, setText } from "./dom.js";

export class Confirmation {
  constructor() {
    this.node = element("div", "fasa-confirmation");
    this.node.setAttribute("role", "alertdialog");
    this.question = element("span");
    this.yes = element("button", "fasa-button fasa-danger");
    this.no = element("button", "fasa-button");
    this.yes.type = this.no.type = "button";
    this.node.append(this.question, this.yes, this.no);
    this.yes.addEventListener("click", () => {
      const { then } = this;
      this.close();
      then();
    });
    const decline = () => {
      const { otherwise } = this;
      this.close();
      otherwise?.();
    };
    this.no.addEventListener("click", decline);
    this.node.addEventListener("keydown", (event) => {
      if (event.key === "Escape") decline();
    });
    setHidden(this.node, true);
  }

  // `from` is where the focus goes back to; `then` is called on yes, `otherwise` on no.
  ask({ question, yes, no, from, then, otherwise }) {
    setText(this.question, question);
    this.node.setAttribute("aria-label", question);
    setText(this.yes, yes);
    setText(this.no, no);
    this.from = from;
    this.then = then;
    this.otherwise = otherwise;
    setHidden(this.node, false);
    this.no.focus();
  }

  close() {
    if (this.node.hidden) return;
    const inside = this.node.contains(document.activeElement);
    setHidden(this.node, true);
    if (inside) this.from?.focus();
  }
}
