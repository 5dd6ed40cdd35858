// A change over time, from 0 to 1: slow at both ends. It begins with the first picture drawn of it,
// so the work of getting there takes nothing off it.

export class Glide {
  constructor(milliseconds = 0) {
    this.milliseconds = milliseconds;
    this.start = null;
    this.share = milliseconds > 0 ? 0 : 1;
  }

  // True while it goes on.
  step(now) {
    if (this.share === 1) return false;
    this.start ??= now;
    this.share = Math.min(1, Math.max(0, (now - this.start) / this.milliseconds));
    return this.share < 1;
  }

  get eased() {
    return this.share * this.share * (3 - 2 * this.share);
  }
}

export function blend(from, to, share) {
  return from + (to - from) * share;
}

// People who asked their system for less motion get jumps.
export function wantsMotion() {
  return !window.matchMedia("(prefers-reduced-motion: reduce)").matches;
}
