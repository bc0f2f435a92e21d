// Where a word looked, over the picture of its caption.

import { by } from "./dom.js";

/** Points to a cell of the grid, each way. */
const FINE = 8;
/** How far a cell's weight reaches, in cells. */
const REACH = 0.5;
/** From not looked at to looked at: red, green, blue, opacity. */
const RAMP = [
  [8, 10, 20, 0.82],
  [16, 14, 34, 0.66],
  [110, 34, 40, 0.42],
  [240, 104, 30, 0.36],
  [255, 190, 50, 0.42],
];

const canvas = by("heat");
const fine = document.createElement("canvas");

/** Shows the weights of a square grid, row by row, over a copy of the picture, or else over the live one; returns the canvas. */
export function show(weights, still) {
  const grid = Math.round(Math.sqrt(weights.length));
  canvas.width = still?.width ?? 560;
  canvas.height = still?.height ?? 420;
  canvas.classList.toggle("still", still !== null);
  const context = canvas.getContext("2d");
  if (still !== null) context.drawImage(still, 0, 0);
  paint(weights, grid);
  context.imageSmoothingQuality = "high";
  // The outermost points stand half a point inside: stretched over the whole picture, as the encoder sees it.
  context.drawImage(fine, 0, 0, canvas.width, canvas.height);
  canvas.hidden = false;
  return canvas;
}

/** Shows the live picture again. */
export function hide() {
  canvas.hidden = true;
}

function paint(weights, grid) {
  const side = grid * FINE;
  const smooth = interpolate(weights, grid, side);
  // Where a word looked everywhere alike, no place is made to stand out.
  const full = Math.max(...smooth, (3 * weights.reduce((sum, weight) => sum + weight, 0)) / weights.length);
  fine.width = side;
  fine.height = side;
  const context = fine.getContext("2d");
  const image = context.createImageData(side, side);
  smooth.forEach((weight, point) => image.data.set(colour(weight / full), 4 * point));
  context.putImageData(image, 0, 0);
}

/** A weighted mean of the cells around each of side x side points, by a Gaussian of their distance. */
function interpolate(weights, grid, side) {
  const near = Array.from({ length: side }, (_, point) => {
    const at = (point + 0.5) / FINE - 0.5;
    const row = Array.from({ length: grid }, (_, cell) => Math.exp(-((at - cell) ** 2) / (2 * REACH ** 2)));
    const sum = row.reduce((a, b) => a + b);
    return row.map((value) => value / sum);
  });
  const smooth = [];
  for (let y = 0; y < side; y += 1) {
    const column = Array.from({ length: grid }, (_, x) =>
      near[y].reduce((sum, part, row) => sum + part * weights[row * grid + x], 0));
    for (let x = 0; x < side; x += 1) smooth.push(near[x].reduce((sum, part, place) => sum + part * column[place], 0));
  }
  return smooth;
}

function colour(share) {
  const place = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1);
  const [from, to] = [RAMP[Math.floor(place)], RAMP[Math.ceil(place)]];
  const between = from.map((value, part) => value + (to[part] - value) * (place % 1));
  return [...between.slice(0, 3), 255 * between[3]];
}
