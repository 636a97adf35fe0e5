// Files of the networks: fetched, compared with the list, unpacked.
import { Problem } from "../problem.js";

const AGAIN = "check the connection and try again";

/** The list of the files that belong to a folder. */
export async function readList(base) {
  const read = async (cache) => (await get(new URL("models.json", base), cache)).json();
  return read("no-cache").catch(() => read("reload")).catch((error) => {
    throw error instanceof Problem ? error : new Problem("load", `models.json broke off: ${AGAIN}`);
  });
}

/** A file of the list as bytes; `onBytes(count)` is told what has come. */
export async function download(base, row, onBytes) {
  // What a cache has kept in its place, such as a host's page of errors, is asked for once more past all caches.
  const packed = await fetched(base, row, onBytes, "default").catch(() => fetched(base, row, () => {}, "reload"));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(unpacked).arrayBuffer());
}

/** The bytes of a file as they come, once they are whole and those of the list. */
async function fetched(base, { file, bytes, sha256 }, onBytes, cache) {
  const answer = await get(new URL(file, base), cache);
  const packed = new Uint8Array(bytes);
  let length = 0;
  try {
    const reader = answer.body.getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      packed.set(part.value, length); // too many: a RangeError, and it is another file
      length += part.value.length;
      onBytes(part.value.length);
    }
  } catch {
    length = -1;
  }
  if (length !== bytes) throw new Problem("load", `${file} broke off: ${AGAIN}`);
  if (globalThis.crypto?.subtle && (await digest(packed)) !== sha256) {
    throw new Problem("load", `${file} is damaged, or of another version: load the page again`);
  }
  return packed;
}

async function get(url, cache) {
  const answer = await fetch(url, { cache }).catch(() => null);
  if (!answer?.ok) throw new Problem("load", `${url.pathname.split("/").at(-1)} could not be loaded: ${AGAIN}`);
  return answer;
}

async function digest(bytes) {
  const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(sum, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
