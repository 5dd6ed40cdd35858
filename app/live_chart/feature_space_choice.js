// What a person chose on the page Feature space, and the address that says so. Pure.

import { readKeys, writeKeys } from "./feature_space_points.js";

const DIGITS = 4; // of the view's numbers

export class Choice {
  // view: as app/feature_space_view.py reads it from the address.
  constructor(view) {
    this.step = view.step; // null: the newest, as it comes
    this.color = view.color;
    this.method = view.method;
    this.beside = view.beside; // id of the second run, or null
    this.hidden = [...view.hidden];
    this.dims = view.dims;
    this.prior = view.prior;
    this.find = view.find;
    this.at = view.at && { x: view.at[0], y: view.at[1], scale: view.at[2] };
    const second = view.lasso.startsWith("2");
    const keys = readKeys(view.lasso);
    this.lasso = keys.size ? { second, keys } : null; // of which pane
  }

  // The parts of the address; an empty list takes one out.
  address() {
    const usual = (value, first) => (value === first ? [] : [String(value)]);
    const { at, lasso } = this;
    const keys = lasso ? writeKeys(lasso.keys) : "";
    return {
      step: this.step === null ? [] : [String(this.step)],
      color: usual(this.color, "class"),
      method: usual(this.method, "umap"),
      beside: this.beside === null ? [] : [String(this.beside)],
      hide: this.hidden,
      rest: this.dims ? [] : ["shown"],
      prior: usual(this.prior, "pinned"),
      find: usual(this.find, ""),
      lasso: keys ? [(lasso.second ? "2" : "") + keys] : [],
      at: at ? [[at.x, at.y, at.scale].map((value) => Number(value.toPrecision(DIGITS))).join()] : [],
    };
  }

  // Chosen points that are too many for an address: a reload forgets them.
  isTooLong() {
    return this.lasso !== null && !writeKeys(this.lasso.keys);
  }
}
