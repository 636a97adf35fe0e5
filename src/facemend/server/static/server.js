// What this server can do and its limits, known once `learn` is through.
import { getInfo } from "./api.js";

// What people call their photos; rarer kinds are read too, but not named.
const NAMES = { ".jpg": "JPEG", ".png": "PNG", ".webp": "WebP", ".heic": "HEIC", ".avif": "AVIF", ".tiff": "TIFF" };
const HERE = ["localhost", "127.0.0.1", "[::1]"];

export const info = { formats: [], max_bytes: Infinity, max_pixels: Infinity, keep_seconds: 3600 };

/** Ask the server. */
export async function learn() {
  Object.assign(info, await getInfo());
}

/** What a file chooser is to offer. */
export const accepted = () => info.formats.join(",");

/** JPEG, PNG ...: the kinds of photos that can be read. */
export function formatNames() {
  return Object.keys(NAMES).filter((suffix) => info.formats.includes(suffix)).map((suffix) => NAMES[suffix]);
}

/** Whether the server is the computer that shows the page. */
export const isHere = () => HERE.includes(location.hostname);
