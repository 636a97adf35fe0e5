// Pictures in and out, by the browser's own decoders. A photo: {pixels, alpha, gray, type, parts}.
import { Problem } from "../problem.js";
import { inspect, withParts } from "./files.js";
import { image } from "./image.js";
import { resize } from "./resize.js";

const WRITABLE = ["image/jpeg", "image/png", "image/webp"];
const QUALITY = 0.95;

/** From a file (Blob), an ImageBitmap or ImageData; of more than `maxPixels` none. */
export async function readPhoto(source, maxPixels) {
  const isFile = source instanceof Blob;
  const facts = isFile ? inspect(new Uint8Array(await source.arrayBuffer())) : { type: "image/png", gray: false, parts: [] };
  checkSize(facts, maxPixels);
  const bitmap = isFile ? await decoded(source, facts.parts.some(({ profile }) => profile)) : source;
  checkSize(bitmap, maxPixels);
  const { width, height } = bitmap;
  const rgba = bitmap instanceof ImageData ? bitmap.data : contextWith(bitmap).getImageData(0, 0, width, height).data;
  if (isFile) bitmap.close();
  const pixels = image(width, height, 3, new Uint8ClampedArray(3 * width * height));
  const alpha = image(width, height, 1, new Uint8ClampedArray(width * height));
  let opaque = true;
  for (let at = 0, to = 0; at < rgba.length; at += 4, to += 3) {
    pixels.data[to] = rgba[at];
    pixels.data[to + 1] = rgba[at + 1];
    pixels.data[to + 2] = rgba[at + 2];
    alpha.data[at / 4] = rgba[at + 3];
    opaque &&= rgba[at + 3] === 255;
  }
  return { pixels, alpha: opaque ? null : alpha, gray: facts.gray, type: facts.type, parts: facts.parts };
}

function checkSize({ width, height }, maxPixels) {
  if (width * height > maxPixels) {
    const million = (count) => (count / 1e6).toFixed(0);
    throw new Problem(413, `${width}x${height} is ${million(width * height)} megapixels, over the limit of ${million(maxPixels)}`);
  }
}

/** Upright. Numbers stay as they are in the file where its colour profile goes along with them. */
async function decoded(file, keepsProfile) {
  const colours = keepsProfile ? "none" : "default";
  try {
    return await createImageBitmap(file, { colorSpaceConversion: colours, imageOrientation: "from-image" });
  } catch {
    throw new Problem(415, "this file is no picture that this browser can read");
  }
}

function contextWith(bitmap) {
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  return context;
}

/** Pixels of bytes, and alpha or null, as ImageData. */
export function imageData({ width, height, data }, alpha = null) {
  const rgba = new Uint8ClampedArray(4 * width * height);
  for (let at = 0, from = 0; at < rgba.length; at += 4, from += 3) {
    rgba[at] = data[from];
    rgba[at + 1] = data[from + 1];
    rgba[at + 2] = data[from + 2];
    rgba[at + 3] = alpha ? alpha.data[at / 4] : 255;
  }
  return new ImageData(rgba, width, height);
}

/** A photo's alpha in the size of the result; null: it has none. */
export const alphaOf = ({ alpha }, { width, height }) => alpha && resize(alpha, width, height, "lanczos");

/** A file with those pixels: of the photo's own kind where browsers write it, else PNG; with what its file said. */
export async function writePhoto(pixels, photo, stripMetadata) {
  const type = WRITABLE.includes(photo.type) ? photo.type : "image/png";
  const canvas = new OffscreenCanvas(pixels.width, pixels.height);
  canvas.getContext("2d").putImageData(imageData(pixels, alphaOf(photo, pixels)), 0, 0);
  const file = await canvas.convertToBlob({ type, quality: QUALITY });
  const parts = photo.parts.filter(({ profile }) => profile || !stripMetadata);
  return new Blob(withParts(new Uint8Array(await file.arrayBuffer()), file.type, parts), { type: file.type });
}
