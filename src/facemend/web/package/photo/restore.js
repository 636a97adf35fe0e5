// The whole photo: find the faces, align, restore, mask, paste back. A photo is {pixels, gray}: pixels of bytes, RGB.
import { align } from "../faces/align.js";
import { makeGray, pasteFace } from "../faces/paste.js";
import { compose, invert, resizeMatrix, scaleOf } from "../faces/warp.js";
import { isGray, isToned, keepChroma, matchBroadColours } from "../imaging/color.js";
import { like } from "../imaging/image.js";
import { resize } from "../imaging/resize.js";
import { addFaces } from "./added.js";
import { choose, diagnosisOf, inWords } from "./auto.js";

const BROAD = 0.08; // scale above which the photo's own colours and light are trusted, share of the crop's side
const MIN_FACE = 12; // pixels; smaller faces are left as they are
const MAX_FACES = 500;
const LARGE = 0.7; // share of the model's side from which a face is large enough
const LONGEST = 6000; // longest side up to which "auto" enlarges, pixels
export const UPSCALES = [1, 2, 4];

/** How many times as large a photo becomes with "auto": so that its largest face is written nearly as large as drawn. */
function autoFactor({ width, height }, aligned, maxPixels) {
  if (aligned.length === 0) return 1;
  const needed = LARGE * Math.min(...aligned.map(({ matrix }) => scaleOf(matrix)));
  let taken = 1;
  for (const factor of UPSCALES) {
    const large = Math.max(width, height) * factor > LONGEST || width * height * factor ** 2 > maxPixels;
    if (taken >= needed || large) break;
    taken = factor;
  }
  return taken;
}

/** The faces to work on, aligned, and the others with the reason. */
function select(found, photo, side) {
  const surest = new Set([...found].sort((a, b) => b.score - a.score).slice(0, MAX_FACES));
  const [aligned, skipped] = [[], []];
  for (const face of found) {
    const [x1, y1, x2, y2] = face.box;
    const least = Math.min(x2 - x1, y2 - y1);
    if (!surest.has(face)) skipped.push({ face, reason: `not among the ${MAX_FACES} surest faces` });
    else if (least < MIN_FACE) {
      skipped.push({ face, reason: `${least.toFixed(0)} px is below the smallest size, ${MIN_FACE} px` });
    } else {
      const made = align(photo, face, side);
      if (made) aligned.push(made);
      else skipped.push({ face, reason: "its landmarks are unusable" });
    }
  }
  return { aligned, skipped };
}

/** The network's face in the photo's broad colours and light; of a monochrome one in its exact tone. */
function trueColours(restored, { crop, monochrome }) {
  const matched = matchBroadColours(restored, crop, BROAD * crop.width);
  return monochrome ? keepChroma(matched, crop) : matched;
}

export class PhotoRestorer {
  /** Networks: {detector, masker, restorer}. */
  constructor(networks) {
    Object.assign(this, networks);
  }

  /**
   * All that does not depend on w: {photo, output, faces, skipped, factor, notes, seconds}. `upscale`: 1, 2, 4 or "auto";
   * `boxes`: faces by hand; `onPart(name)` is told each part before it begins.
   */
  async prepare(photo, { upscale = "auto", boxes = [], maxPixels = Infinity, onPart = () => {} } = {}) {
    const clock = new Clock(onPart);
    clock.begin("detect");
    const found = await addFaces(photo.pixels, await this.detector.detect(photo.pixels), boxes, this.detector);
    clock.begin("align");
    const { aligned, skipped } = select(found, photo.pixels, this.restorer.side);
    clock.begin("encode");
    const faces = [];
    for (const face of aligned) {
      const monochrome = photo.gray || isGray(face.crop) || isToned(face.crop);
      const { side } = this.restorer;
      const encoded = await this.restorer.encode(face.crop);
      const row = encoded.diagnosis?.[0];
      const diagnosis = row && diagnosisOf(row, side / scaleOf(face.matrix));
      const told = diagnosis && { looks: inWords(diagnosis, side), auto: choose(diagnosis, side) };
      faces.push({ ...face, ...told, monochrome, encoded });
    }
    const factor = upscale === "auto" ? autoFactor(photo.pixels, aligned, maxPixels) : upscale;
    clock.begin("background");
    const { pixels } = photo;
    const output = resize(pixels, pixels.width * factor, pixels.height * factor, "lanczos");
    const notes = faces.length ? [] : [nothingDone(found, factor)];
    return { photo, output, faces, skipped, factor, notes, seconds: clock.end() };
  }

  /** The restored photo, of bytes, with that w (a number or "auto") and strength; `chosen`: indices of the faces, or null: all. */
  async finish({ photo, output, faces, factor }, { w = 0.5, strength = 1, chosen = null, onPart = () => {} } = {}) {
    const clock = new Clock(onPart);
    const pixels = like(output, output.data.slice());
    const back = invert(resizeMatrix(factor, factor));
    const share = ({ auto }) => strength * (w === "auto" ? (auto?.strength ?? 1) : 1);
    const wanted = faces.filter((face, index) => share(face) > 0 && (chosen?.includes(index) ?? true));
    for (const face of wanted) {
      clock.begin("decode");
      const restored = await this.restored(face, w);
      clock.begin("mask");
      const mask = (face.drawn.mask ??= await this.masker.mask(restored));
      clock.begin("paste");
      pasteFace(pixels, { crop: face.crop, restored, matrix: compose(face.matrix, back), mask }, share(face));
    }
    if (photo.gray && wanted.length) makeGray(pixels);
    return { pixels, seconds: clock.end() };
  }

  /** One aligned face, as the network draws it, in the photo's colours; what was drawn last is kept in `face.drawn`. */
  async restored(face, wanted) {
    const w = wanted === "auto" ? (face.auto?.w ?? 0.5) : wanted;
    if (face.drawn?.w !== w) face.drawn = { w, crop: trueColours(await this.restorer.decode(face.encoded, w), face) };
    return face.drawn.crop;
  }
}

function nothingDone(found, factor) {
  const what = found.length ? "no face was restored" : "no face found";
  return `${what}: the photo was ${factor > 1 ? "only enlarged" : "left as it is"}`;
}

/** Seconds of each part. */
class Clock {
  constructor(onPart) {
    Object.assign(this, { onPart, seconds: {}, part: null });
  }

  begin(part) {
    this.end();
    Object.assign(this, { part, start: performance.now() });
    this.onPart(part);
  }

  end() {
    if (this.part) this.seconds[this.part] = (this.seconds[this.part] ?? 0) + (performance.now() - this.start) / 1000;
    this.part = null;
    return this.seconds;
  }
}
