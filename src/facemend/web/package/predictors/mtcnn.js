// The MTCNN cascade: three small nets propose, refine and landmark faces on one picture. Boxes are [x1, y1, x2, y2] on
// pixel edges; landmarks have pixel centres at whole numbers. What is found is a list of {box, score, landmarks}.
import { image, planes, round } from "../imaging/image.js";
import { area } from "../imaging/resize.js";
import { apply, invert, warp } from "../faces/warp.js";

const CELL = 12; // side of the window that P-Net judges
const STRIDE = 2;
const [RNET_SIZE, ONET_SIZE] = [24, 48];
const PYRAMID_FACTOR = 0.709;
const MAX_PROPOSALS = 2000; // bounds the work on pictures full of texture
const BATCH = 256;
const MAX_PASSES = 5;
const SETTLED = 5; // degrees between two passes
const LEVEL_FROM = 15; // degrees; less roll than this the nets were trained on

export const USUAL = { proposal: 0.6, refine: 0.7, output: 0.7 };

const areaOf = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);

/** Non-maximum suppression: what is left of things with box and score, best first; `smaller`: over the smaller box. */
export function nms(things, limit, smaller = false) {
  const order = [...things].sort((a, b) => b.score - a.score);
  const kept = [];
  for (const thing of order) if (!kept.some((better) => overlap(better.box, thing.box, smaller) > limit)) kept.push(thing);
  return kept;
}

function overlap(a, b, smaller) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  const common = width * height;
  const base = smaller ? Math.min(areaOf(a), areaOf(b)) : areaOf(a) + areaOf(b) - common;
  return common / Math.max(base, 1e-9);
}

/** Square about its centre, with the longer side, on whole pixels. */
function squared([x1, y1, x2, y2]) {
  const side = Math.max(x2 - x1, y2 - y1, 1);
  const corner = [round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2)];
  const whole = Math.max(round(side), 1);
  return [...corner, corner[0] + whole, corner[1] + whole];
}

/** Edges moved by shares of width and height. */
const moved = (box, offsets) => box.map((edge, k) => edge + offsets[k] * (box[2 + (k % 2)] - box[k % 2]));

/** A whole-pixel box in another size; the picture's border goes on beyond it. */
function cutOut(picture, [x1, y1, x2, y2], side) {
  const { width, height, channels, data } = picture;
  if (x1 >= 0 && y1 >= 0 && x2 <= width && y2 <= height) return area(picture, side, side, [x1, y1, x2, y2]);
  const piece = image(x2 - x1, y2 - y1, channels);
  for (let y = y1, to = 0; y < y2; y += 1) {
    const row = Math.min(height - 1, Math.max(0, y)) * width;
    for (let x = x1; x < x2; x += 1, to += channels) {
      const from = (row + Math.min(width - 1, Math.max(0, x))) * channels;
      for (let c = 0; c < channels; c += 1) piece.data[to + c] = data[from + c];
    }
  }
  return area(piece, side, side);
}

/** Pictures of one size as a batch in the nets' range, (255 x - 127.5) / 128. */
function batchOf(pictures, side) {
  const data = new Float32Array(pictures.length * 3 * side * side);
  pictures.forEach((picture, k) => data.set(planes(picture, 255 / 128, -127.5 / 128), k * 3 * side * side));
  return [data, [pictures.length, 3, side, side]];
}

/** Roll in degrees, from the line of the eyes. */
const rollOf = ([left, right]) => (Math.atan2(right[1] - left[1], right[0] - left[0]) * 180) / Math.PI;

/** Photo pixels -> pixels of an O-Net crop round the box, turned level where the roll is large. */
function levelCrop([x1, y1, x2, y2], roll) {
  const angle = Math.abs(roll) >= LEVEL_FROM ? (roll * Math.PI) / 180 : 0;
  const scale = ONET_SIZE / Math.max(x2 - x1, y2 - y1, 1);
  const [cos, sin] = [scale * Math.cos(angle), scale * Math.sin(angle)];
  const [x, y] = [(x1 + x2) / 2 - 0.5, (y1 + y2) / 2 - 0.5];
  const middle = (ONET_SIZE - 1) / 2;
  return [cos, sin, middle - cos * x - sin * y, -sin, cos, middle + sin * x - cos * y];
}

/** Five points of a row of ten numbers: all x, then all y. */
const pointsOf = (row) => Array.from({ length: 5 }, (_, k) => [row[k], row[k + 5]]);

export class Mtcnn {
  /** Each net: `run(inputs) -> outputs`, by name, of {data, dims}. */
  constructor({ pnet, rnet, onet }) {
    Object.assign(this, { pnet, rnet, onet });
  }

