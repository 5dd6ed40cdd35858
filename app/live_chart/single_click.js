// Lets one click at a time through to a button of the page. A person who clicks again while the
// server is busy means the same, but each click would reach it, some after the page was left.

const UNANSWERED = 15000; // milliseconds until a click is let through again all the same

export class SingleClickView {
  constructor() {
    this.guard = (event) => this.hear(event);
    document.addEventListener("click", this.guard, true); // before the button itself hears it
  }

  // `answered` counts the clicks that the page has dealt with.
  update({ data }) {
    this.button = data.spec.button;
    if (data.view.answered !== this.answered) this.since = null;
    this.answered = data.view.answered;
  }

  hear(event) {
    if (!event.target.closest?.(this.button)) return;
    if (this.since && Date.now() - this.since < UNANSWERED) {
      event.stopPropagation();
      event.preventDefault();
      return;
    }
    this.since = Date.now();
  }

  destroy() {
    document.removeEventListener("click", this.guard, true);
  }
}
