// Shapes in planes: hulls, filled polygons, and what is left of a mask without thin parts.
import { image, map, round } from "../imaging/image.js";

/** The convex hull of points, in order round it. */
export function hullOf(points) {
  const sorted = [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const half = (ordered) => {
    const chain = [];
    for (const point of ordered) {
      while (chain.length > 1 && turn(chain.at(-2), chain.at(-1), point) <= 0) chain.pop();
      chain.push(point);
    }
    return chain.slice(0, -1);
  };
  return [...half(sorted), ...half(sorted.reverse())];
}

const turn = (a, b, c) => (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);

/** One inside a polygon and on its outline, zero elsewhere. */
export function polygon(points, side) {
  const plane = image(side, side, 1);
  const edges = points.map((point, k) => [point, points[(k + 1) % points.length]]);
  for (let y = 0; y < side; y += 1) {
    const crossings = [];
    for (const [[x1, y1], [x2, y2]] of edges) {
      if (y1 <= y !== y2 <= y) crossings.push(x1 + ((y - y1) / (y2 - y1)) * (x2 - x1));
    }
    crossings.sort((a, b) => a - b);
    for (let k = 0; k + 1 < crossings.length; k += 2) fill(plane, y, crossings[k], crossings[k + 1]);
  }
  for (const [from, to] of edges) outline(plane, from, to);
  return plane;
}

function fill({ width, data }, y, from, to) {
  const first = Math.max(0, Math.round(from));
  const last = Math.min(width - 1, Math.round(to));
  if (last >= first) data.fill(1, y * width + first, y * width + last + 1);
}

function outline(plane, [x1, y1], [x2, y2]) {
  const steps = Math.max(1, Math.ceil(Math.max(Math.abs(x2 - x1), Math.abs(y2 - y1))));
  for (let k = 0; k <= steps; k += 1) {
    const x = Math.round(x1 + ((x2 - x1) * k) / steps);
    const y = Math.round(y1 + ((y2 - y1) * k) / steps);
    if (x >= 0 && x < plane.width && y >= 0 && y < plane.height) plane.data[y * plane.width + x] = 1;
  }
}

/** The plane without what is thinner than a disc of that radius (morphological opening). */
export function opened(plane, radius) {
  const minus = (picture) => map(picture, (value) => -value);
  return minus(least(minus(least(plane, radius)), radius));
}

/** The least value under a disc round each pixel; beyond the edge is nothing. */
function least(plane, radius) {
  const { width, height } = plane;
  const result = image(width, height, 1, new Float32Array(width * height).fill(Infinity));
  const across = new Map(); // half width of a disc's row -> the plane, each row's least over that width
  for (let down = -radius; down <= radius; down += 1) {
    const reach = round(radius * Math.sqrt((radius * radius - down * down) / (radius * radius)));
    if (!across.has(reach)) across.set(reach, leastOfRows(plane, reach));
    const rows = across.get(reach);
    for (let y = Math.max(0, -down); y < Math.min(height, height - down); y += 1) {
      lower(result.data.subarray(y * width, (y + 1) * width), rows.subarray((y + down) * width));
    }
  }
  return result;
}

function lower(row, other) {
  for (let x = 0; x < row.length; x += 1) if (other[x] < row[x]) row[x] = other[x];
}

/** The least of each pixel's row from `reach` before it to `reach` behind: of blocks from both of their ends. */
function leastOfRows({ width, height, data }, reach) {
  const size = 2 * reach + 1;
  const length = Math.ceil((width + 2 * reach) / size) * size;
  const [row, ahead, behind] = [0, 1, 2].map(() => new Float32Array(length));
  const result = new Float32Array(data.length);
  for (let y = 0; y < height; y += 1) {
    row.fill(Infinity);
    row.set(data.subarray(y * width, (y + 1) * width), reach);
    for (let start = 0; start < length; start += size) {
      ahead[start] = row[start];
      behind[start + size - 1] = row[start + size - 1];
      for (let k = 1; k < size; k += 1) {
        ahead[start + k] = Math.min(ahead[start + k - 1], row[start + k]);
        behind[start + size - 1 - k] = Math.min(behind[start + size - k], row[start + size - 1 - k]);
      }
    }
    for (let x = 0; x < width; x += 1) result[y * width + x] = Math.min(behind[x], ahead[x + size - 1]);
  }
  return result;
}
