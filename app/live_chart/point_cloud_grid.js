// Which point is where: points sorted into the cells of a uniform grid, asked for the nearest one to
// a place and for those inside a polygon.

const PER_CELL = 2; // points, on average
const MOST_CELLS = 512; // a side

export class Grid {
  // `points`: Points; where they go counts, also while they glide there.
  constructor(points) {
    this.points = points;
    this.box = points.bounds();
    if (!this.box) return;
    const { left, right, bottom, top } = this.box;
    const side = Math.ceil(Math.sqrt(points.count / PER_CELL));
    this.side = Math.min(MOST_CELLS, Math.max(1, side));
    this.across = right > left ? this.side / (right - left) : 0; // cells per data unit
    this.upward = top > bottom ? this.side / (top - bottom) : 0;
    this.sort();
  }

  column(x) {
    return Math.min(this.side - 1, Math.max(0, Math.floor((x - this.box.left) * this.across)));
  }

  row(y) {
    return Math.min(this.side - 1, Math.max(0, Math.floor((y - this.box.bottom) * this.upward)));
  }

  // Counting sort: cell c holds members[starts[c]] up to members[starts[c + 1]].
  sort() {
    const { to } = this.points;
    const order = this.points.order(); // back to front, in each cell, too
    const starts = new Uint32Array(this.side * this.side + 1);
    const cells = new Uint32Array(order.length);
    for (let place = 0; place < order.length; place += 1) {
      const at = 2 * order[place];
      cells[place] = this.row(to[at + 1]) * this.side + this.column(to[at]);
      starts[cells[place] + 1] += 1;
    }
    for (let cell = 1; cell < starts.length; cell += 1) starts[cell] += starts[cell - 1];
    const next = starts.slice();
    this.members = new Uint32Array(order.length);
    for (let place = 0; place < order.length; place += 1) this.members[next[cells[place]]++] = order[place];
    this.starts = starts;
  }

  // Calls `visit(index)` for the points of all cells that a box touches.
  within({ left, right, bottom, top }, visit) {
    if (!this.box) return;
    for (let row = this.row(bottom); row <= this.row(top); row += 1) {
      const first = this.starts[row * this.side + this.column(left)];
      const past = this.starts[row * this.side + this.column(right) + 1];
      for (let place = first; place < past; place += 1) visit(this.members[place]);
    }
  }

  // The nearest point within `reach` data units, or null. A bright one is met before any dim one, and
  // of those at the same distance the one in front.
  nearest(x, y, reach) {
    const { to, style } = this.points;
    let [bright, dim] = [null, null];
    let [brightest, dimmest] = [reach * reach, reach * reach];
    this.within({ left: x - reach, right: x + reach, bottom: y - reach, top: y + reach }, (point) => {
      const distance = (to[2 * point] - x) ** 2 + (to[2 * point + 1] - y) ** 2;
      if (style.dim[point]) {
        if (distance <= dimmest) [dim, dimmest] = [point, distance];
      } else if (distance <= brightest) {
        [bright, brightest] = [point, distance];
      }
    });
    return bright ?? dim;
  }

  // Indices, rising, of the points inside a polygon [[x, y], ...]: the bright ones, or the dim ones
  // where there is no bright one.
  inside(polygon) {
    const { to, style } = this.points;
    const bright = [];
    const dim = [];
    const xs = polygon.map(([x]) => x);
    const ys = polygon.map(([, y]) => y);
    const box = { left: Math.min(...xs), right: Math.max(...xs), bottom: Math.min(...ys), top: Math.max(...ys) };
    this.within(box, (point) => {
      if (encloses(xs, ys, to[2 * point], to[2 * point + 1])) (style.dim[point] ? dim : bright).push(point);
    });
    return Uint32Array.from(bright.length ? bright : dim).sort();
  }
}

// Whether a ray to the right of (x, y) crosses the polygon's edges an odd number of times.
export function encloses(xs, ys, x, y) {
  let odd = false;
  for (let here = 0, last = xs.length - 1; here < xs.length; last = here, here += 1) {
    if (ys[here] > y === ys[last] > y) continue;
    const crossing = xs[here] + ((y - ys[here]) / (ys[last] - ys[here])) * (xs[last] - xs[here]);
    if (x < crossing) odd = !odd;
  }
  return odd;
}
