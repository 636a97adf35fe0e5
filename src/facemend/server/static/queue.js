// The photos and films of this page, from the file to the finished job: sends two at a time, asks how the jobs are, remembers
// them over a reload. Tells `onChange(item)` whatever happens.
import { ApiError, PAUSES, deleteJob, getJob, upload } from "./api.js";
import { isBusy, isPassing } from "./errors.js";
import { info, isFilm, limitsOf } from "./server.js";

const SENDING = 2;
const KEY = "facemend.jobs";
const MOVING = ["queued", "running"];

export const items = [];
let serial = 0;
let onChange = () => {};
let timer = null;

/** Be told of every change of an item. */
export function onItem(listener) {
  onChange = listener;
}

function newItem(fields) {
  serial += 1;
  const item = {
    key: serial,
    file: null,
    name: "",
    state: "waiting", // sending, busy, queued, running, done, failed, expired
    sent: 0,
    retryAt: 0,
    job: null,
    problem: null, // {status, detail}
    offline: false,
    w: 0.5,
    strength: 1,
    chosen: null, // Set of faces to restore; null: not known yet
    options: {},
    controller: new AbortController(),
    ...fields,
  };
  items.push(item);
  return item;
}

/** Take in files; returns the new items. `filmW`: w of films, null for the server's. */
export function add(files, { w, filmW, strength, options }) {
  const first = (file) => (isFilm({ file }) && info.films ? (filmW ?? info.films.w) : w);
  const looks = (file) => ({ file, name: file.name || "photo.png", w: first(file), strength, options: { ...options } });
  const added = files.map((file) => newItem(looks(file)));
  for (const item of added) {
    if (item.file.size > limitsOf(item).max_bytes) fail(item, new ApiError(413));
  }
  pump();
  return added;
}

/** Do a photo once more, with other options or after a failure; the job it had is given up. */
export function again(item, options = item.options) {
  const deleteOld = forget(item);
  const fresh = { state: "waiting", sent: 0, problem: null, offline: false, options: { ...options } };
  Object.assign(item, fresh, { controller: new AbortController() });
  onChange(item);
  deleteOld();
  pump();
}

/** Another w, strength or other faces for the result. */
export function change(item, { w = item.w, strength = item.strength, chosen = item.chosen }) {
  Object.assign(item, { w, strength, chosen });
  remember();
  onChange(item);
}

/**
 * Give w, strength and size of a photo to all other photos. Those whose size changes are restored again; {others, kept}: how
 * many there are, and how many of them keep their size, as the file is here no longer or the result would be too large.
 */
export function applyToOthers(item) {
  const { w, strength } = item;
  const upscale = item.options.upscale ?? item.job.upscale;
  const others = items.filter((each) => each !== item && !isFilm(each));
  let kept = 0;
  for (const other of others) {
    change(other, { w, strength });
    if (String(other.options.upscale ?? other.job?.upscale) === String(upscale)) continue;
    if (other.problem) other.options = { ...other.options, upscale }; // for another try
    else if (other.file && fits(other, upscale)) again(other, { ...other.options, upscale });
    else kept += 1;
  }
  return { others: others.length, kept };
}

/** Whether a photo may be enlarged so; before the server has seen it nobody knows. */
export function fits(item, upscale) {
  const { job } = item;
  return upscale === "auto" || !job || job.input_width * job.input_height * upscale ** 2 <= limitsOf(item).max_pixels;
}

/** What the server is to do with an item; some options go with photos only. */
function wishes(item) {
  const { background, grain, boxes, ...both } = item.options;
  return { w: item.w, strength: item.strength, ...(isFilm(item) ? both : item.options) };
}

/** Take a photo out of the list and off the server. */
export function remove(item) {
  const deleteOld = forget(item);
  items.splice(items.indexOf(item), 1);
  remember();
  onChange(item);
  deleteOld();
  pump();
}

/** Give up what is asked for a photo; the answer deletes it on the server, once the page shows nothing of it. */
function forget(item) {
  const { job, state } = item;
  item.controller.abort(new DOMException("given up", "AbortError"));
  item.job = null;
  // Gone already, or the server is away: it deletes the photo by itself when its time is over.
  return () => job && state !== "expired" && deleteJob(job.id).catch(() => {});
}

