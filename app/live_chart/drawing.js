// When a picture is drawn: only while it is near the view, one picture a frame, and never twice for
// several reasons of the same moment. What is far away is drawn when it is scrolled to.

const NEAR = "400px"; // above and below the view

const observers = new Map(); // scrolling element -> its observer
const drawings = new WeakMap(); // watched node -> its Drawing

function scroller(node) {
  for (let up = node.parentElement; up; up = up.parentElement) {
    if (/(auto|scroll)/.test(getComputedStyle(up).overflowY)) return up;
  }
  return null;
}

function observe(node) {
  const root = scroller(node);
  if (!observers.has(root)) {
    const told = (entries) => entries.forEach((entry) => drawings.get(entry.target)?.moved(entry));
    observers.set(root, new IntersectionObserver(told, { root, rootMargin: `${NEAR} 0px` }));
  }
  observers.get(root).observe(node);
  return observers.get(root);
}

const waiting = new Set();
let frame = null;

// One picture a frame, what the reader sees first: a page of twelve charts stays responsive, and
// the first one is on screen before the second is begun.
function next() {
  frame = null;
  const place = (drawing) => Math.abs(drawing.stage.getBoundingClientRect().top);
  for (const drawing of [...waiting].sort((a, b) => place(a) - place(b))) {
    waiting.delete(drawing);
    if (drawing.now()) break;
  }
  if (waiting.size) frame ??= requestAnimationFrame(next);
}

export class Drawing {
  // `render` draws into the stage and says whether there was anything to draw; `onNear` is called
  // once, when the stage first comes near the view.
  constructor(stage, render, onNear = () => {}) {
    this.stage = stage;
    this.render = render;
    this.onNear = onNear;
    this.near = false;
    this.dirty = false;
    this.size = new ResizeObserver(() => this.ask());
    this.size.observe(stage);
    drawings.set(stage, this);
    this.observer = observe(stage);
  }

  moved({ isIntersecting }) {
    this.near = isIntersecting;
    if (!isIntersecting) return;
    this.onNear();
    this.onNear = () => {};
    if (this.dirty) this.ask();
  }

  ask() {
    this.dirty = true;
    if (!this.near || this.stopped) return;
    waiting.add(this);
    frame ??= requestAnimationFrame(next);
  }

  now() {
    if (this.stopped || !this.near || this.stage.clientWidth === 0) return false;
    this.dirty = false;
    return this.render();
  }

  stop() {
    this.stopped = true;
    waiting.delete(this);
    this.size.disconnect();
    this.observer.unobserve(this.stage);
  }
}
