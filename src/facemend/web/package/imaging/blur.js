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
  const across = image(width, height, channels);
  const padded = new Float32Array((width + 2 * half) * channels);
  for (let y = 0; y < height; y += 1) {
    padded.set(data.subarray(y * length, (y + 1) * length), half * channels);
    for (let k = 1; k <= half; k += 1) {
      const left = reflected(-k, width);
      const right = reflected(width - 1 + k, width);
      for (let c = 0; c < channels; c += 1) {
        padded[(half - k) * channels + c] = data[y * length + left * channels + c];
        padded[(half + width - 1 + k) * channels + c] = data[y * length + right * channels + c];
      }
    }
    const row = across.data.subarray(y * length, (y + 1) * length);
    const from = (k) => padded.subarray((half + k) * channels, (half + k) * channels + length);
    addPair(row, kernel[half] / 2, from(0), from(0));
    for (let k = 1; k <= half; k += 1) addPair(row, kernel[half + k], from(-k), from(k));
  }
  const result = image(width, height, channels);
  for (let y = 0; y < height; y += 1) {
    const row = result.data.subarray(y * length, (y + 1) * length);
    const from = (k) => {
      const start = reflected(y + k, height) * length;
      return across.data.subarray(start, start + length);
    };
    addPair(row, kernel[half] / 2, from(0), from(0));
    for (let k = 1; k <= half; k += 1) addPair(row, kernel[half + k], from(-k), from(k));
  }
  return result;
}

/** Both sides of the kernel at once: it is symmetric. */
function addPair(row, weight, before, behind) {
  for (let at = 0; at < row.length; at += 1) row[at] += weight * (before[at] + behind[at]);
}
