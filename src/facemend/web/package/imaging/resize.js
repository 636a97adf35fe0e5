// Resizing: pixels are squares, and shrinking averages what each new pixel covers. Both axes are separable sums.
import { clip, image, toFloat, unitOf } from "./image.js";
import { cubic, lanczos } from "./kernels.js";
import { across, add, room } from "./simd.js";

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
function put({ from, count, first, weight }, place, index, value) {
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
    if (before) put(taps, place, first - 1, (first - start) / whole);
    for (let index = first; index < last; index += 1) put(taps, place, index, 1 / whole);
    if (end - last > EMPTY) put(taps, place, last, Math.min(end - last, 1, whole) / whole);
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
    kernel(centre - low).forEach((value, k) => put(taps, place, start + k, value));
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
    put(taps, place, low, 1 - share);
    put(taps, place, low + 1, share);
  }
  return taps;
}

/** Sums of pixels, row by row: down first where rows become fewer, else across first, of as many rows as a sum needs. */
function resample(picture, acrossTaps, downTaps, width, height, result, [left, top] = [0, 0]) {
  const { channels, data } = picture;
  const [whole, length] = [acrossTaps.from * channels, width * channels];
  const unit = result instanceof Float32Array ? unitOf(picture) : 1;
  const fewer = height < downTaps.from;
  const slots = Array(fewer ? 1 : downTaps.count).fill(length);
  const { first, weight, count } = acrossTaps;
  const { places, floats, wholes } = room(first.length, weight.length, whole, fewer ? whole : length, ...slots);
  const [firsts, weights, from, sum, ...rows] = places;
  wholes[0].set(first);
  floats[1].set(weight);
  const load = (y) => {
    const start = ((top + y) * picture.width + left) * channels;
    floats[2].set(data.subarray(start, start + whole));
    return from;
  };
  const narrow = (slot, row) => across(rows[slot], row, 4 * channels, firsts, weights, count, width);
  const held = new Int32Array(rows.length).fill(-1);
  const narrowed = (y) => {
    const slot = y % rows.length;
    if (held[slot] !== y) narrow(slot, load(y));
    held[slot] = y;
    return rows[slot];
  };
  for (let y = 0; y < height; y += 1) {
    floats[3].fill(0);
    for (let k = 0; k < downTaps.count; k += 1) {
      const share = unit * downTaps.weight[y * downTaps.count + k];
      const row = downTaps.first[y] + k;
      if (share !== 0) add(sum, (fewer ? load : narrowed)(row), share, floats[3].length);
    }
    if (fewer) narrow(0, sum);
    result.set(floats[fewer ? 4 : 3], y * length);
  }
  return image(width, height, channels, result);
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

/** Averaged where both sides shrink, else the like of it; as floats. `box`: of that part, [x1, y1, x2, y2]. */
export function area(picture, width, height, box = null) {
  if (box === null && width <= picture.width && height <= picture.height) return shrink(picture, width, height);
  const [x1, y1, x2, y2] = box ?? [0, 0, picture.width, picture.height];
  const sides = [x2 - x1, y2 - y1];
  const tapsOf = width <= sides[0] && height <= sides[1] ? areaTaps : growTaps;
  const taps = [tapsOf(sides[0], width), tapsOf(sides[1], height)];
  return resample(picture, ...taps, width, height, new Float32Array(width * height * picture.channels), [x1, y1]);
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
