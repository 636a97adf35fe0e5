// Whether five points look like a face at all.
const minus = ([a, b], [c, d]) => [a - c, b - d];
const middle = ([a, b], [c, d]) => [(a + c) / 2, (b + d) / 2];
const dot = ([a, b], [c, d]) => a * c + b * d;

/** Whether they could be those of a face, at any turn in the plane. */
export function plausible(points) {
  if (!points.flat().every(Number.isFinite)) return false;
  const [leftEye, rightEye, nose, leftMouth, rightMouth] = points;
  const eyes = minus(rightEye, leftEye);
  const top = middle(leftEye, rightEye);
  const down = minus(middle(leftMouth, rightMouth), top);
  const [height, width] = [Math.hypot(...down), Math.hypot(...eyes)];
  if (height < 1e-6 || width < 1e-6) return false;
  const upright = dot([-eyes[1], eyes[0]], down) / (width * height);
  const along = dot(minus(nose, top), down) / height ** 2;
  const mouth = dot(minus(rightMouth, leftMouth), eyes) / width;
  const suits = width / height >= 0.35 && width / height <= 2 && mouth >= 0.25 * width && mouth <= 2 * width;
  return upright > 0.7 && along >= 0.1 && along <= 1 && suits;
}
