// What happens to a photo, in words and as a share.
import { t } from "./i18n.js";

const PARTS = { encode: "align", mask: "paste" }; // parts that people need not tell apart
const KNOWN = ["read", "detect", "align", "background", "decode", "paste", "write"];
// Of the whole bar: sending takes the first piece, waiting adds none.
const SENT = 0.15;

/** One line: what is being done. */
export function doing(item) {
  if (item.offline) return t("offline");
  switch (item.state) {
    case "busy":
      return t("busy", { n: Math.max(1, Math.ceil((item.retryAt - Date.now()) / 1000)) });
    case "queued":
      return item.job.position ? t("queued", { n: item.job.position }) : t("next");
    case "running": {
      const part = PARTS[item.job.part] ?? item.job.part;
      return t(KNOWN.includes(part) ? part : "running");
    }
    default:
      return t(item.state);
  }
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

/** One line: what came of it. */
export function facts({ job, chosen }) {
  const restored = job.faces.filter((face) => face.restored).length;
  if (restored === 0) return t("factsNone");
  return chosen.size === restored ? t("facts", { n: restored }) : t("factsSome", { n: chosen.size, all: restored });
}
