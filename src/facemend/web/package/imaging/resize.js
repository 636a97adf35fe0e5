// Resizing: pixels are squares, and shrinking averages what each new pixel covers. Both axes are separable sums.
import { clip, image, toFloat, unitOf } from "./image.js";
import { cubic, lanczos } from "./kernels.js";

const KERNELS = { linear: [2, (x) => [1 - x, x]], cubic: [4, cubic], lanczos: [8, lanczos] };
const EMPTY = 1e-3; // what is covered of a pixel by less is left out

/** For each new place of an axis: `count` neighbouring old ones from `first` on, and their weights. */
function table(length, from, most) {
  const count = Math.min(from, most);
  return { from, count, first: new Int32Array(length), weight: new Float32Array(length * count) };
}

/** A place's sum begins at that old one, or where it still fits. */
function begin({ from, count, first }, place, index) {
  first[place] = Math.max(0, Math.min(index, from - count));
}

/** An old one's weight in a place's sum; beyond the edge the outermost one counts. */
function add({ from, count, first, weight }, place, index, value) {
  weight[place * count + Math.min(from - 1, Math.max(0, index)) - first[place]] += value;
}

/** New pixels as the mean of what they cover, from >= to. */
function areaTaps(from, to) {
  const scale = from / to;
  const taps = table(to, from, Math.ceil(scale) + 1);
  for (let place = 0; place < to; place += 1) {
    const start = place * scale;
    const end = start + scale;
    const whole = Math.min(scale, from - start);
    const last = Math.min(Math.floor(end), from - 1);
    const first = Math.min(Math.ceil(start), last);
    const before = first - start > EMPTY;
    begin(taps, place, before ? first - 1 : first);
    if (before) add(taps, place, first - 1, (first - start) / whole);
    for (let index = first; index < last; index += 1) add(taps, place, index, 1 / whole);
    if (end - last > EMPTY) add(taps, place, last, Math.min(end - last, 1, whole) / whole);
  }
  return taps;
}

/** Values between pixel centres; beyond the edge the outermost pixel goes on. */
function kernelTaps(from, to, kind) {
  const [count, kernel] = KERNELS[kind];
  const taps = table(to, from, count);
  for (let place = 0; place < to; place += 1) {
    const centre = ((place + 0.5) * from) / to - 0.5;
    const low = Math.floor(centre);
    const start = low + 1 - count / 2;
    begin(taps, place, start);
    kernel(centre - low).forEach((value, k) => add(taps, place, start + k, value));
  }
  return taps;
}

/** What stands in for averaging where a side grows: new pixels that lie across an edge mix both sides. */
function growTaps(from, to) {
  const taps = table(to, from, 2);
  for (let place = 0; place < to; place += 1) {
    const low = Math.floor((place * from) / to);
    const over = place + 1 - ((low + 1) * to) / from;
    const share = low >= from - 1 || over <= 0 ? 0 : over - Math.floor(over);
    begin(taps, place, low);
    add(taps, place, low, 1 - share);
    add(taps, place, low + 1, share);
  }
  return taps;
}

/** Sums of pixels, row by row: down first where rows become fewer, else across first. */
function resample(picture, across, down, width, height, result) {
  const rowOf = (height < picture.height ? downFirst : acrossFirst)(picture, across, down, width);
  const bytes = !(result instanceof Float32Array);
  for (let y = 0; y < height; y += 1) {
    const row = rowOf(y);
    if (bytes) for (let at = 0; at < row.length; at += 1) row[at] *= 255;
    result.set(row, y * row.length);
  }
  return image(width, height, picture.channels, result);
}

/** A function of y that gives that row of the result, floats. */
function downFirst(picture, across, down, width) {
  const { channels, data } = picture;
  const whole = picture.width * channels;
  const [sum, row] = [new Float32Array(whole), new Float32Array(width * channels)];
  const rowAt = rowsOf(data, whole);
  return (y) => {
    addRows(sum, down, y, unitOf(picture), rowAt);
    (channels === 3 ? acrossColours : acrossPlane)(sum, across, width, row);
    return row;
  };
}

