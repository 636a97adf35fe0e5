// Faces that a person added by hand where the detector missed them.
import { TEMPLATE } from "../faces/template.js";

const SCALES = [1, 0.85, 0.7]; // people draw round the head, detectors round the face: what is looked at, times the box
const SURE = 0.5; // score from which the landmarks seen there are taken
const SAME = 0.4; // overlap from which a box is that of a face that was found too
const APART = 0.1; // distance of the landmarks up to which they are of one face, of the width of its box
const [LEFT, TOP, WIDTH, HEIGHT] = [0.23, 0.17, 0.54, 0.775]; // of the detector's boxes on the template

/** The faces found and those in the boxes [x1, y1, x2, y2], which take the place of found ones that they cover. */
export async function addFaces(photo, found, boxes, detector) {
  const added = [];
  for (const box of boxes) {
    const [x1, y1, x2, y2] = box.map((edge, k) => Math.min([photo.width, photo.height][k % 2] - 1, Math.max(0, edge)));
    if (x2 - x1 < 1 || y2 - y1 < 1) throw new RangeError("a box of a face lies outside the photo");
    added.push(await seen(photo, [x1, y1, x2, y2], detector));
  }
  const kept = found.filter((face) => !added.some((drawn) => isSame(face, drawn)));
  return [...kept, ...added].sort((a, b) => a.box[0] - b.box[0] || a.box[1] - b.box[1]);
}

/** Whether a box is that of a face that was found: by the boxes, or as the same features were seen. */
function isSame(found, drawn) {
  const apart = found.landmarks.map(([x, y], k) => Math.hypot(x - drawn.landmarks[k][0], y - drawn.landmarks[k][1]));
  const mean = apart.reduce((sum, each) => sum + each) / apart.length;
  return iou(found.box, drawn.box) > SAME || mean < APART * (found.box[2] - found.box[0]);
}

async function seen(photo, box, detector) {
  const guesses = SCALES.map((scale) => upright(box, scale));
  const looks = await detector.follow(photo, guesses);
  const best = looks.reduce((surest, look) => (look.score > surest.score ? look : surest));
  return { box, landmarks: (best.score >= SURE ? best : guesses[0]).landmarks, score: 1 };
}

function upright([x1, y1, x2, y2], scale) {
  const [width, height] = [scale * (x2 - x1), scale * (y2 - y1)];
  const [x, y] = [(x1 + x2 - width) / 2, (y1 + y2 - height) / 2];
  const landmarks = TEMPLATE.map(([u, v]) => [x + ((u - LEFT) / WIDTH) * width, y + ((v - TOP) / HEIGHT) * height]);
  return { box: [x, y, x + width, y + height], landmarks, score: 1 };
}

function iou(a, b) {
  const width = Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0]));
  const height = Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
  const areas = [a, b].map(([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1));
  return (width * height) / (areas[0] + areas[1] - width * height);
}
