// What of the gallery a person wants to see, and the address that says so.

export const SHOWS = { all: "all", misses: "misses", confusions: "confusions", alarms: "false alarms" };
export const PARTS = { truth: "truth", masks: "masks", boxes: "boxes", labels: "labels" };
const WORDS = { misses: "missed", confusions: "confused", alarms: "false alarm" };

export class Filter {
  // view: as app/detection_view.py reads it from the address.
  constructor(view) {
    this.columns = view.columns.map(({ run, step }) => ({ run, step }));
    this.name = view.class;
    this.show = view.show;
    this.pair = view.pair; // [true, detected] names, or null
    this.score = view.score;
    this.hidden = new Set(view.hidden);
    this.image = view.image; // id of the enlarged image, or null
  }

  // The parts of the address; an empty list takes one out.
  address() {
    const [first, ...others] = this.columns;
    return {
      step: first.step === "newest" ? [] : [first.step],
      beside: others.map(({ run, step }) => `${run}:${step}`),
      class: this.name ? [this.name] : [],
      show: this.show === "all" ? [] : [this.show],
      true: this.pair ? [this.pair[0]] : [],
      detected: this.pair ? [this.pair[1]] : [],
      score: this.score === 0.3 ? [] : [String(this.score)],
      hide: [...this.hidden],
      image: this.image === null ? [] : [String(this.image)],
    };
  }

  // A text that differs whenever pictures have to be drawn anew.
  key() {
    return JSON.stringify([this.name, this.show, this.pair, this.score, [...this.hidden]]);
  }

  isOpen() {
    return !this.name && this.show === "all";
  }

  // Does it want this object? `name` is its class, `other` that of its partner.
  wants(name, other, word, isTrue) {
    const confused = word === "confused";
    if (this.name && name !== this.name && !(confused && other === this.name)) return false;
    if (this.show === "all") return true;
    if (word !== WORDS[this.show]) return false;
    if (!confused || !this.pair) return true;
    const [was, taken] = isTrue ? [name, other] : [other, name];
    return was === this.pair[0] && taken === this.pair[1];
  }

  // Does an image, as the verdicts have it, hold anything that is wanted?
  wantsImage(moment, image) {
    if (this.isOpen()) return true;
    const name = (index) => moment.name(index);
    return (
      image.objects.some(([index, word, other]) => this.wants(name(index), name(other), word, true)) ||
      // A confusion is told by its true object; here it would lack the partner.
      image.detections.some(([index, word]) => word !== "confused" && this.wants(name(index), "", word, false))
    );
  }

  concerns(moment, object, isTrue, objects) {
    if (this.isOpen()) return true;
    const partners = isTrue ? objects.detections : objects.true;
    const other = moment.name(partners[object.partner]?.class ?? -1);
    return this.wants(moment.name(object.class), other, object.word, isTrue);
  }
}
