// What the page asks of a server elsewhere, done on this page by a worker: photos never leave it.
import { Restorer } from "../facemend-web/index.js";
import { ApiError } from "./api_error.js";
import { started } from "./site.js";

export { ApiError };

/** `getJob` waits for news itself; between them the page has time to be drawn. */
export const PAUSES = { soon: 50, later: 50 };

const FORMATS = { ".jpeg": "image/jpeg", ".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".avif": "image/avif" };
const SUFFIXES = Object.fromEntries(Object.entries(FORMATS).map(([suffix, type]) => [type, suffix]));
const MAX_BYTES = 100e6;
const [MAX_PIXELS, SMALL_PIXELS] = [36e6, 16e6]; // of a result; where there is little memory
const PROGRESS = { read: 0.1, detect: 0.15, align: 0.5, encode: 0.55, background: 0.8 };
const LOADING = 0.6; // share of a job's bar that the networks take where they have to come first
const jobs = new Map(); // id -> {file, options, job, result, error, seen, from}
const info = {
  version: document.querySelector("meta[name=version]").content,
  formats: Object.keys(FORMATS),
  films: null,
  max_bytes: MAX_BYTES,
  max_pixels: (navigator.deviceMemory ?? 8) < 4 ? SMALL_PIXELS : MAX_PIXELS,
  keep_seconds: null, // as long as the page is open
  models: [{ name: "", default: true }],
  upscales: ["auto", 1, 2, 4],
  backgrounds: ["lanczos"],
  token: false,
};
let networks = null; // promise of the Restorer
let come = 0; // share of the networks
let last = Promise.resolve(); // the job that was taken in last
let version = 0; // grows with every change of a job
let onChange = () => {};

export async function getInfo() {
  await started;
  load().catch(() => {}); // whoever needs it is told
  return info;
}

/** The networks; a load that failed is tried again by the next photo. */
function load() {
  const onProgress = (share) => {
    if (Math.floor(100 * share) === Math.floor(100 * come)) return;
    come = share;
    for (const { job } of jobs.values()) if (job.part === "load") job.progress = LOADING * Math.min(1, share);
    told();
  };
  networks ??= Restorer.load({ maxPixels: info.max_pixels, onProgress }).catch((error) => {
    networks = null;
    come = 0;
    throw error;
  });
  return networks;
}

function told() {
  version += 1;
  onChange();
}

const problem = ({ status = "job", message }) => new ApiError(status, message);

function entryOf(id) {
  if (!jobs.has(id)) throw new ApiError(404);
  return jobs.get(id);
}

/** Take a photo in; `fields` as the server's form has them. */
export async function upload(file, fields) {
  if (file.size > MAX_BYTES) throw new ApiError(413);
  const id = crypto.randomUUID?.() ?? String(Math.random());
  const { w, strength, upscale = "auto", boxes = "", strip_metadata = false } = fields;
  const before = [...jobs.values()].filter(({ job }) => ["queued", "running"].includes(job.status)).length;
  const job = { id, status: "queued", position: before, part: null, progress: 0, error: null, name: file.name };
  const asked = { w, strength, upscale, strip_metadata, model: "", format: file.type, expires: null, created: Date.now() / 1000 };
  Object.assign(job, asked, { frame: null, frames: null, faces: [], notes: [], seconds: {} });
  const options = {
    w,
    strength,
    upscale: upscale === "auto" ? upscale : Number(upscale),
    boxes: boxes ? boxes.split(";").map((box) => box.split(",").map(Number)) : [],
    onPart: (part) => {
      const { from } = entry;
      Object.assign(job, { part, progress: part in PROGRESS ? from + (1 - from) * PROGRESS[part] : job.progress });
      told();
    },
  };
  const entry = { file, options, job, result: null, error: null, seen: -1, from: 0 };
  jobs.set(id, entry);
  last = last.then(() => run(entry));
  return { ...job };
}

async function run(entry) {
  const { file, options, job } = entry;
  for (const other of jobs.values()) if (other.job.position) other.job.position -= 1;
  if (!jobs.has(job.id)) return; // deleted meanwhile
  entry.from = come < 1 ? LOADING : 0;
  Object.assign(job, { status: "running", position: null, part: "load", progress: come < 1 ? LOADING * come : 0 });
  told();
  try {
    entry.result = await (await load()).restore(file, options);
    const { inputWidth: input_width, inputHeight: input_height, width, height, factor, notes, seconds } = entry.result;
    const faces = entry.result.faces.map(({ index, box, restored, reason, looks = null, auto = null }) => {
      return { index, box, restored, reason, looks, auto };
    });
    Object.assign(job, { input_width, input_height, width, height, factor, notes, seconds, faces, status: "done", progress: 1 });
    if (!jobs.has(job.id)) entry.result.close();
  } catch (error) {
    entry.error = problem(error);
    job.status = "failed";
  }
  told();
}

/** How a job is, once anything is new. */
export async function getJob(id, signal) {
  const entry = entryOf(id);
  if (entry.seen === version) {
    await new Promise((resolve) => {
      const before = onChange;
      onChange = () => {
        onChange = before;
        before();
        resolve();
      };
      signal?.addEventListener("abort", resolve, { once: true });
    });
  }
  entry.seen = version;
  if (entry.error) throw entry.error;
  return { ...entry.job };
}

export async function deleteJob(id) {
  const { result } = entryOf(id);
  jobs.delete(id);
  await result?.close();
}

const lookOf = ({ w, strength, faces }) => ({
  w,
  strength,
  faces: typeof faces === "string" ? faces.split(",").filter(Boolean).map(Number) : null,
});

/** What a finished job's photo is asked for. */
async function asked(id, ask) {
  try {
    return await ask(entryOf(id).result);
  } catch (error) {
    throw error instanceof ApiError ? error : problem(error);
  }
}

export const getPreview = (id, look) => asked(id, (result) => result.bitmap(lookOf(look), look.side));
export const getBefore = (id, side) => asked(id, (result) => result.before(side));

/** The restored photo as a file, and the name to save it under. */
export async function getResult(id, look) {
  const { job } = entryOf(id);
  const blob = await asked(id, (result) => result.file(lookOf(look), { stripMetadata: job.strip_metadata }));
  const stem = job.name.replace(/\.[^.]*$/, "") || "photo";
  return { blob, name: `${stem}_restored${SUFFIXES[blob.type]}` };
}

const wanted = new WeakMap(); // picture -> what it is to show

/** Let a picture show an aligned face; `when` is "before" or "after". */
export async function showFace(picture, id, face, when, w) {
  const key = [id, face, when, w].join();
  if (wanted.get(picture) === key && picture.src) return;
  wanted.set(picture, key);
  const blob = await asked(id, (result) => result.face(Number(face), when === "after" ? w : null)).catch(() => null);
  if (blob === null || wanted.get(picture) !== key) return;
  const url = URL.createObjectURL(blob);
  for (const end of ["load", "error"]) picture.addEventListener(end, () => URL.revokeObjectURL(url), { once: true });
  picture.src = url;
}

// What only a server has: a token, and films.
export const onTokenNeeded = () => {};
export const login = () => Promise.reject(new ApiError(404));
export const fileUrl = () => "";
