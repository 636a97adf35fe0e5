// Put a restored crop back into the photo: colours matched, detail kept, nothing touched outside the mask.
import { gaussianBlur } from "../imaging/blur.js";
import { both, cut, image, like, luma, map, minus, toFloat } from "../imaging/image.js";
import { interpolate, resize } from "../imaging/resize.js";
import { addWeighted, keepDetail } from "./detail.js";
import { cropOnto, maskOnto, patchUnder } from "./patch.js";
import { scaleOf } from "./warp.js";

const COLOUR_REACH = 0.08; // sigma of the colour correction, share of the crop's side
const FAR = 0.01; // ring weight below which the correction tends to its mean
const COLOUR_GRID = 64;
const MAX_OFFSET = 0.25; // a larger difference is another thing, not another tint

const sumOf = (values) => values.reduce((sum, value) => sum + value, 0);

/** Shift the colours of a restored crop so that they meet the photo's in the mask's soft edge. */
function matchColour(photo, restored, mask) {
  const where = map(mask, (m) => 4 * m * (1 - m));
  if (sumOf(where.data) < 1) return restored;
  const grid = Math.min(mask.width, COLOUR_GRID);
  const far = both(photo, restored, (value, other) => Math.min(MAX_OFFSET, Math.max(-MAX_OFFSET, value - other)));
  // All that follows is broad: a coarse grid holds it.
  const offset = resize(far, grid, grid);
  const ring = resize(where, grid, grid);
  for (let at = 0; at < offset.data.length; at += 1) offset.data[at] *= ring.data[(at / 3) | 0];
  const weight = sumOf(ring.data);
  const mean = [0, 1, 2].map((c) => offset.data.reduce((sum, value, at) => (at % 3 === c ? sum + value : sum), 0) / weight);
  const [colour, share] = [offset, ring].map((one) => gaussianBlur(one, COLOUR_REACH * grid).data);
  const correction = like(offset, colour.map((value, at) => (value + FAR * mean[at % 3]) / (share[(at / 3) | 0] + FAR)));
  return both(restored, interpolate(correction, mask.width, mask.height), (value, more) => value + more);
}

/** Blend a restored face into a photo of bytes, in place. `matrix`: photo pixels -> crop pixels; `strength` in [0, 1]. */
export function pasteFace(photo, { crop, restored, matrix, mask }, strength) {
  const where = patchUnder(matrix, mask, photo);
  if (where === null) return;
  const { x1, y1, x2, y2, onto } = where;
  const patch = toFloat(cut(photo, x1, y1, x2, y2));
  const weight = maskOnto(mask, onto, patch);
  let next = matchColour(crop, restored, mask);
  if (scaleOf(matrix) >= 1) {
    next = keepDetail(patch, cropOnto(next, onto, patch), weight).kept;
  } else {
    // The photo is the finer grid: what it holds beyond the crop's is added as far as its finest band was trusted.
    const { kept, finest } = keepDetail(crop, next, mask);
    next = cropOnto(kept, onto, patch, weight);
    if (finest) {
      const beyond = minus(patch, cropOnto(crop, onto, patch, weight));
      addWeighted(next.data, beyond.data, maskOnto(finest, onto, patch).data);
    }
  }
  blend(photo, x1, y1, patch, next, weight.data, strength);
}

function blend(photo, left, top, patch, next, weight, strength) {
  const length = 3 * patch.width;
  for (let y = 0; y < patch.height; y += 1) {
    const start = 3 * ((top + y) * photo.width + left);
    for (let at = y * length, to = start; at < (y + 1) * length; at += 1, to += 1) {
      const share = strength * weight[(at / 3) | 0];
      if (share > 0) photo.data[to] = 255 * (patch.data[at] + share * (Math.min(1, Math.max(0, next.data[at])) - patch.data[at]));
    }
  }
}

/** All three channels of a photo of bytes as its luma, in place: what was gray stays gray. */
export function makeGray(photo) {
  const light = luma(image(photo.width, photo.height, 3, photo.data)).data;
  for (let at = 0; at < photo.data.length; at += 1) photo.data[at] = light[(at / 3) | 0];
}
