// Soft masks in the space of an aligned crop: where the restored face replaces the photo. Planes of side S, in [0, 1];
// lengths are shares of S.
import { gaussianBlur } from "../imaging/blur.js";
import { both, image, round } from "../imaging/image.js";
import { hullOf, opened, polygon } from "./shapes.js";
import { bounds } from "./warp.js";

const HULL_GROWTH = 0.01;
const FEATHER = 0.03;
const HEAD_FEATHER = 0.045;
const BORDER_CLEAR = 0.02;
const BORDER_RAMP = 0.12;
const EARS = 0.2; // how far ears reach below the widest place of the face, share of its height
const [HAIR_ABOVE, HAIR_BESIDE] = [0.5, 0.75]; // reach of the head zone, shares of the face's height and width
const SPUR = 0.05;
const [MIN_PERSON, MAX_DOUBT] = [0.6, 0.2];

const within = (value) => Math.min(1, Math.max(0, value));

function plane(side, value) {
  const result = image(side, side, 1);
  for (let y = 0; y < side; y += 1) for (let x = 0; x < side; x += 1) result.data[y * side + x] = value(x, y);
  return result;
}

const least = (a, b) => both(a, b, Math.min);
const most = (a, b) => both(a, b, Math.max);

/** Zero at the crop's edge, one in the middle. */
function borderMask(side) {
  const ramp = Float32Array.from({ length: side }, (_, k) => {
    const u = (k + 0.5) / side;
    const edge = within((Math.min(u, 1 - u) - BORDER_CLEAR) / BORDER_RAMP);
    return edge * edge * (3 - 2 * edge);
  });
  return plane(side, (x, y) => Math.min(ramp[x], ramp[y]));
}

/** The hull of a face mesh, a little grown, feathered, and clear of the border. */
function hullMask(hull, side) {
  const centre = [0, 1].map((k) => hull.reduce((sum, point) => sum + point[k], 0) / hull.length);
  const grown = hull.map(([x, y]) => {
    const away = [x - centre[0], y - centre[1]];
    const share = (HULL_GROWTH * side) / Math.max(Math.hypot(...away), 1e-6);
    return [x + away[0] * share, y + away[1] * share];
  });
  return least(gaussianBlur(polygon(grown, side), FEATHER * side), borderMask(side));
}

/** One above the jaw line, which goes on level beside the face. */
function aboveJaw(hull, side) {
  const { low, high } = bounds(hull);
  const left = hull.find(([x]) => x === low[0]);
  const right = hull.find(([x]) => x === high[0]);
  const drop = EARS * (high[1] - low[1]);
  const middle = (left[0] + right[0]) / 2;
  const jaw = hull.filter(([x, y]) => y > (x < middle ? left[1] : right[1]) + drop).sort((a, b) => a[0] - b[0]);
  const [lowLeft, lowRight] = [left[1] + drop, right[1] + drop];
  const beside = [[left[0], lowLeft], ...jaw, [right[0], lowRight]];
  return polygon([[-1, -1], [-1, lowLeft], ...beside, [side, lowRight], [side, -1]], side);
}

/** Where a head with its hair can be at most: an ellipse with a soft edge. */
function headZone({ low, high }, side) {
  const [width, height] = [Math.max(high[0] - low[0], 1), Math.max(high[1] - low[1], 1)];
  const [top, bottom] = [low[1] - HAIR_ABOVE * height, high[1] + 0.05 * height];
  const centre = (low[0] + high[0]) / 2;
  return plane(side, (x, y) => {
    const radius = Math.hypot((x - centre) / (HAIR_BESIDE * width), (2 * y - top - bottom) / (bottom - top));
    return within((1.05 - radius) / 0.2);
  });
}

/** Whether the person mask sees a person on the face, and is decided on the head. */
function isSure(person, face, head) {
  const share = (of, where) => {
    let [sum, weight] = [0, 0];
    for (let at = 0; at < where.data.length; at += 1) {
      sum += of(person.data[at]) * where.data[at];
      weight += where.data[at];
    }
    return sum / Math.max(weight, 1);
  };
  return share((p) => p, face) >= MIN_PERSON && share((p) => 4 * p * (1 - p), head) <= MAX_DOUBT;
}

/** Head and hair, of a person's probability and the mesh's points; the hull alone where that is not sure. */
export function headMask(person, points) {
  const side = person.width;
  const hull = hullOf(points);
  const [face, zone] = [hullMask(hull, side), headZone(bounds(points), side)];
  if (!isSure(person, face, zone)) return face;
  const solid = opened(both(person, aboveJaw(hull, side), (a, b) => a * b), round(SPUR * side));
  const head = gaussianBlur(solid, HEAD_FEATHER * side);
  const inwards = both(head, zone, (value, most) => Math.min(within(2 * value - 1), most));
  return least(most(inwards, face), borderMask(side));
}

/** The last resort, when no mesh can be had: an ellipse where the template puts the face. */
export function ellipseMask(side) {
  const ellipse = plane(side, (x, y) => {
    const radius = Math.hypot(((x + 0.5) / side - 0.5) / 0.29, ((y + 0.5) / side - 0.57) / 0.36);
    return within((1.1 - radius) / 0.25);
  });
  return least(ellipse, borderMask(side));
}
