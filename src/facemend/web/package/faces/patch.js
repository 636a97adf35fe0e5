// The part of a photo that lies under a crop, and crops and masks warped onto it.
import { clip } from "../imaging/image.js";
import { apply, bounds, compose, corners, invert, scaleOf, shiftMatrix, warp } from "./warp.js";

const MARGIN = 8; // pixels of the photo beside the mask: blurs there have to know what lies behind its edge

/** Where a mask is above zero: {x, y, width, height}; null: nowhere. */
function boxOf({ width, height, data }) {
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      if (data[y * width + x] <= 0) continue;
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = y;
    }
  }
  return right < 0 ? null : { x: left, y: top, width: right + 1 - left, height: bottom + 1 - top };
}

/** The part under what a mask leaves of a crop, {x1, y1, x2, y2}, and `onto`: crop pixels -> its pixels; or null. */
export function patchUnder(matrix, mask, { width, height }) {
  const box = boxOf(mask);
  if (box === null) return null;
  const back = invert(matrix);
  const reach = corners(box.width, box.height).map(([x, y]) => apply(back, [x + box.x, y + box.y]));
  const { low, high } = bounds(reach);
  const [x1, y1] = low.map((value) => Math.max(0, Math.floor(value) - MARGIN));
  const [x2, y2] = [width, height].map((limit, k) => Math.min(limit, Math.ceil(high[k]) + 1 + MARGIN));
  if (x1 >= x2 || y1 >= y2) return null;
  return { x1, y1, x2, y2, onto: compose(shiftMatrix(-x1, -y1), back) };
}

/** `where`: a plane of the patch; nothing is needed at its zeros. */
export function cropOnto(crop, onto, { width, height }, where = null) {
  return warp(crop, onto, width, height, { border: "replicate", kind: scaleOf(onto) > 1 ? "lanczos" : "cubic", where });
}

export const maskOnto = (mask, onto, { width, height }) =>
  clip(warp(mask, onto, width, height, { border: "zero", kind: "linear" }));