  /** What the cascade sees on a picture of floats; `minFace` in pixels. */
  async find(picture, minFace, thresholds) {
    const proposed = await this.#propose(picture, minFace, thresholds.proposal);
    const refined = await this.#judge(this.rnet, picture, proposed, RNET_SIZE, thresholds.refine);
    const better = nms(refined, 0.7).map(({ box, offsets }) => ({ box: moved(box, offsets) }));
    const seen = await this.#judge(this.onet, picture, better, ONET_SIZE, thresholds.output);
    const found = seen.map(({ box, offsets, score, points }) => ({
      box: moved(box, offsets),
      score,
      landmarks: points.map(([x, y]) => [box[0] + x * (box[2] - box[0]), box[1] + y * (box[2] - box[0])]),
    }));
    return nms(found, 0.7, true);
  }

  async #propose(picture, minFace, threshold) {
    const { width, height } = picture;
    const found = [];
    for (let scale = CELL / Math.max(minFace, CELL); Math.min(width, height) * scale >= CELL; scale *= PYRAMID_FACTOR) {
      const size = [width, height].map((side) => Math.max(CELL, round(side * scale)));
      found.push(...(await this.#proposeAt(picture, size, threshold)));
    }
    return nms(found, 0.7).slice(0, MAX_PROPOSALS);
  }

  async #proposeAt(picture, [width, height], threshold) {
    const small = area(picture, width, height);
    const data = planes(small, 255 / 128, -127.5 / 128);
    const { probability, offsets } = await this.pnet.run({ image: [data, [1, 3, height, width]] });
    const [columns, count] = [probability.dims.at(-1), probability.data.length];
    const back = [picture.width / width, picture.height / height];
    const cells = [];
    for (let at = 0; at < count; at += 1) {
      if (probability.data[at] < threshold) continue;
      const corner = [STRIDE * (at % columns), STRIDE * Math.floor(at / columns)];
      const box = [0, 1, 2, 3].map((k) => (corner[k % 2] + (k < 2 ? 0 : CELL)) * back[k % 2]);
      cells.push({ box, score: probability.data[at], offsets: [0, 1, 2, 3].map((k) => offsets.data[k * count + at]) });
    }
    const kept = nms(cells, 0.5).slice(0, MAX_PROPOSALS);
    return kept.map((cell) => ({ box: moved(cell.box, cell.offsets), score: cell.score }));
  }

  /** What a net passes of boxes, made square: {box, score, offsets, points}. */
  async #judge(net, picture, things, side, threshold) {
    const boxes = things.map(({ box }) => squared(box));
    const passed = [];
    for (let start = 0; start < boxes.length; start += BATCH) {
      const some = boxes.slice(start, start + BATCH);
      const out = await net.run({ image: batchOf(some.map((box) => cutOut(picture, box, side)), side) });
      some.forEach((box, k) => {
        const score = out.probability.data[k];
        if (score < threshold) return;
        const offsets = out.offsets.data.subarray(4 * k, 4 * k + 4);
        passed.push({ box, score, offsets, points: out.landmarks && pointsOf(out.landmarks.data.subarray(10 * k, 10 * k + 10)) });
      });
    }
    return passed;
  }

  /** More passes of O-Net on boxes turned level, until the roll stands still: better landmarks, a second score. */
  async landmark(picture, found) {
    let seen = found;
    let settled = [];
    for (let pass = 0; pass < MAX_PASSES && seen.length; pass += 1) {
      const before = seen.map(({ landmarks }) => rollOf(landmarks));
      seen = await this.#levelPass(picture, seen, before);
      settled = seen.map(({ landmarks }, k) => Math.abs(((((rollOf(landmarks) - before[k] + 180) % 360) + 360) % 360) - 180) < SETTLED);
      if (settled.every(Boolean)) break;
    }
    return seen.map((face, k) => ({ ...face, score: settled[k] ? face.score : 0 }));
  }

  async #levelPass(picture, found, rolls) {
    const matrices = found.map(({ box }, k) => levelCrop(box, rolls[k]));
    const look = { border: "replicate", kind: "linear" };
    const crops = matrices.map((matrix) => warp(picture, matrix, ONET_SIZE, ONET_SIZE, look));
    const { probability, landmarks } = await this.onet.run({ image: batchOf(crops, ONET_SIZE) });
    return found.map(({ box }, k) => {
      const back = invert(matrices[k]);
      const points = pointsOf(landmarks.data.subarray(10 * k, 10 * k + 10));
      const there = points.map((point) => apply(back, point.map((value) => value * ONET_SIZE - 0.5)));
      return { box, score: probability.data[k], landmarks: there };
    });
  }
}
