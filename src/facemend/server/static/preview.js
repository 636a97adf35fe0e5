// The restored photo with any w and strength: one request at a time, the newest wish next. A moving slider thus gets
// pictures as fast as the server can make them; what was asked for another photo is aborted.
import { getPreview } from "./api.js";
import { isBusy } from "./errors.js";

const KEEP = 26e6; // pixels of pictures that come back without a request
const PAUSE = 40; // ms; a slider moves in smaller steps

/** `faces` of the API: null where all are restored. */
export function facesOf(item) {
  const restored = item.job.faces.filter((face) => face.restored);
  return item.chosen.size === restored.length ? null : [...item.chosen].sort((a, b) => a - b).join(",");
}

export class Preview {
  /**
   * Called: onPicture(item, bitmap), onOffline(is it), onError(item, error), and onWaiting with null or {shown, wanted,
   * trouble}: the look that is seen (null: none yet), the one on its way, and "offline" or "busyLook" if it takes tries.
   */
  constructor({ onPicture, onWaiting, onOffline, onError }) {
    Object.assign(this, { onPicture, onWaiting, onOffline, onError });
    this.kept = new Map();
    this.shown = null; // {key, look} of the picture that was given last
    this.trouble = "";
    this.wish = null; // what is wanted, until it is there
    this.running = null; // {wish, controller}
    this.timer = null;
  }

  /** Show a finished photo as the item says now. */
  show(item, side) {
    const look = { w: item.w, strength: item.strength, faces: facesOf(item), side };
    const key = JSON.stringify([item.job.id, look]);
    if (this.wish?.key === key || (this.wish === null && this.shown?.key === key)) return;
    const kept = this.kept.get(key);
    this.wish = kept ? null : { key, item, id: item.job.id, look };
    if (kept) {
      this.#give(key, item, look, kept);
    } else {
      this.#tell();
      // The first look waits for no slider, and is asked for before whatever else this change of the page asks for.
      if (this.shown) this.#later(PAUSE);
      else queueMicrotask(() => this.#go());
    }
  }

  /** Another photo is next: nothing of the last one is wanted any more. */
  stop() {
    this.wish = this.shown = null;
    this.running?.controller.abort();
    this.#tell("");
  }

  #tell(trouble = this.trouble) {
    this.trouble = trouble;
    this.onWaiting(this.wish && { shown: this.shown?.look ?? null, wanted: this.wish.look, trouble });
  }

  #later(milliseconds) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#go(), milliseconds);
  }

  async #go() {
    const wish = this.wish;
    if (wish === null || this.running) return;
    const controller = new AbortController();
    this.running = { wish, controller };
    this.#tell();
    let pause = 0;
    try {
      const bitmap = await getPreview(wish.id, wish.look, controller.signal);
      if (controller.signal.aborted) bitmap.close();
      else this.#arrived(wish, bitmap);
    } catch (error) {
      if (!controller.signal.aborted) {
        this.onOffline(error.status === 0);
        if (error.status === 0 || isBusy(error)) {
          pause = 1000 * (error.retryAfter ?? 1);
          this.#tell(error.status === 0 ? "offline" : "busyLook");
        } else this.#failed(wish, error);
      }
    }
    this.running = null;
    if (this.wish !== null) this.#later(pause);
  }

  #arrived(wish, bitmap) {
    this.kept.set(wish.key, bitmap);
    let pixels = 0;
    for (const [key, { width, height }] of [...this.kept].reverse()) {
      pixels += width * height;
      if (pixels <= KEEP) continue;
      this.kept.get(key).close();
      this.kept.delete(key);
    }
    this.onOffline(false);
    if (this.wish === null) return; // a kept picture has been wanted and shown meanwhile
    if (this.wish.key === wish.key) this.wish = null;
    this.#give(wish.key, wish.item, wish.look, bitmap);
  }

  #give(key, item, look, bitmap) {
    this.shown = { key, look };
    this.#tell("");
    this.onPicture(item, bitmap);
  }

  #failed(wish, error) {
    if (this.wish?.key === wish.key) this.wish = null;
    this.#tell("");
    this.onError(wish.item, error);
  }
}
