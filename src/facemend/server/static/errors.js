// From what the server says to what a person can do about it.
import { duration, has, megabytes, t } from "./i18n.js";
import { filmNames, formatNames, info } from "./server.js";

/** Answers after which the same request is worth another try by itself. */
export const isBusy = (error) => error.status === 429 || error.status === 503;

/** Failures that say nothing of what was asked for: the server is away, busy, or in trouble of its own. */
export const isPassing = (error) => error.status === 0 || error.status === 429 || error.status >= 500;

/** {title, fix, detail}: two sentences of ours, and the server's own line; `film`: it is about a film. */
export function explain(problem, film = false) {
  const films = film ? info.films : null;
  const values = {
    formats: (films ? filmNames() : formatNames()).join(", "),
    size: megabytes((films ?? info).max_bytes),
    length: duration(films?.max_seconds ?? 0),
    pixels: films ? films.max_pixels : Math.floor(info.max_pixels / 1e6),
    time: duration(info.keep_seconds),
  };
  const kind = `error${kindOf(problem.status)}`;
  const key = (end) => (films && has(`${kind}${end}Film`) ? `${kind}${end}Film` : `${kind}${end}`);
  return { title: t(key("")), fix: t(key("Fix"), values), detail: problem.detail };
}

function kindOf(status) {
  if (status === "job") return "Job";
  if (status === "load") return "Load";
  switch (status) {
    case 0:
      return "Network";
    case 404:
      return "Expired";
    case 408:
      return "Slow";
    case 413:
      return "Large";
    case 415:
      return "Kind";
    case 400:
    case 409:
    case 422:
      return "Settings";
    case 507:
      return "Full";
    default:
      return "Server";
  }
}
