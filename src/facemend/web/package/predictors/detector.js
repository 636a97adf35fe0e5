// Find faces and their five landmarks in a photo: the cascade, with retries.
import { clip, round, turned as turn } from "../imaging/image.js";
import { interpolate, shrink } from "../imaging/resize.js";
import { plausible } from "../faces/select.js";
import { nms, USUAL } from "./mtcnn.js";

const MAX_SIDE = 2048;
const SMALL_SIDE = 160;
const TINY_FACE = 10;
const DEFAULT_MIN_FACE = 20;
const MIN_FACE_SHARE = 0.025;
const LARGE_SHARE = 0.15;
const TURNED_SIDE = 320;
const TURNED_SHARE = 0.15; // of the short side: smaller turned faces are not looked for beside upright ones
const TURNED_OVERLAP = 0.3;
const UPRIGHT_LEAD = 0.01;
const SMALL_FACE = 32; // pixels; smaller ones are often texture: they must be sure
const SURE = { ...USUAL, output: 0.9 }; // a retry looks where faces are rare
const FAINT = { proposal: 0.5, refine: 0.5, output: 0.6 };

/** The looks at a photo, likeliest first; of a group the surest counts. */
function* tries(width, height) {
  const [short, long] = [Math.min(width, height), Math.max(width, height)];
  const wanted = Math.max(DEFAULT_MIN_FACE, MIN_FACE_SHARE * short);
  const scale = Math.min(1, MAX_SIDE / long);
  const least = Math.max(wanted * scale, DEFAULT_MIN_FACE);
  yield [{ scale, least, turns: 0, thresholds: USUAL }];
  // A large blurred or half-toned face is cleaner on a small copy.
  if (long > 1.5 * SMALL_SIDE) yield [{ scale: SMALL_SIDE / long, least: DEFAULT_MIN_FACE, turns: 0, thresholds: SURE }];
  // Tiny faces need more pixels than they have.
  const enlarged = Math.min(DEFAULT_MIN_FACE / TINY_FACE, MAX_SIDE / long);
  if (enlarged > Math.max(scale, 1)) yield [{ scale: enlarged, least: DEFAULT_MIN_FACE, turns: 0, thresholds: SURE }];
  const coarse = Math.max(least, 0.05 * short * scale);
  yield [1, 2, 3].map((turns) => ({ scale, least: coarse, turns, thresholds: SURE }));
  // Profiles and very faint faces: only large ones, or texture would pass.
  yield [{ scale, least: Math.max(coarse, LARGE_SHARE * short * scale), turns: 0, thresholds: FAINT }];
}

function resized(photo, scale) {
  const size = [photo.width, photo.height].map((side) => Math.max(1, round(side * scale)));
  return scale <= 1 ? shrink(photo, ...size) : clip(interpolate(photo, ...size, "cubic"));
}

/** Copies of a photo, as floats; the last one is kept, as turned looks want the same. */
function copies(photo) {
  let [last, copy] = [null, null];
  return (scale) => {
    if (scale !== last) [last, copy] = [scale, resized(photo, scale)];
    return copy;
  };
}

/** Whether the landmarks lie in the box, give or take a quarter of its side. */
function inside(points, [x1, y1, x2, y2]) {
  const [x, y] = [0.25 * (x2 - x1), 0.25 * (y2 - y1)];
  return points.every(([u, v]) => u >= x1 - x && u <= x2 + x && v >= y1 - y && v <= y2 + y);
}

/** From a turned copy to the photo; all on pixel edges on the way. */
function back({ box, score, landmarks }, copy, turns, photo) {
  let [points, { width, height }] = [[box.slice(0, 2), box.slice(2), ...landmarks.map(([x, y]) => [x + 0.5, y + 0.5])], copy];
  for (let k = 0; k < turns; k += 1) {
    const edge = height;
    points = points.map(([x, y]) => [edge - y, x]);
    [width, height] = [height, width];
  }
  points = points.map(([x, y]) => [(x * photo.width) / width, (y * photo.height) / height]);
  const [a, b, ...rest] = points;
  const corners = [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1])];
  return { box: corners, score, landmarks: rest.map(([x, y]) => [x - 0.5, y - 0.5]) };
}

export class FaceDetector {
  constructor(mtcnn) {
    this.mtcnn = mtcnn;
  }

  /** Faces {box, score, landmarks} of a photo of bytes or floats, from left to right; boxes at pixel centres. */
  async detect(photo) {
    const copyAt = copies(photo);
    for (const group of tries(photo.width, photo.height)) {
      const looks = [];
      for (const attempt of group) looks.push(await this.#search(photo, copyAt, attempt));
      const best = (look) => Math.max(0, ...look.map(({ score }) => score));
      const seen = looks.reduce((surest, look) => (best(look) > best(surest) ? look : surest));
      if (seen.length === 0) continue;
      const all = group[0].turns === 0 ? await this.#withTurned(photo, copyAt, seen) : seen;
      return all.map((face) => asFace(face, photo)).sort((a, b) => a.box[0] - b.box[0] || a.box[1] - b.box[1]);
    }
    return [];
  }

  /** Look again at faces whose places are known; the score is 0 where that is no face. */
  async follow(photo, faces) {
    const found = faces.map(({ box, landmarks }) => ({ box: box.map((edge) => edge + 0.5), score: 1, landmarks }));
    const seen = await this.mtcnn.landmark(photo, found);
    return seen.map(({ box, score, landmarks }, k) => ({
      box: faces[k].box,
      landmarks,
      score: plausible(landmarks) && inside(landmarks, box) ? score : 0,
    }));
  }

  /** Those and the faces that are sure on a turned copy and lie elsewhere. */
  async #withTurned(photo, copyAt, upright) {
    const scale = Math.min(1, TURNED_SIDE / Math.max(photo.width, photo.height));
    const least = Math.max(DEFAULT_MIN_FACE, TURNED_SHARE * Math.min(photo.width, photo.height) * scale);
    // A face on its head may pass for an upright one too, but less surely.
    const all = upright.map((face) => ({ ...face, face, score: face.score + UPRIGHT_LEAD }));
    for (const turns of [1, 2, 3]) {
      const found = await this.#search(photo, copyAt, { scale, least, turns, thresholds: SURE });
      all.push(...found.map((face) => ({ ...face, face })));
    }
    return nms(all, TURNED_OVERLAP, true).map(({ face }) => face);
  }

  async #search(photo, copyAt, { scale, least, turns, thresholds }) {
    const copy = turn(copyAt(scale), turns);
    const found = await this.mtcnn.find(copy, least, thresholds);
    const second = await this.mtcnn.landmark(copy, found);
    // Both passes must call it a face, and its points must look like one.
    const good = found.flatMap(({ box, score }, k) => {
      const { landmarks } = second[k];
      const surely = Math.min(score, second[k].score);
      const side = Math.max(box[2] - box[0], box[3] - box[1]);
      const needed = side < SMALL_FACE ? SURE.output : thresholds.output;
      const face = surely >= needed && plausible(landmarks) && inside(landmarks, box);
      return face ? [{ box, score: surely, landmarks }] : [];
    });
    return nms(good, 0.5, true).map((face) => back(face, copy, turns, photo));
  }
}

/** The box from pixel edges to pixel centres, cut to the photo. */
function asFace({ box, score, landmarks }, { width, height }) {
  const limits = [width - 1, height - 1];
  return { box: box.map((edge, k) => Math.min(limits[k % 2], Math.max(0, edge - 0.5))), score, landmarks };
}