/** Something was asked of a job and failed: it may be that it is gone. */
export function fail(item, error) {
  const expired = error.status === 404;
  item.state = expired ? "expired" : "failed";
  item.problem = { status: error.status, detail: expired ? "" : error.detail };
  remember();
  onChange(item);
}

function pump() {
  if (items.some((item) => item.state === "busy")) return; // the server takes none of the others either
  const free = SENDING - items.filter((item) => item.state === "sending").length;
  for (const item of items.filter((each) => each.state === "waiting").slice(0, Math.max(0, free))) send(item);
}

async function send(item) {
  const { signal } = item.controller;
  item.state = "sending";
  item.sent = 0;
  onChange(item);
  try {
    const job = await upload(item.file, wishes(item), {
      signal,
      onProgress: (share) => {
        item.sent = share;
        onChange(item);
      },
    });
    if (signal.aborted) deleteJob(job.id).catch(() => {});
    else take(item, job);
  } catch (error) {
    if (!signal.aborted) {
      if (isBusy(error)) wait(item, error.retryAfter ?? 3);
      else fail(item, error instanceof ApiError ? error : new ApiError(-1, String(error)));
    }
  }
  pump();
}

/** The server is full: count down, then try again. */
function wait(item, seconds) {
  const { signal } = item.controller;
  item.state = "busy";
  item.retryAt = Date.now() + 1000 * Math.max(1, seconds);
  const tick = () => {
    if (signal.aborted) return;
    if (Date.now() >= item.retryAt) item.state = "waiting";
    else setTimeout(tick, 250);
    onChange(item);
    pump();
  };
  tick();
}

function take(item, job) {
  Object.assign(item, { job, offline: false, state: job.status, name: job.name });
  if (job.status === "failed") item.problem = { status: "job", detail: job.error ?? "" };
  if (job.status === "done") {
    const restored = job.faces.filter((face) => face.restored).map((face) => face.index);
    item.chosen = new Set(restored.filter((index) => item.chosen === null || item.chosen.has(index)));
  }
  remember();
  onChange(item);
  if (MOVING.includes(item.state) && timer === null) timer = setTimeout(look, PAUSES.soon);
}

async function look() {
  const moving = items.filter((item) => MOVING.includes(item.state));
  await Promise.all(moving.map(lookAt));
  const left = items.filter((item) => MOVING.includes(item.state));
  const soon = left.some((item) => item.state === "running" || item.job.position === 0) && !document.hidden;
  timer = left.length ? setTimeout(look, soon ? PAUSES.soon : PAUSES.later) : null;
}

async function lookAt(item) {
  const { job, controller } = item;
  try {
    const now = await getJob(job.id, controller.signal);
    if (!controller.signal.aborted) take(item, now);
  } catch (error) {
    if (controller.signal.aborted) return;
    if (isPassing(error)) {
      item.offline = true;
      onChange(item);
    } else fail(item, error);
  }
}

/** Keep what a reload of the page needs; no longer than this tab is open. */
function remember() {
  const kept = items.filter(({ job, state }) => job && job.status !== "failed" && state !== "expired");
  const rows = kept.map(({ job, w, strength, chosen }) => ({ id: job.id, w, strength, chosen: chosen && [...chosen] }));
  try {
    sessionStorage.setItem(KEY, JSON.stringify(rows));
  } catch {
    // then a reload starts anew
  }
}

/** The photos of before a reload that the server still has. */
export async function recall() {
  let rows = [];
  try {
    rows = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
  } catch {
    // nothing that can be read
  }
  const jobs = await Promise.all(rows.map((row) => recalled(row.id)));
  rows.forEach((row, index) => {
    if (jobs[index] === null) return;
    const chosen = row.chosen && new Set(row.chosen);
    // A film without its file cannot be made with another look than it has.
    const { w, strength = 1 } = jobs[index].frames === null ? row : jobs[index];
    take(newItem({ w, strength, chosen }), jobs[index]);
  });
}

/** A job of before a reload, once the server says how it is; null: it is gone. */
async function recalled(id) {
  for (;;) {
    try {
      return await getJob(id);
    } catch (error) {
      if (!isPassing(error)) return null;
      await new Promise((resolve) => setTimeout(resolve, PAUSES.later));
    }
  }
}
