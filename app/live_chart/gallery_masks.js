// Masks and boxes over a picture: COCO's compressed run lengths decoded and painted on a canvas.

// Lengths of the runs of 0, 1, 0, ... down the columns. Each number is written five bits a
// character, lowest first, with a sixth bit on all but its last character, the sign in the fifth bit
// of the last, and 48 added to get letters. From the fourth on it is the difference to the length
// two before.
export function runLengths(counts) {
  const lengths = [];
  let at = 0;
  while (at < counts.length) {
    let value = 0;
    let shift = 0;
    let letter;
    do {
      letter = counts.charCodeAt(at) - 48;
      at += 1;
      if (!(letter >= 0 && letter < 64) || shift > 25) throw new Error("no run lengths");
      value += (letter & 31) * 2 ** shift;
      shift += 5;
    } while (letter & 32);
    if (letter & 16) value -= 2 ** shift;
    if (lengths.length > 2) value += lengths[lengths.length - 2];
    if (value < 0) throw new Error("no run lengths");
    lengths.push(value);
  }
  return lengths;
}

// The mask brought to a size in pixels: {bits, left, right, top, bottom}, bits being 0 or 1 row by
// row and the edges those of the box around the ones (right and bottom past them). Throws when it is
// no mask.
export function bitmap({ size: [rows, columns], counts }, width, height) {
  const lengths = runLengths(counts);
  const ends = new Float64Array(lengths.length);
  let total = 0;
  for (let run = 0; run < lengths.length; run += 1) ends[run] = total += lengths[run];
  if (total !== rows * columns) throw new Error("no mask of its size");
  const mask = { bits: new Uint8Array(width * height), left: width, right: 0, top: height, bottom: 0 };
  let first = 0; // run that reaches into the column
  for (let x = 0; x < width; x += 1) {
    const start = Math.floor(((x + 0.5) * columns) / width) * rows;
    while (ends[first] <= start) first += 1;
    for (let run = first; run < ends.length && (run === 0 || ends[run - 1] < start + rows); run += 1) {
      if (run % 2 === 0 || ends[run] === ends[run - 1]) continue;
      const top = place(Math.max(ends[run - 1], start) - start, rows, height);
      const bottom = place(Math.min(ends[run], start + rows) - start, rows, height);
      for (let y = top; y < bottom; y += 1) mask.bits[y * width + x] = 1;
      if (top >= bottom) continue;
      mask.left = Math.min(mask.left, x);
      mask.right = x + 1;
      mask.top = Math.min(mask.top, top);
      mask.bottom = Math.max(mask.bottom, bottom);
    }
  }
  return mask;
}

// The first pixel of `height` whose middle lies at or past row `row` of `rows`.
function place(row, rows, height) {
  return Math.ceil((row * height) / rows - 0.5);
}

function isEdge(bits, x, y, width, height) {
  const at = y * width + x;
  return (
    x === 0 || y === 0 || x === width - 1 || y === height - 1 ||
    !bits[at - 1] || !bits[at + 1] || !bits[at - width] || !bits[at + width]
  );
}

function channels(color) {
  return [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16));
}

const ANTS = ["#ffffff", "#10141a"].map(channels);

// Lay masks over each other: [{mask, color "#rrggbb", fill 0..1, edge 0..1}] -> an image. Without a
// colour the edge is black and white by turns, which shows on any picture.
export function layers(listed, width, height) {
  const image = new ImageData(width, height);
  for (const layer of listed) lay(image, layer);
  return image;
}

function lay({ data, width, height }, { mask, color, fill, edge }) {
  const own = color ? channels(color) : null;
  for (let y = mask.top; y < mask.bottom; y += 1) {
    for (let x = mask.left; x < mask.right; x += 1) {
      const at = y * width + x;
      if (!mask.bits[at]) continue;
      const share = isEdge(mask.bits, x, y, width, height) ? edge : fill;
      if (!share) continue;
      const rgb = own ?? ANTS[(x + y) % 6 < 3 ? 0 : 1];
      const below = (data[4 * at + 3] / 255) * (1 - share);
      const alpha = share + below;
      for (let channel = 0; channel < 3; channel += 1) {
        const spot = 4 * at + channel;
        data[spot] = (rgb[channel] * share + data[spot] * below) / alpha;
      }
      data[4 * at + 3] = 255 * alpha;
    }
  }
}

const PLATE = "rgba(16, 20, 26, 0.82)";
const LINE = 15; // pixels, height of a label

// Write labels on dark plates, each with its group's badge; one that would lie on another moves
// down. [{x, y, letter, color, text}] in pixels of the canvas.
export function labels(context, listed, width, height) {
  const taken = [];
  context.font = "600 11px system-ui, sans-serif";
  context.textBaseline = "middle";
  for (const { x, y, letter, color, text } of listed) {
    const long = context.measureText(text).width + LINE + 7;
    const left = Math.max(0, Math.min(x, width - long));
    const free = (top) => !taken.some((t) => top < t.top + LINE && t.top < top + LINE && left < t.left + t.long && t.left < left + long);
    let top = Math.max(0, Math.min(y - LINE, height - LINE));
    while (!free(top) && top + 2 * LINE <= height) top += LINE;
    taken.push({ left, top, long });
    context.fillStyle = PLATE;
    context.fillRect(left, top, long, LINE);
    context.fillStyle = color;
    context.fillRect(left, top, LINE - 1, LINE);
    context.fillStyle = "#10141a";
    context.textAlign = "center";
    context.fillText(letter, left + (LINE - 1) / 2, top + LINE / 2 + 0.5);
    context.fillStyle = "#ffffff";
    context.textAlign = "left";
    context.fillText(text, left + LINE + 3, top + LINE / 2 + 0.5);
  }
}
