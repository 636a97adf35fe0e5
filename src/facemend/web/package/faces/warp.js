// Affine matrices [a, b, c, d, e, f]: (x, y) -> (a x + b y + c, d x + e y + f), and one warp that does not alias.
import { cut, image, round, toFloat } from "../imaging/image.js";
import { cubic, lanczos } from "../imaging/kernels.js";
import { shrink } from "../imaging/resize.js";
import { room, sharp as sharpRow } from "../imaging/simd.js";

const MARGIN = 6; // pixels that the widest kernel reaches beyond what it samples
const STEPS = 32; // places between two pixels that the sharper kernels know
const FINE = 1024; // units of a pixel that coordinates are counted in

export function invert([a, b, c, d, e, f]) {
  const det = a * e - b * d;
  return [e / det, -b / det, (b * f - c * e) / det, -d / det, a / det, (c * d - a * f) / det];
}

/** `inner` first, `outer` second. */
export function compose([a, b, c, d, e, f], [g, h, i, j, k, l]) {
  return [a * g + b * j, a * h + b * k, a * i + b * l + c, d * g + e * j, d * h + e * k, d * i + e * l + f];
}

export const apply = ([a, b, c, d, e, f], [x, y]) => [a * x + b * y + c, d * x + e * y + f];

/** How many new pixels one old pixel covers along a side. */
export const scaleOf = ([a, b, , d, e]) => Math.sqrt(Math.abs(a * e - b * d));

/** Of a resize, pixel centres at whole numbers on both sides. */
export const resizeMatrix = (x, y) => [x, 0, (x - 1) / 2, 0, y, (y - 1) / 2];

export const shiftMatrix = (x, y) => [1, 0, x, 0, 1, y];

/** The outer corners of a picture; the centre of its first pixel is (0, 0). */
export const corners = (width, height) =>
  [[0, 0], [width, 0], [width, height], [0, height]].map(([x, y]) => [x - 0.5, y - 0.5]);

/** Least and largest x and y of points. */
export function bounds(points) {
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  return { low: [Math.min(...xs), Math.min(...ys)], high: [Math.max(...xs), Math.max(...ys)] };
}

/** The part of the source that the warp reads, reflections included. */
function region(matrix, width, height, picture) {
  const back = invert(matrix);
  const margin = MARGIN * Math.max(1, 1 / scaleOf(matrix));
  const { low, high } = bounds(corners(width, height).map((corner) => apply(back, corner)));
  return [picture.width, picture.height].map((limit, k) => {
    const [from, to] = [low[k] - margin, high[k] + margin];
    const overhang = Math.max(-from, to - limit + 1, 0);
    const first = Math.min(limit - 1, Math.max(0, Math.floor(from - overhang)));
    return [first, Math.min(limit, Math.max(first + 1, Math.ceil(to + overhang) + 1))];
  });
}

/**
 * A picture of bytes or floats warped to floats. `border`: "reflect", "replicate" or "zero"; `where`: a plane of the new size,
 * at whose zeros nothing is needed (of the sharper kernels).
 */
export function warp(picture, matrix, width, height, { border = "reflect", kind = "cubic", where = null } = {}) {
  const [[x1, x2], [y1, y2]] = region(matrix, width, height, picture);
  let part = x2 - x1 === picture.width && y2 - y1 === picture.height ? picture : cut(picture, x1, y1, x2, y2);
  let moved = compose(matrix, shiftMatrix(x1, y1));
  const scale = scaleOf(matrix);
  if (scale < 1) {
    const w = Math.max(1, round(part.width * scale));
    const h = Math.max(1, round(part.height * scale));
    moved = compose(moved, invert(resizeMatrix(w / part.width, h / part.height)));
    part = shrink(part, w, h);
  }
  const edge = BORDERS[Math.min(part.width, part.height) === 1 && border === "reflect" ? "replicate" : border];
  if (kind === "linear") return linear(toFloat(part), invert(moved), width, height, edge);
  return sharp(toFloat(part), invert(moved), width, height, edge, kind, where);
}

// The place inside that a place outside shows; -1: nothing.
const BORDERS = {
  reflect: (place, length) => {
    const period = 2 * (length - 1);
    const within = ((place % period) + period) % period;
    return within < length ? within : period - within;
  },
  replicate: (place, length) => Math.min(length - 1, Math.max(0, place)),
  zero: (place, length) => (place < 0 || place >= length ? -1 : place),
};

