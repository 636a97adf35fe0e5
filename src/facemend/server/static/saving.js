// Taking results home: one as it is, or all in a ZIP archive that is made here.
import { ApiError, getResult } from "./api.js";
import { make } from "./dom.js";
import { facesOf } from "./preview.js";
import { fail, items } from "./queue.js";
import { isFilm } from "./server.js";
import { Zip } from "./zip.js";

/** What is being made, {n, all}, or null; and what did not work, [{name, problem}]. */
export const saving = { now: null, failures: [] };

/** Save the results of these photos as they are shown; `onChange` is called as `saving` changes. */
export async function save(chosen, onChange) {
  // A film has the look that it was made with.
  const lookOf = (item) => (isFilm(item) ? {} : { w: item.w, strength: item.strength, faces: facesOf(item) });
  const wanted = chosen.map((item) => ({ item, id: item.job.id, look: lookOf(item), signal: item.controller.signal }));
  saving.failures = [];
  let zip = new Zip();
  for (const [index, one] of wanted.entries()) {
    saving.now = { n: index + 1, all: wanted.length };
    onChange();
    try {
      const { blob, name } = await getResult(one.id, one.look, one.signal);
      if (wanted.length === 1) give(blob, name);
      else {
        if (!zip.hasRoom(blob)) {
          give(zip.blob(), "facemend.zip");
          zip = new Zip();
        }
        await zip.add(name, blob);
      }
    } catch (error) {
      failed(one, error);
    }
  }
  if (zip.count) give(zip.blob(), "facemend.zip");
  saving.now = null;
  onChange();
}

/** The photo is still there, unless it has expired: only the download did not work. */
function failed({ item, id }, error) {
  if (!items.includes(item) || item.job?.id !== id) return; // deleted or done anew meanwhile
  if (error.status === 404) fail(item, error);
  else saving.failures.push({ name: item.name, problem: error instanceof ApiError ? error : new ApiError(0) });
}

function give(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
