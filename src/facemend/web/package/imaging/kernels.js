// Weights of the pixels round a place between two of them, x in [0, 1) behind the left one.
const SHARPNESS = -0.75; // of the cubic

/** Four pixels. */
export function cubic(x) {
  const far = (t) => ((SHARPNESS * t - 5 * SHARPNESS) * t + 8 * SHARPNESS) * t - 4 * SHARPNESS;
  const near = (t) => ((SHARPNESS + 2) * t - (SHARPNESS + 3)) * t * t + 1;
  const weights = [far(x + 1), near(x), near(1 - x)];
  return [...weights, 1 - weights[0] - weights[1] - weights[2]];
}

/** Eight pixels. */
export function lanczos(x) {
  if (x < 1e-7) return [0, 0, 0, 1, 0, 0, 0, 0];
  const weights = Array.from({ length: 8 }, (_, k) => {
    const t = Math.PI * (x + 3 - k);
    return Math.abs(t) < 1e-7 ? 1 : (Math.sin(t) * Math.sin(t / 4)) / (t * (t / 4));
  });
  const sum = weights.reduce((total, weight) => total + weight);
  return weights.map((weight) => weight / sum);
}
