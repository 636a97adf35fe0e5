// Gaussian blur; a wide one is made on a coarser grid, which holds all that it leaves.
import { image } from "./image.js";
import { interpolate, shrink } from "./resize.js";

const FINE = 3; // least sigma on the coarser grid, its pixels

/** A picture of floats blurred; its border is reflected. */
export function gaussianBlur(picture, sigma) {
  const factor = 2 ** Math.max(0, Math.floor(Math.log2(Math.max(sigma, 1) / FINE)));
  if (factor === 1) return exact(picture, sigma);
  const { width, height } = picture;
  const small = shrink(picture, Math.ceil(width / factor), Math.ceil(height / factor));
  // Averaging and interpolating blur too: together as much as this variance, in pixels of the coarser grid.
  const own = (1 - factor ** -2) / 4;
  return interpolate(exact(small, Math.sqrt((sigma / factor) ** 2 - own)), width, height);
}

function kernelOf(sigma) {
  const half = (Math.round(8 * sigma + 1) | 1) >> 1;
  const weights = Float64Array.from({ length: 2 * half + 1 }, (_, k) => Math.exp(-((k - half) ** 2) / (2 * sigma ** 2)));
  const sum = weights.reduce((total, weight) => total + weight);
  return Float32Array.from(weights, (weight) => weight / sum);
}

/** The place in 0..length-1 that a place outside shows: ... c b a | a b c ... */
function reflected(place, length) {
  const period = 2 * length;
  const within = ((place % period) + period) % period;
  return within < length ? within : period - 1 - within;
}

function exact(picture, sigma) {
  const { width, height, channels, data } = picture;
  const kernel = kernelOf(sigma);
  const half = kernel.length >> 1;
  const length = width * channels;
  const padded = new Float32Array((width + 2 * half) * channels);
  const across = new Float32Array((height + 2 * half) * length);
  for (let y = 0; y < height; y += 1) {
    padded.set(data.subarray(y * length, (y + 1) * length), half * channels);
    reflectEnds(padded, half, width, channels);
    weigh(across, (half + y) * length, padded, half * channels, channels, kernel, length);
  }
  reflectEnds(across, half, height, length);
  const result = image(width, height, channels);
  for (let y = 0; y < height; y += 1) weigh(result.data, y * length, across, (half + y) * length, length, kernel, length);
  return result;
}

/** Fill the `half` places before and behind `length` places in the middle, of `size` values each. */
function reflectEnds(values, half, length, size) {
  for (let k = 1; k <= half; k += 1) {
    for (const place of [-k, length - 1 + k]) {
      const from = (half + reflected(place, length)) * size;
      values.copyWithin((half + place) * size, from, from + size);
    }
  }
}

/** Kernel sums of `length` values in `from`, beginning at `centre`, whose neighbours lie `step` apart. */
function weigh(result, to, from, centre, step, kernel, length) {
  const half = kernel.length >> 1;
  const middle = kernel[half];
  for (let at = 0; at < length; at += 1) result[to + at] = middle * from[centre + at];
  let k = 1;
  for (; k + 3 <= half; k += 4) addFour(result, to, from, centre, step, kernel, k, length);
  for (; k <= half; k += 1) addPair(result, to, from, centre, k * step, kernel[half + k], length);
}

/** Both sides at once: the kernel is symmetric. */
function addPair(result, to, from, centre, away, weight, length) {
  const [before, behind] = [centre - away, centre + away];
  for (let at = 0; at < length; at += 1) result[to + at] += weight * (from[before + at] + from[behind + at]);
}

/** Four pairs, from the k-th on, for one look at the sum: half the time of one after the other. */
function addFour(result, to, from, centre, step, kernel, k, length) {
  const half = kernel.length >> 1;
  const [a, b, c, d] = [kernel[half + k], kernel[half + k + 1], kernel[half + k + 2], kernel[half + k + 3]];
  const [one, two, three, four] = [k * step, (k + 1) * step, (k + 2) * step, (k + 3) * step];
  for (let at = 0, place = centre; at < length; at += 1, place += 1) {
    result[to + at] +=
      a * (from[place - one] + from[place + one]) +
      b * (from[place - two] + from[place + two]) +
      c * (from[place - three] + from[place + three]) +
      d * (from[place - four] + from[place + four]);
  }
}
