// The slider of epochs: one place a snapshot, with play. Left alone it follows the newest.

import { epochText } from "./feature_space_moment.js";
import { element, setHidden, setText } from "./dom.js";

const BEAT = 900; // milliseconds between two snapshots of a play

export class Epochs {
  // change(step): null for the newest. isHere(): whether what is asked for is shown. stopped(): a
  // play came to its end.
  constructor({ change, isHere, stopped }) {
    Object.assign(this, { change, isHere, stopped });
    this.node = element("div", "fasa-space-epochs");
    this.button = element("button", "fasa-button", "▶ play");
    this.button.type = "button";
    this.button.addEventListener("click", () => (this.timer ? this.stop() : this.play()));
    this.slider = element("input");
    Object.assign(this.slider, { type: "range", min: "0", step: "1" });
    this.slider.setAttribute("aria-label", "Epoch");
    this.slider.addEventListener("input", () => {
      this.stop();
      this.go(Number(this.slider.value));
    });
    this.text = element("output", "fasa-epoch");
    this.newest = element("button", "fasa-choice", "follow newest");
    this.newest.type = "button";
    this.newest.addEventListener("click", () => {
      this.stop();
      this.change(this.newest.getAttribute("aria-pressed") === "true" ? this.snapshots.at(-1).step : null);
    });
    this.node.append(this.button, this.slider, this.text, this.newest);
    this.snapshots = [];
  }

  // place: of the snapshot that is asked for; step null while the newest is followed.
  show(snapshots, place, step) {
    this.snapshots = snapshots;
    this.place = place;
    setHidden(this.node, snapshots.length === 0);
    if (!snapshots.length) return this.stop();
    const most = String(snapshots.length - 1);
    if (this.slider.max !== most) this.slider.max = most;
    if (Number(this.slider.value) !== place) this.slider.value = String(place);
    const twice = snapshots.some((other, at) => at !== place && other.epoch === snapshots[place].epoch);
    const words = `${epochText(snapshots[place])}${twice ? `, step ${snapshots[place].step.toLocaleString("en")}` : ""}`;
    setText(this.text, `${words} of ${snapshots.at(-1).epoch + 1}`);
    this.slider.setAttribute("aria-valuetext", words);
    this.newest.setAttribute("aria-pressed", String(step === null));
    this.button.disabled = snapshots.length < 2;
    return undefined;
  }

  // A person at the newest who moves the slider there again does not mean to follow.
  go(place) {
    this.change(this.snapshots[place].step);
  }

  play() {
    if (this.snapshots.length < 2) return;
    setText(this.button, "❚❚ pause");
    this.go(this.place === this.snapshots.length - 1 ? 0 : this.place);
    this.timer = setInterval(() => this.beat(), BEAT);
  }

  // Waits for points that are on their way instead of running ahead of them.
  beat() {
    if (!this.isHere()) return;
    if (this.place >= this.snapshots.length - 1) return this.stop();
    this.go(this.place + 1);
  }

  stop() {
    if (!this.timer) return;
    clearInterval(this.timer);
    this.timer = null;
    setText(this.button, "▶ play");
    this.stopped();
  }
}
