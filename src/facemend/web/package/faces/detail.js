// Never give back less detail than the photo had: its own fine bands where they are real. The formula stands in
// facemend/faces/detail.py; names are the same here.
import { gaussianBlur } from "../imaging/blur.js";
import { like, luma, map, minus } from "../imaging/image.js";

const BANDS = 3;
const [SHARP_FROM, SHARP_FULL] = [0.6, 1];
const CLEAN = [0.1, 0.12, 0.2]; // fine to coarse
const DIRTY = [0.25, 0.3, 0.4];
const QUIET_SHARE = 0.4;
const LOCAL = 4; // sigma of the local energy, in sigmas of the band
const EMPTY = 1e-10; // energy of nothing
const MIN_PIXELS = 64;

/** Octave bands, coarse to fine. */
function* bandsOf(picture) {
  let coarse = gaussianBlur(picture, 2 ** (BANDS - 1));
  for (let k = BANDS - 1; k >= 0; k -= 1) {
    const fine = k ? gaussianBlur(picture, 2 ** (k - 1)) : picture;
    yield minus(fine, coarse);
    coarse = fine;
  }
}

function smoothstep(x, low, high) {
  const t = Math.min(1, Math.max(0, (x - low) / (high - low)));
  return t * t * (3 - 2 * t);
}

/** The mean where a mask is above a half, and where `smooth` is no larger than `limit`. */
function mean({ data }, mask, smooth = data, limit = Infinity) {
  let [sum, count] = [0, 0];
  for (let at = 0; at < data.length; at += 1) {
    if (mask[at] <= 0.5 || smooth[at] > limit) continue;
    sum += data[at];
    count += 1;
  }
  return count ? sum / count : 0;
}

function squared(picture) {
  const data = picture.data.slice();
  for (let at = 0; at < data.length; at += 1) data[at] *= data[at];
  return like(picture, data);
}

function quantile(values, share) {
  const sorted = values.sort();
  const place = share * (sorted.length - 1);
  const low = Math.floor(place);
  const next = sorted[Math.min(low + 1, sorted.length - 1)];
  return sorted[low] + (place - low) * (next - sorted[low]);
}

/** How much of each band of the photo to keep, fine to coarse: planes in [0, 1], or null: nothing of it. */
function gainsOf(photo, restored, mask) {
  const gains = Array(BANDS).fill(null);
  if (mask.data.reduce((count, value) => count + (value > 0.5), 0) < MIN_PIXELS) return gains;
  const others = bandsOf(luma(restored));
  let [k, trust] = [BANDS, 1];
  for (const band of bandsOf(luma(photo))) {
    k -= 1;
    const [energy, own] = [band, others.next().value].map(squared);
    const total = mean(energy, mask.data);
    const smooth = gaussianBlur(own, 2 * 2 ** k);
    const limit = quietLimit(smooth, mask.data, 2 ** k);
    const quiet = mean(energy, mask.data, smooth.data, limit) / Math.max(total, EMPTY);
    const noise = total * Math.max(0, quiet - CLEAN[k]);
    const ratio = Math.sqrt(Math.max(0, total - noise) / Math.max(mean(own, mask.data), EMPTY));
    const calm = 1 - smoothstep(quiet, CLEAN[k], DIRTY[k]);
    trust = Math.min(trust, smoothstep(ratio, SHARP_FROM, SHARP_FULL) * calm);
    if (trust === 0) break; // and the finer ones rest on this
    const share = trust;
    gains[k] = map(gaussianBlur(energy, LOCAL * 2 ** k), (local) =>
      share * Math.min(1, Math.max(0, (local - noise) / Math.max(local, EMPTY))),
    );
  }
  return gains;
}

/** So smooth a plane that one pixel in so many says it. */
function quietLimit({ width, height, data }, mask, step) {
  const values = new Float32Array(Math.ceil(width / step) * Math.ceil(height / step));
  let count = 0;
  for (let y = 0; y < height; y += step) {
    for (let at = y * width; at < (y + 1) * width; at += step) {
      if (mask[at] <= 0.5) continue;
      values[count] = data[at];
      count += 1;
    }
  }
  return quantile(values.subarray(0, count), QUIET_SHARE);
}

/** The restored face with the photo's real detail, and the gain of the finest band (null: none). */
export function keepDetail(photo, restored, mask) {
  const gains = gainsOf(photo, restored, mask);
  if (!gains.some((gain) => gain?.data.some((value) => value > 0))) return { kept: restored, finest: null };
  const kept = restored.data.slice();
  let k = BANDS;
  for (const band of bandsOf(minus(photo, restored))) {
    k -= 1;
    if (gains[k]) addWeighted(kept, band.data, gains[k].data);
  }
  return { kept: like(restored, kept), finest: gains[0]?.data.some((value) => value > 0) ? gains[0] : null };
}

/** RGB, by a weight a pixel. */
export function addWeighted(sum, values, weights) {
  for (let pixel = 0, at = 0; pixel < weights.length; pixel += 1, at += 3) {
    const weight = weights[pixel];
    sum[at] += weight * values[at];
    sum[at + 1] += weight * values[at + 1];
    sum[at + 2] += weight * values[at + 2];
  }
}
