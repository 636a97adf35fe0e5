// What happens to a photo, in words and as a share.
import { has, t } from "./i18n.js";
import { isFilm } from "./server.js";

const PARTS = { encode: "align", mask: "paste" }; // parts that people need not tell apart
const KNOWN = ["load", "read", "detect", "align", "background", "decode", "paste", "write"];
// Of the whole bar: sending takes the first piece, waiting adds none.
const SENT = 0.15;

/** The key of a sentence about an item: films have some of their own. */
export const keyOf = (item, key) => (isFilm(item) && has(`${key}Film`) ? `${key}Film` : key);

/** One line: what is being done. */
export function doing(item) {
  if (item.offline) return t("offline");
  switch (item.state) {
    case "busy":
      return t("busy", { n: Math.max(1, Math.ceil((item.retryAt - Date.now()) / 1000)) });
    case "queued":
      return item.job.position ? t(keyOf(item, "queued"), { n: item.job.position }) : t("next");
    case "running": {
      const part = PARTS[item.job.part] ?? item.job.part;
      if (part === "frames") return t("frameOf", { n: item.job.frame, all: item.job.frames });
      return t(keyOf(item, KNOWN.includes(part) ? part : "running"));
    }
    case "done":
      return t(hasFaces(item.job) ? "done" : item.job.faces.length ? "doneLeft" : "doneNone");
    default:
      return t(keyOf(item, item.state));
  }
}

/** The faces of a finished job that were restored. */
export const restoredFaces = (job) => job.faces.filter((face) => face.restored);

/** Whether faces were restored; what a film's job says of them is a note. */
export function hasFaces(job) {
  return job.frames === null ? restoredFaces(job).length > 0 : !job.notes.some((note) => note.startsWith("no face "));
}

/** One line: what is seen while another look of a photo is on its way; see `Preview`. */
export function stillShown({ shown, wanted, trouble }) {
  if (trouble) return t(trouble);
  if (shown === null) return t("stillBefore");
  if (shown.w !== wanted.w) return t("stillW", { w: shown.w === "auto" ? t("autoW") : shown.w.toFixed(2) });
  if (shown.strength !== wanted.strength) return t("stillStrength", { n: Math.round(100 * shown.strength) });
  return t(shown.faces === wanted.faces ? "sharpening" : "stillFaces");
}

/** How far it is, 0 to 1. */
export function share(item) {
  switch (item.state) {
    case "sending":
      return SENT * item.sent;
    case "queued":
      return SENT;
    case "running":
      return SENT + (1 - SENT) * item.job.progress;
    case "done":
      return 1;
    default:
      return 0;
  }
}

/** One line: what came of it. Faces that auto leaves as they are count as left. */
export function facts(item) {
  const { job, chosen } = item;
  if (job.frames !== null && hasFaces(job)) return t("factsFilm", { n: job.frames });
  const changed = restoredFaces(job).filter((face) => !leftByAuto(item, face));
  if (changed.length === 0) return job.faces.length ? t("factsLeft", { n: job.faces.length }) : t("factsNone");
  const taken = changed.filter((face) => chosen.has(face.index)).length;
  return taken === changed.length ? t("facts", { n: taken }) : t("factsSome", { n: taken, all: changed.length });
}

/** Why auto leaves a face as it is, in the API's words; "" where it does not, or is not asked. */
export const leftByAuto = (item, { auto }) => (item.w === "auto" && auto?.left) || "";

// What the API says of a face, phrase by phrase (photo/auto.py and photo/auto.js).
const SAID = {
  sharp: "looksSharp",
  "some noise": "looksNoise",
  "strong noise": "looksStrongNoise",
  "some JPEG": "looksJpeg",
  "strong JPEG": "looksStrongJpeg",
  "about # px of real detail": "looksDetail",
  "as sharp as the model's # px": "leftSharp",
  "the model would not bring it closer to what it was": "leftNoGain",
};

/** The API's words of a face in the page's language; phrases that it does not know stay as they are. */
export function translated(said) {
  const phrases = said.split(", ").map((phrase) => {
    const key = SAID[phrase.replace(/\d+/, "#")];
    return key ? t(key, { n: Number(/\d+/.exec(phrase)?.[0]) }) : phrase;
  });
  return phrases.join(", ");
}
