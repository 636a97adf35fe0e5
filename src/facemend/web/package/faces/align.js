// From five landmarks to an aligned crop.
import { clip } from "../imaging/image.js";
import { templatePoints } from "./template.js";
import { warp } from "./warp.js";

const mean = (points) => [0, 1].map((k) => points.reduce((sum, point) => sum + point[k], 0) / points.length);

/** The similarity (turn, one scale, shift) that maps `from` to `to` best; null where there is none. */
export function similarity(from, to) {
  const [p, q] = [mean(from), mean(to)];
  let [spread, real, imaginary] = [0, 0, 0];
  for (const [k, point] of from.entries()) {
    const [x, y] = [point[0] - p[0], point[1] - p[1]];
    const [u, v] = [to[k][0] - q[0], to[k][1] - q[1]];
    spread += x * x + y * y;
    real += x * u + y * v;
    imaginary += x * v - y * u;
  }
  if (!(spread >= 1e-12 && Math.hypot(real, imaginary) >= 1e-12)) return null;
  const [a, b] = [real / spread, imaginary / spread];
  return [a, -b, q[0] - a * p[0] + b * p[1], b, a, q[1] - b * p[0] - a * p[1]];
}

/** {crop, matrix, face}, cut out of a photo of bytes or floats; null where the landmarks are unusable. */
export function align(photo, face, side) {
  const matrix = similarity(face.landmarks, templatePoints(side));
  return matrix && { crop: clip(warp(photo, matrix, side, side)), matrix, face };
}
