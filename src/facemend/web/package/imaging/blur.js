// Gaussian blur; a wide one is made on a coarser grid, which holds all that it leaves.
import { image } from "./image.js";
import { interpolate, shrink } from "./resize.js";
import { room, weigh } from "./simd.js";

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
  const { places, floats } = room(half + 1, length + 2 * half * channels, (height + 2 * half) * length, data.length);
  const [sides, row, rows, out] = places;
  floats[0].set(kernel.subarray(half));
  for (let y = 0; y < height; y += 1) {
    floats[1].set(data.subarray(y * length, (y + 1) * length), half * channels);
    reflectEnds(floats[1], half, width, channels);
    weigh(rows + 4 * (half + y) * length, row + 4 * half * channels, 4 * channels, sides, half, length);
  }
  reflectEnds(floats[2], half, height, length);
  weigh(out, rows + 4 * half * length, 4 * length, sides, half, data.length);
  return image(width, height, channels, floats[3].slice());
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
