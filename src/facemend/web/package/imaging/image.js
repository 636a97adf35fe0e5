// Pictures as plain arrays: {width, height, channels, data}, row by row, RGB. Floats lie in [0, 1], bytes in 0..255.

/** A picture of floats; black where no data is given. */
export const image = (width, height, channels, data = new Float32Array(width * height * channels)) => ({
  width,
  height,
  channels,
  data,
});

/** A picture of the same shape. */
export const like = ({ width, height, channels }, data) => image(width, height, channels, data);

/** What a value of that picture is to be multiplied with to lie in [0, 1]. */
export const unitOf = ({ data }) => (data instanceof Float32Array ? 1 : 1 / 255);

/** The same with every value changed. */
export function map(picture, change) {
  const data = picture.data.slice();
  for (let at = 0; at < data.length; at += 1) data[at] = change(data[at]);
  return like(picture, data);
}

/** Of two pictures of one shape. */
export function both(a, b, mix) {
  const [data, other] = [a.data.slice(), b.data];
  for (let at = 0; at < data.length; at += 1) data[at] = mix(data[at], other[at]);
  return like(a, data);
}

/** What one picture has more than another: of `both` the busiest, without a call for each number. */
export function minus(a, b) {
  const [data, other] = [a.data.slice(), b.data];
  for (let at = 0; at < data.length; at += 1) data[at] -= other[at];
  return like(a, data);
}

/** Floats in [0, 1]; floats are given back as they are. */
export function toFloat(picture) {
  const unit = unitOf(picture);
  if (unit === 1) return picture;
  const { data } = picture;
  const floats = new Float32Array(data.length);
  for (let at = 0; at < data.length; at += 1) floats[at] = data[at] * unit;
  return like(picture, floats);
}

/** Floats in [0, 1] as bytes. */
export function toBytes(picture) {
  const { data } = picture;
  const bytes = new Uint8ClampedArray(data.length);
  for (let at = 0; at < data.length; at += 1) bytes[at] = 255 * data[at];
  return like(picture, bytes);
}

/** The part from (x1, y1) to before (x2, y2). */
export function cut(picture, x1, y1, x2, y2) {
  const { width, channels, data } = picture;
  const row = (x2 - x1) * channels;
  const part = image(x2 - x1, y2 - y1, channels, new data.constructor(row * (y2 - y1)));
  for (let y = y1; y < y2; y += 1) {
    const start = (y * width + x1) * channels;
    part.data.set(data.subarray(start, start + row), (y - y1) * row);
  }
  return part;
}

/** BT.601 luma of a picture of floats, as a plane. */
export function luma({ width, height, data }) {
  const plane = image(width, height, 1);
  for (let at = 0, from = 0; at < plane.data.length; at += 1, from += 3) {
    plane.data[at] = 0.299 * data[from] + 0.587 * data[from + 1] + 0.114 * data[from + 2];
  }
  return plane;
}

/** Turned by quarter turns, counter-clockwise. */
export function turned(picture, turns) {
  let result = picture;
  for (let turn = 0; turn < turns % 4; turn += 1) result = turnedOnce(result);
  return result;
}

function turnedOnce({ width, height, channels, data }) {
  const result = image(height, width, channels, new data.constructor(data.length));
  for (let y = 0; y < width; y += 1) {
    for (let x = 0; x < height; x += 1) {
      const from = (x * width + width - 1 - y) * channels;
      for (let c = 0; c < channels; c += 1) result.data[(y * height + x) * channels + c] = data[from + c];
    }
  }
  return result;
}

/** Planes one after the other, as networks want them: each value times `scale`, plus `shift`. */
export function planes({ width, height, channels, data }, scale = 1, shift = 0) {
  const size = width * height;
  const result = new Float32Array(data.length);
  for (let c = 0, to = 0; c < channels; c += 1) {
    for (let from = c; to < (c + 1) * size; to += 1, from += channels) result[to] = data[from] * scale + shift;
  }
  return result;
}

/** Clipped to [0, 1], in place. */
export function clip(picture) {
  const { data } = picture;
  for (let at = 0; at < data.length; at += 1) {
    const value = data[at];
    if (value < 0) data[at] = 0;
    else if (value > 1) data[at] = 1;
  }
  return picture;
}

/** As Python rounds: halves to the even number. */
export function round(value) {
  const down = Math.floor(value);
  const rest = value - down;
  return rest > 0.5 || (rest === 0.5 && down % 2 !== 0) ? down + 1 : down;
}