/** The same; only as many rows as a sum needs are held. */
function acrossFirst(picture, across, down, width) {
  const { channels, data } = picture;
  const rows = Array.from({ length: down.count }, () => new Float32Array(width * channels));
  const held = new Int32Array(down.count).fill(-1);
  const sum = new Float32Array(width * channels);
  const rowAt = rowsOf(data, picture.width * channels);
  const made = (from) => {
    const slot = from % down.count;
    if (held[slot] !== from) (channels === 3 ? acrossColours : acrossPlane)(rowAt(from), across, width, rows[slot]);
    held[slot] = from;
    return rows[slot];
  };
  return (y) => {
    addRows(sum, down, y, unitOf(picture), made);
    return sum;
  };
}

/** A function that gives a row of a picture as floats: a view of it, or what the next call overwrites. */
function rowsOf(data, length) {
  if (data instanceof Float32Array) return (y) => data.subarray(y * length, (y + 1) * length);
  const floats = new Float32Array(length);
  return (y) => {
    const start = y * length;
    for (let at = 0; at < length; at += 1) floats[at] = data[start + at];
    return floats;
  };
}

/** The weighted sum of rows that a new row is made of. */
function addRows(sum, { count, first, weight }, y, unit, rowAt) {
  let empty = true;
  for (let k = 0; k < count; k += 1) {
    const share = unit * weight[y * count + k];
    if (share === 0) continue;
    (empty ? setRow : addRow)(sum, share, rowAt(first[y] + k));
    empty = false;
  }
  if (empty) sum.fill(0);
}

function setRow(sum, weight, row) {
  for (let at = 0; at < sum.length; at += 1) sum[at] = weight * row[at];
}

function addRow(sum, weight, row) {
  for (let at = 0; at < sum.length; at += 1) sum[at] += weight * row[at];
}

function acrossPlane(from, { count, first, weight }, width, row) {
  for (let x = 0, tap = 0; x < width; x += 1) {
    let sum = 0;
    for (let k = 0, at = first[x]; k < count; k += 1, at += 1, tap += 1) sum += weight[tap] * from[at];
    row[x] = sum;
  }
}

function acrossColours(from, { count, first, weight }, width, row) {
  for (let x = 0, tap = 0, to = 0; x < width; x += 1, to += 3) {
    let red = 0;
    let green = 0;
    let blue = 0;
    for (let k = 0, at = 3 * first[x]; k < count; k += 1, at += 3, tap += 1) {
      const share = weight[tap];
      red += share * from[at];
      green += share * from[at + 1];
      blue += share * from[at + 2];
    }
    row[to] = red;
    row[to + 1] = green;
    row[to + 2] = blue;
  }
}

/** Averaged to a smaller size, as floats; bytes or floats in. */
export function shrink(picture, width, height) {
  if (width === picture.width && height === picture.height) return toFloat(picture);
  const result = new Float32Array(width * height * picture.channels);
  return resample(picture, areaTaps(picture.width, width), areaTaps(picture.height, height), width, height, result);
}

/** As floats, with that kernel on both axes: "linear", "cubic" or "lanczos"; overshoot stays. */
export function interpolate(picture, width, height, kind = "linear") {
  const taps = [kernelTaps(picture.width, width, kind), kernelTaps(picture.height, height, kind)];
  return resample(picture, ...taps, width, height, new Float32Array(width * height * picture.channels));
}

/** Averaged where both sides shrink, else the like of it. */
export function area(picture, width, height) {
  if (width <= picture.width && height <= picture.height) return shrink(picture, width, height);
  const taps = [growTaps(picture.width, width), growTaps(picture.height, height)];
  return resample(picture, ...taps, width, height, new Float32Array(width * height * picture.channels));
}

/** Another size: what shrinks is averaged, what grows takes the kernel, and is clipped. Bytes stay bytes. */
export function resize(picture, width, height, kind = "linear") {
  const smaller = [Math.min(width, picture.width), Math.min(height, picture.height)];
  const bytes = !(picture.data instanceof Float32Array);
  const store = (w, h) => new picture.data.constructor(w * h * picture.channels);
  let result = picture;
  if (smaller[0] !== picture.width || smaller[1] !== picture.height) {
    const taps = [areaTaps(picture.width, smaller[0]), areaTaps(picture.height, smaller[1])];
    result = resample(picture, ...taps, ...smaller, store(...smaller));
  }
  if (smaller[0] !== width || smaller[1] !== height) {
    const taps = [kernelTaps(result.width, width, kind), kernelTaps(result.height, height, kind)];
    result = resample(result, ...taps, width, height, store(width, height));
    if (!bytes) clip(result);
  }
  return result;
}
