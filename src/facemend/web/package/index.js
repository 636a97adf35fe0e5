// Restore faces in photos, in the browser: `const restorer = await Restorer.load()`, `await restorer.restore(file, {w})`.
import { Problem } from "./problem.js";

export { Problem };

const MAX_PIXELS = 36e6;
const givenUp = () => new DOMException("given up", "AbortError");

export class Restorer {
  #worker;
  #calls = new Map(); // id -> {resolve, reject, onPart}
  #serial = 0;
  #tried = false; // the graphics card
  #closed = false;

  constructor(worker) {
    this.#worker = worker;
    worker.addEventListener("message", ({ data }) => this.#told(data));
    worker.addEventListener("error", ({ message }) => {
      for (const { reject } of this.#calls.values()) reject(new Problem("load", message || "the program did not load"));
      this.#calls.clear();
    });
  }

  /** Fetch the networks and start; see index.d.ts for the options. */
  static async load({ base = new URL("./models/", import.meta.url), threads, gpu = true, maxPixels = MAX_PIXELS, onProgress } = {}) {
    const restorer = new Restorer(new Worker(new URL("./worker.js", import.meta.url), { type: "module" }));
    const onPart = (_, share) => onProgress?.(share);
    restorer.#tried = !gpu;
    try {
      const folder = String(new URL(base, location.href));
      Object.assign(restorer, await restorer.#call("load", { base: folder, threads, limit: maxPixels }, onPart));
    } catch (error) {
      restorer.close();
      throw error;
    }
    return restorer;
  }

  /** Restore the faces of a photo: a file (Blob), an ImageBitmap or ImageData. */
  async restore(source, { w = 0.5, strength = 1, upscale = "auto", boxes = [], onPart } = {}) {
    this.#serial += 1;
    const key = this.#serial;
    const facts = await this.#call("restore", { key, source, options: { upscale, boxes } }, onPart);
    if (facts.matrices.length) this.#quicken();
    return new Result((command, given) => this.#call(command, { key, ...given }, onPart), facts, { w, strength, faces: null });
  }

  /** Once there is a face to compare: see whether the graphics card is quicker. */
  async #quicken() {
    if (this.#tried) return;
    this.#tried = true;
    this.device = await this.#call("quicken", {}).catch(() => "cpu");
  }

  /** End the worker; what is under way fails. */
  close() {
    this.#closed = true;
    this.#worker.terminate();
    for (const { reject } of this.#calls.values()) reject(givenUp());
    this.#calls.clear();
  }

  async #call(command, given, onPart) {
    if (this.#closed) throw givenUp();
    this.#serial += 1;
    const id = this.#serial;
    this.#worker.postMessage({ id, command, given });
    return new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject, onPart }));
  }

  #told({ id, part, share, problem, result }) {
    const call = this.#calls.get(id);
    if (part) {
      call?.onPart?.(part, share);
      return;
    }
    this.#calls.delete(id);
    if (problem) call?.reject(new Problem(problem.status, problem.message));
    else call?.resolve(result);
  }
}

/** A photo whose faces are found and encoded: another w, strength or choice of faces costs little. */
class Result {
  #call;

  constructor(call, facts, look) {
    this.#call = call;
    Object.assign(this, facts, { look });
  }

  /** The restored photo with that look, as ImageBitmap of at most `side` pixels a side. */
  bitmap(look = {}, side = Infinity) {
    return this.#call("look", { look: this.#looked(look), side });
  }

  /** The photo as it was, in the size of the result. */
  before(side = Infinity) {
    return this.#call("look", { look: null, side });
  }

  /** The restored photo as a file, with the metadata of the photo's own. */
  file(look = {}, { stripMetadata = false } = {}) {
    return this.#call("file", { look: this.#looked(look), stripMetadata });
  }

  /** An aligned face as PNG: restored with that w; null: as it was. */
  face(index, w = null) {
    return this.#call("face", { index, w });
  }

  /** Let go of what the photo holds in memory. */
  close() {
    return this.#call("forget", {});
  }

  #looked({ w, strength, faces }) {
    const look = { w: w ?? this.look.w, strength: strength ?? this.look.strength };
    return { ...look, chosen: faces === undefined ? this.look.faces : faces };
  }
}
