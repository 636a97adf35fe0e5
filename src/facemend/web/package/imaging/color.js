// Colours: whether a face has any of its own, and giving a restored one those of the photo.
import { gaussianBlur } from "./blur.js";
import { clip, like, luma, minus } from "./image.js";
import { shrink } from "./resize.js";

const GRAY_VARIANCE = 10; // published limit for photos, on the squared 0..255 scale
const TONED_RESIDUE = 3.3; // levels of 255
const TONED_SIDE = 64;

/** Whether a picture is gray or evenly tinted. */
export function isGray({ data }) {
  const count = data.length / 3;
  const [sums, squares] = [new Float64Array(3), new Float64Array(3)];
  for (let at = 0; at < data.length; at += 3) {
    for (let c = 0; c < 3; c += 1) {
      const difference = data[at + c] - data[at + ((c + 1) % 3)];
      sums[c] += difference;
      squares[c] += difference * difference;
    }
  }
  const variance = sums.reduce((all, sum, c) => all + squares[c] / count - (sum / count) ** 2, 0) / 3;
  return variance * 255 ** 2 <= GRAY_VARIANCE;
}

/** Whether it is monochrome in any tone: there a cubic of luma says what chroma is. */
export function isToned(picture) {
  const small = shrink(picture, Math.min(TONED_SIDE, picture.width), Math.min(TONED_SIDE, picture.height));
  const y = Float64Array.from(luma(small).data);
  const rests = [[2, 1.772], [0, 1.402]].map(([channel, range]) =>
    y.map((value, at) => (small.data[3 * at + channel] - value) / range),
  );
  const powers = [];
  for (let power = 0; power < 4; power += 1) {
    const vector = y.map((value) => value ** power);
    for (const basis of powers) remove(vector, basis);
    const norm = Math.sqrt(dot(vector, vector));
    if (norm > 1e-9 * Math.sqrt(y.length)) powers.push(vector.map((value) => value / norm));
  }
  for (const rest of rests) for (const basis of powers) remove(rest, basis);
  const mean = rests.map((rest) => dot(rest, rest) / y.length).reduce((sum, value) => sum + value);
  return Math.sqrt(mean) * 255 <= TONED_RESIDUE;
}

const dot = (a, b) => a.reduce((sum, value, at) => sum + value * b[at], 0);

function remove(vector, basis) {
  const share = dot(vector, basis);
  for (let at = 0; at < vector.length; at += 1) vector[at] -= share * basis[at];
}

/** The restored picture with the broad colours and the broad light of the original; its fine ones stay. */
export function matchBroadColours(restored, original, sigma) {
  const offset = gaussianBlur(minus(original, restored), sigma);
  for (let at = 0; at < offset.data.length; at += 1) offset.data[at] += restored.data[at];
  return clip(offset);
}

/** Luma of the restored picture, chroma of the original. */
export function keepChroma(restored, original) {
  const [next, before] = [luma(restored).data, luma(original).data];
  return clip(like(original, original.data.map((value, at) => value + next[(at / 3) | 0] - before[(at / 3) | 0])));
}
