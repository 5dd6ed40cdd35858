// What is downloaded of the page Feature space: the picture with title and legend, the points as rows.

import { element, readTheme } from "./dom.js";
import { csv } from "./downloads.js";
import { classOf, isVirtual, virtualPlace } from "./feature_space_points.js";

const SHARPNESS = 2; // pixels of the PNG for one on screen
const LINE = 20;
const EDGE = 14;

// The panes side by side under the title, over the legend: a PNG.
export async function pictureFile(panes, { title, legend, caption }) {
  const drawn = await Promise.all(panes.map(async ({ cloud, head, stage, across, upward }) => ({
    image: await createImageBitmap(await cloud.picture()),
    lines: [head.textContent, `across: ${across.textContent}  up: ${upward.textContent}`],
    width: stage.clientWidth,
    height: stage.clientHeight,
  })));
  const theme = readTheme(panes[0].stage);
  const width = drawn.reduce((sum, one) => sum + one.width + EDGE, EDGE);
  const top = 2 * EDGE + 3 * LINE;
  const height = top + Math.max(...drawn.map((one) => one.height));
  const sheet = element("canvas");
  const words = [...legend.entries.map(({ color, text }) => ({ color, text })), ...(legend.note ? [{ text: legend.note }] : [])];
  if (legend.bar) words.unshift({ text: `${legend.bar.title}: ${legend.bar.ticks.map(([, text]) => text).join(" … ")}`, bar: legend.bar });
  const rows = Math.ceil(words.length / 2) + 2;
  Object.assign(sheet, { width: width * SHARPNESS, height: (height + rows * LINE + EDGE) * SHARPNESS });
  const context = sheet.getContext("2d");
  context.scale(SHARPNESS, SHARPNESS);
  context.fillStyle = theme.background;
  context.fillRect(0, 0, width, height + rows * LINE + EDGE);
  const write = (text, left, down, { weight = 400, color = theme.text, room = width } = {}) => {
    context.font = `${weight} 13px ${theme.font}`;
    context.fillStyle = color;
    context.fillText(text, left, down, room);
  };
  write(title, EDGE, EDGE + 12, { weight: 600 });
  let left = EDGE;
  for (const { image, lines, width: wide, height: high } of drawn) {
    lines.forEach((line, at) => write(line, left, EDGE + 12 + (at + 1) * LINE, { room: wide }));
    context.drawImage(image, left, top - EDGE, wide, high);
    left += wide + EDGE;
  }
  words.forEach((word, at) => {
    const [x, y] = [EDGE + (at % 2) * (width / 2), height + (Math.floor(at / 2) + 1) * LINE];
    if (word.color) write("●", x, y, { color: `rgb(${word.color.join()})` });
    if (word.bar) word.bar.colors.forEach((color, place) => write("■", x + 12 * place, y, { color: `rgb(${color.join()})` }));
    write(word.text, x + (word.bar ? 70 : 16), y, { room: width / 2 - 30 });
  });
  write(`● real   ○ virtual   ${caption}`, EDGE, height + rows * LINE, { room: width - 2 * EDGE });
  return new Promise((done) => sheet.toBlob(done, "image/png"));
}

const COLUMNS = ["run", "epoch", "step", "method", "kind", "class", "frequency", "split", "object", "k", "image", "predicted", "loss", "x", "y", "chosen"];

// The shown points of each pane; `hidden` kinds are left out. chosen: keys a pane, or null.
export function pointsFile(panes, { hidden, chosen }) {
  const rows = panes.flatMap(({ run }, place) => {
    const { overview, shown: { snapshot, method, points } } = run;
    const here = [run.run, snapshot.epoch + 1, snapshot.step, method];
    return Array.from({ length: points.count }, (_, point) => {
      const key = points.keys[point];
      const virtual = isVirtual(key);
      const kind = virtual ? "virtual" : "real";
      if (hidden.includes(kind)) return null;
      const index = classOf(points, overview.objects.class, point);
      const split = overview.objects.holdout[key] ? "holdout" : "train";
      const what = virtual ? ["", "", virtualPlace(key)[1], ""] : [split, key, "", overview.objects.image[key]];
      const said = points.predicted[point] === overview.classes.length ? "background" : run.className(points.predicted[point]);
      const is = chosen[place] === null ? "" : Number(chosen[place].has(key));
      return [...here, kind, run.className(index), overview.classes[index]?.frequency, ...what, said, points.loss[point],
              points.x[point], points.y[point], is];
    }).filter(Boolean);
  });
  return csv([COLUMNS, ...rows]);
}
