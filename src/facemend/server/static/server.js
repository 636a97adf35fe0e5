// What this server can do and its limits, known once `learn` is through.
import { getInfo } from "./api.js";

// What people call their photos; rarer kinds are read too, but not named.
const NAMES = { ".jpg": "JPEG", ".png": "PNG", ".webp": "WebP", ".heic": "HEIC", ".avif": "AVIF", ".tiff": "TIFF" };
const HERE = ["localhost", "127.0.0.1", "[::1]"];

const FILM_NAMES = { ".mp4": "MP4", ".mov": "MOV", ".webm": "WebM", ".mkv": "MKV", ".avi": "AVI" };

export const info = { formats: [], films: null, max_bytes: Infinity, max_pixels: Infinity, keep_seconds: 3600 };

/** Ask the server. */
export async function learn() {
  Object.assign(info, await getInfo());
}

/** What a file chooser is to offer. */
export const accepted = () => [...info.formats, ...(info.films ? ["video/*", ...info.films.formats] : [])].join(",");

/** Whether an item is a film: as the server found it, or before that by its file. */
export function isFilm({ job, file }) {
  if (job) return job.frames !== null;
  if (!file) return false;
  const suffix = /\.[^.]*$/.exec(file.name.toLowerCase())?.[0];
  return file.type.startsWith("video/") || Boolean(info.films?.formats.includes(suffix));
}

/** Most bytes and pixels of an item. */
export const limitsOf = (item) => (isFilm(item) && info.films) || info;

/** JPEG, PNG ...: the kinds of photos that can be read. */
export const formatNames = () => named(NAMES, info.formats);

/** MP4, MOV ...: the kinds of films. */
export const filmNames = () => named(FILM_NAMES, info.films?.formats ?? []);

const named = (names, formats) =>
  Object.keys(names).filter((suffix) => formats.includes(suffix)).map((suffix) => names[suffix]);

/** Whether the server is the computer that shows the page. */
export const isHere = () => HERE.includes(location.hostname);
