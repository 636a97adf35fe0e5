// Pictures of local files, before the server has seen them. One is decoded at a time: photos are large.
import { make } from "./dom.js";
import { isFilm } from "./server.js";

const SIDE = 1600;
const PATIENCE = 5000; // ms for the first frame of a film
let last = Promise.resolve();

/** The file (of a film its first frame) as a bitmap of at most 1600 pixels a side, upright; null where this browser cannot read its kind. */
export function openLocal(file) {
  const opened = last.then(() => (isFilm({ file }) ? firstFrame(file) : shrunk(file))).catch(() => null);
  last = opened;
  return opened;
}

async function firstFrame(file) {
  const url = URL.createObjectURL(file);
  const film = make("video", { muted: true, preload: "auto", src: url });
  try {
    await new Promise((resolve, reject) => {
      film.addEventListener("loadeddata", resolve);
      film.addEventListener("error", reject);
      setTimeout(reject, PATIENCE);
    });
    return await shrunk(film);
  } finally {
    film.removeAttribute("src");
    URL.revokeObjectURL(url);
  }
}

async function shrunk(source) {
  const whole = await createImageBitmap(source);
  const scale = SIDE / Math.max(whole.width, whole.height);
  if (scale >= 1) return whole;
  const size = {
    resizeWidth: Math.max(1, Math.round(whole.width * scale)),
    resizeHeight: Math.max(1, Math.round(whole.height * scale)),
    resizeQuality: "high",
  };
  const small = await createImageBitmap(whole, size);
  whole.close();
  return small;
}
