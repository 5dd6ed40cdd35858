// What one column of the gallery shows: a run at one of its evaluations. Fetches verdicts when the
// run's predictions changed, and boxes and masks of the images that came into view.

import { classesOf } from "./classes.js";
import { follow, get } from "./poll.js";

const AT_ONCE = 32; // images of one request
const PAUSE = 150; // milliseconds the slider has to rest until verdicts are asked for
const UNKNOWN = { letter: "?", color: "#b8bec6" };

export class Moment {
  // looks: frequency letter -> colour; onChange is called whenever there is more to show.
  constructor({ base, run, step, looks, onChange }) {
    Object.assign(this, { base, run, step, looks, onChange });
    this.answer = null; // verdicts, see app/detection_routes.py
    this.classes = null;
    this.sentence = "";
    this.objects = new Map(); // image index -> its objects at `score`
    this.asked = new Set();
    this.score = 0;
    this.following = follow(base, run, { onState: () => this.onState() });
  }

  // `score` of the slider: a new one asks for new verdicts and keeps the old ones until they come.
  at(step, score) {
    const slides = this.wanted && score !== this.score;
    this.step = step;
    this.score = score;
    clearTimeout(this.pause);
    if (slides) this.pause = setTimeout(() => this.onState(), PAUSE);
    else this.onState();
  }

  address(part, query) {
    return `${this.base}/live/runs/${this.run}/${part}?${new URLSearchParams({ score: this.score, ...query })}`;
  }

  pictureAddress(index) {
    return `${this.base}/live/runs/${this.run}/pictures/${encodeURIComponent(this.answer.uid)}/${index}`;
  }

  onState() {
    const { state, connection } = this.following?.poller ?? {};
    if (!state) {
      if (connection?.sentence) this.say(connection.sentence);
      return;
    }
    if (!this.classes) this.fetchNames();
    const wanted = `${this.step} ${this.score} ${state.rewinds} ${state.versions.prediction} ${state.status}`;
    if (wanted === this.wanted) return;
    this.wanted = wanted;
    this.ask(wanted);
  }

  async fetchNames() {
    try {
      const classes = await classesOf({ base: this.base, run: this.run }, this.following);
      if (!classes || this.classes) return;
      this.classes = classes;
      this.onChange();
    } catch {
      // The poller says that the connection is lost; its next answer asks again.
    }
  }

  async ask(wanted) {
    try {
      const answer = await (await get(this.address("detections", { step: this.step }))).json();
      if (this.gone || wanted !== this.wanted) return;
      const same = this.answer?.step === answer.step && this.shownScore === this.score;
      this.answer = answer;
      this.images = new Map(answer.images.map((image) => [image.key, image]));
      this.shownScore = this.score;
      this.asked.clear();
      if (!same) this.stale = true; // what was drawn stays until the new objects are here
      this.say(answer.sentence);
    } catch (error) {
      if (wanted !== this.wanted) return;
      this.wanted = null; // the next answer of the poll tries again
      this.say(error.sentence ?? "The detections could not be fetched; trying again.");
    }
  }

  say(sentence) {
    this.sentence = sentence;
    this.onChange();
  }

  // Boxes and masks of an image; asked for when they are not here yet.
  objectsOf(index) {
    if (!this.asked.has(index) && this.answer?.step != null) {
      this.asked.add(index);
      this.needed = [...(this.needed ?? []), index];
      if (this.needed.length === 1) queueMicrotask(() => this.fetchObjects());
    }
    return this.objects.get(index);
  }

  async fetchObjects() {
    const { step } = this.answer;
    const { wanted } = this;
    const indices = this.needed;
    this.needed = [];
    for (let start = 0; start < indices.length; start += AT_ONCE) {
      const part = indices.slice(start, start + AT_ONCE);
      try {
        const query = { step, images: part.join(",") };
        const found = await (await get(this.address("detections/objects", query))).json();
        if (this.gone || wanted !== this.wanted) return;
        if (this.stale) this.objects.clear();
        this.stale = false;
        for (const index of part) this.objects.set(index, { ...found[index], step });
        this.onChange();
      } catch (error) {
        for (const index of part) this.asked.delete(index);
        if (error.sentence) this.say(error.sentence);
        return;
      }
    }
  }

  name(index) {
    return this.classes?.names[index] ?? `class ${index}`;
  }

  look(index) {
    const letter = this.classes?.frequency[index];
    return letter in this.looks ? { letter, color: this.looks[letter] } : UNKNOWN;
  }

  // The image of a key, which runs on the same data share.
  imageOf(key) {
    return this.images?.get(key);
  }

  destroy() {
    this.gone = true;
    clearTimeout(this.pause);
    this.following.stop();
  }
}