function linear(source, back, width, height, border) {
  const { channels, data } = source;
  const result = image(width, height, channels);
  const [a, b, c, d, e, f] = back;
  for (let y = 0, to = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, to += channels) {
      const u = a * x + b * y + c;
      const v = d * x + e * y + f;
      const left = Math.floor(u);
      const top = Math.floor(v);
      const shareX = u - left;
      const shareY = v - top;
      for (let k = 0; k < 4; k += 1) {
        const column = border(left + (k & 1), source.width);
        const row = border(top + (k >> 1), source.height);
        if (column < 0 || row < 0) continue;
        const weight = (k & 1 ? shareX : 1 - shareX) * (k >> 1 ? shareY : 1 - shareY);
        const from = (row * source.width + column) * channels;
        for (let i = 0; i < channels; i += 1) result.data[to + i] += weight * data[from + i];
      }
    }
  }
  return result;
}

const TABLES = { cubic: tableOf(4, cubic), lanczos: tableOf(8, lanczos) };

function tableOf(count, kernel) {
  return { count, weights: Float32Array.from(Array.from({ length: STEPS }, (_, k) => kernel(k / STEPS)).flat()) };
}

/** The sharper kernels, at 32 places between two pixels; of RGB. */
function sharp(source, [a, b, c, d, e, f], width, height, border, kind, where) {
  const { count, weights } = TABLES[kind];
  const result = image(width, height, 3);
  const { places, floats, wholes } = room(source.data.length, weights.length, width, width, width, 3 * width);
  const [pixels, kernels, acrossX, acrossY, needed, row] = places;
  floats[0].set(source.data);
  floats[1].set(weights);
  for (const [k, step] of [[2, a], [3, d]]) for (let x = 0; x < width; x += 1) wholes[k][x] = round(step * x * FINE);
  const spare = [source.width, source.height].map((length) => Math.max(0, length - count + 1));
  const half = FINE / STEPS / 2;
  for (let y = 0; y < height; y += 1) {
    const start = [b * y + c, e * y + f].map((place) => round(place * FINE) + half);
    const wanted = where?.data.subarray(y * width, (y + 1) * width);
    if (wanted) floats[4].set(wanted);
    floats[5].fill(0);
    const beyond = sharpRow(
      ...[row, pixels, 12 * source.width, kernels, count, acrossX, acrossY, ...start, ...spare, wanted ? needed : 0, width],
    );
    if (beyond) sharpEdge(floats[5], source, kind, wholes[2], wholes[3], start, spare, wanted, border);
    result.data.set(floats[5], 3 * y * width);
  }
  return result;
}

/** What a row of that lacks: its pixels whose sums reach over the source's edge. */
function sharpEdge(row, source, kind, acrossX, acrossY, [startX, startY], [roomX, roomY], wanted, border) {
  const { count, weights } = TABLES[kind];
  const reach = count / 2 - 1;
  const [columns, rows] = [new Int32Array(count), new Int32Array(count)];
  for (let x = 0; x < acrossX.length; x += 1) {
    const u = (startX + acrossX[x]) >> 5;
    const v = (startY + acrossY[x]) >> 5;
    const [left, top] = [(u >> 5) - reach, (v >> 5) - reach];
    const isInside = left >= 0 && left < roomX && top >= 0 && top < roomY;
    if (isInside || wanted?.[x] === 0) continue;
    for (let k = 0; k < count; k += 1) {
      columns[k] = border(left + k, source.width);
      rows[k] = border(top + k, source.height);
    }
    sumColours(source, weights, (u & 31) * count, (v & 31) * count, columns, rows, row, 3 * x);
  }
}

function sumColours({ width, data }, weights, wx, wy, columns, rows, result, to) {
  const count = columns.length;
  let red = 0;
  let green = 0;
  let blue = 0;
  for (let row = 0; row < count; row += 1) {
    if (rows[row] < 0) continue;
    const start = rows[row] * width;
    const share = weights[wy + row];
    for (let k = 0; k < count; k += 1) {
      if (columns[k] < 0) continue;
      const weight = share * weights[wx + k];
      const at = 3 * (start + columns[k]);
      red += weight * data[at];
      green += weight * data[at + 1];
      blue += weight * data[at + 2];
    }
  }
  result[to] = red;
  result[to + 1] = green;
  result[to + 2] = blue;
}
