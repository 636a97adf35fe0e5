// The soft mask of a restored crop, from the face mesh and the person mask.
import { clip, image, planes } from "../imaging/image.js";
import { area, interpolate, resize } from "../imaging/resize.js";
import { ellipseMask, headMask } from "../faces/mask.js";
import { templatePoints } from "../faces/template.js";
import { apply, bounds, invert, warp } from "../faces/warp.js";

const MOST = 256; // pixels a side that soft masks are made at
const MAX_MESH_ERROR = 0.08; // mean distance of the mesh's five points to the template, share of the side
const MESH_SIZE = 192;
const MESH_POINTS = 468;
const CROP_FACTOR = 1.5;
const PERSON_SIZE = 256;
const LEFT_EYE = [33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246];
const RIGHT_EYE = [263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466];
const [NOSE, LEFT_MOUTH, RIGHT_MOUTH] = [1, 61, 291];

function fivePoints(mesh) {
  const middle = (eye) => [0, 1].map((k) => eye.reduce((sum, index) => sum + mesh[index][k], 0) / eye.length);
  return [middle(LEFT_EYE), middle(RIGHT_EYE), mesh[NOSE], mesh[LEFT_MOUTH], mesh[RIGHT_MOUTH]];
}

/** Crop pixels -> pixels of the mesh's input: round the box, with room, the eyes level. */
function meshCrop({ low, high }, [left, right]) {
  const angle = Math.atan2(right[1] - left[1], right[0] - left[0]);
  const scale = MESH_SIZE / (Math.max(high[0] - low[0], high[1] - low[1], 1) * CROP_FACTOR);
  const [cos, sin] = [scale * Math.cos(angle), scale * Math.sin(angle)];
  const [x, y] = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2];
  const middle = (MESH_SIZE - 1) / 2;
  return [cos, sin, middle - cos * x - sin * y, -sin, cos, middle + sin * x - cos * y];
}

export class FaceMasker {
  constructor({ mesh, person }) {
    Object.assign(this, { mesh, person });
  }

  /** Where a restored crop may replace the photo: a plane of its side, in [0, 1]. */
  async mask(crop) {
    const side = Math.min(crop.width, MOST);
    return resize(await this.#mask(resize(crop, side, side)), crop.width, crop.height);
  }

  async #mask(crop) {
    const side = crop.width;
    const wanted = templatePoints(side);
    const first = await this.#points(crop, { low: [0.24 * side, 0.28 * side], high: [0.76 * side, 0.9 * side] }, wanted);
    const mesh = await this.#points(crop, bounds(first), fivePoints(first));
    const error = fivePoints(mesh).reduce((sum, [x, y], k) => sum + Math.hypot(x - wanted[k][0], y - wanted[k][1]), 0);
    if (!(error / 5 / side <= MAX_MESH_ERROR)) return ellipseMask(side);
    return headMask(await this.#probability(crop), mesh);
  }

  async #points(crop, box, landmarks) {
    const matrix = meshCrop(box, landmarks);
    const input = clip(warp(crop, matrix, MESH_SIZE, MESH_SIZE, { border: "replicate", kind: "linear" }));
    const { values } = await this.mesh.run({ image: [planes(input), [1, 3, MESH_SIZE, MESH_SIZE]] });
    const back = invert(matrix);
    return Array.from({ length: MESH_POINTS }, (_, k) =>
      apply(back, [values.data[3 * k] - 0.5, values.data[3 * k + 1] - 0.5]),
    );
  }

  async #probability(crop) {
    const input = planes(area(crop, PERSON_SIZE, PERSON_SIZE));
    const { values } = await this.person.run({ image: [input, [1, 3, PERSON_SIZE, PERSON_SIZE]] });
    const plane = image(PERSON_SIZE, PERSON_SIZE, 1, Float32Array.from(values.data));
    return crop.width === PERSON_SIZE ? plane : clip(interpolate(plane, crop.width, crop.height));
  }
}
