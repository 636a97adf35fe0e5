// The server's HTTP API. Every failure is an ApiError. A site without a server has another file in the place of this one.
import { ApiError } from "./api_error.js";

export { ApiError };

/** Milliseconds from what is known of a job to the next question: of the next in turn, and of others. */
export const PAUSES = { soon: 300, later: 1200 };

const ROOT = new URL("../api/", import.meta.url);

let askForToken = async () => {
  throw new ApiError(401);
};

/** What to do when the server asks for its token; resolves once it has been given. */
export function onTokenNeeded(ask) {
  askForToken = ask;
}

function failure(status, header, text) {
  let detail = "";
  try {
    detail = String(JSON.parse(text).detail ?? "");
  } catch {
    // not from our server, but from something before it
  }
  const seconds = Number.parseFloat(header("Retry-After") ?? "");
  return new ApiError(status, detail, Number.isFinite(seconds) ? seconds : null);
}

async function request(path, { method = "GET", query = {}, json, signal } = {}) {
  const url = new URL(path, ROOT);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined) url.searchParams.set(name, value);
  }
  const init = { method, signal };
  if (json !== undefined) {
    init.headers = { "Content-Type": "application/json" };
    init.body = JSON.stringify(json);
  }
  let response;
  try {
    response = await fetch(url, init);
  } catch (error) {
    throw signal?.aborted ? error : new ApiError(0);
  }
  if (response.ok) return response;
  if (response.status === 401 && path !== "login") {
    await askForToken();
    return request(path, { method, query, json, signal });
  }
  throw failure(response.status, (name) => response.headers.get(name), await response.text());
}

const jobPath = (id, rest = "") => `jobs/${encodeURIComponent(id)}${rest}`;
const json = async (path, options) => (await request(path, options)).json();

export const getInfo = () => json("info");
export const getJob = (id, signal) => json(jobPath(id), { signal });
export const login = (token) => request("login", { method: "POST", json: { token } });
export const deleteJob = (id) => request(jobPath(id), { method: "DELETE" });

/** The restored photo for the page, as ImageBitmap. `faces`: "0,2", "" for none, or null for all. */
export const getPreview = (id, { w, strength, faces, side }, signal) =>
  picture(jobPath(id, "/preview"), { query: { w, strength, faces, side }, signal });

/** The photo as it was, in the same shape. */
export const getBefore = (id, side, signal) =>
  patiently(() => picture(jobPath(id, "/before"), { query: { side }, signal }), signal);

async function picture(path, options) {
  const response = await request(path, options);
  const blob = await response.blob().catch(() => {
    throw new ApiError(0); // it broke off
  });
  return createImageBitmap(blob);
}

/** The restored photo or film itself and the name to save it under. */
export function getResult(id, { w, strength, faces }, signal) {
  return patiently(async () => {
    const response = await request(jobPath(id, "/result"), { query: { w, strength, faces }, signal });
    const blob = await response.blob().catch(() => {
      throw new ApiError(0); // it broke off
    });
    return { blob, name: fileName(response.headers.get("Content-Disposition") ?? "") };
  }, signal);
}

/** Ask again while the server is busy or away, for some seconds. */
async function patiently(ask, signal, tries = 8) {
  try {
    return await ask();
  } catch (error) {
    if (signal?.aborted || tries <= 1 || ![0, 429, 503].includes(error.status)) throw error;
    await new Promise((resolve) => setTimeout(resolve, 1000 * (error.retryAfter ?? 1)));
    return patiently(ask, signal, tries - 1);
  }
}

const FACE_TRIES = 10;

/** Let a picture show an aligned face; `when` is "before" or "after". */
export function showFace(picture, id, face, when, w) {
  const url = new URL(jobPath(id, `/faces/${face}/${when}`), ROOT);
  if (when === "after") url.searchParams.set("w", w);
  if (picture.src === url.href) return;
  let tries = FACE_TRIES;
  // A server that looks after many faces at once sends some away; they are asked for again as long as they are wanted.
  picture.onerror = () => {
    tries -= 1;
    if (tries > 0) setTimeout(() => picture.src === url.href && (picture.src = url.href), 1000);
  };
  picture.src = url.href;
}

/** Address of something of a job. */
export const fileUrl = (id, what) => new URL(jobPath(id, `/${what}`), ROOT).href;

/** Send a photo or film; `onProgress` is told the share that has gone out. XMLHttpRequest, as fetch does not tell. */
export function upload(file, fields, { onProgress, signal }) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.set(name, String(value));
  form.set("photo", file, file.name || "photo.png");
  const send = () =>
    new Promise((resolve, reject) => {
      const sending = new XMLHttpRequest();
      sending.open("POST", new URL("jobs", ROOT));
      sending.upload.addEventListener("progress", (event) => onProgress(event.loaded / event.total));
      sending.addEventListener("error", () => reject(new ApiError(0)));
      sending.addEventListener("abort", () => reject(signal.reason));
      sending.addEventListener("load", () => {
        if (sending.status === 202) resolve(JSON.parse(sending.responseText));
        else reject(failure(sending.status, (name) => sending.getResponseHeader(name), sending.responseText));
      });
      signal.addEventListener("abort", () => sending.abort(), { once: true });
      sending.send(form);
    });
  return send().catch(async (error) => {
    if (error.status !== 401) throw error;
    await askForToken();
    return send();
  });
}

function fileName(disposition) {
  const encoded = /filename\*=UTF-8''([^;]+)/i.exec(disposition);
  if (encoded) return decodeURIComponent(encoded[1]);
  return /filename="([^"]+)"/i.exec(disposition)?.[1] ?? "restored";
}
