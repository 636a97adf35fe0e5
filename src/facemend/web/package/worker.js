// The pipeline beside the page: takes commands, one at a time; looks come before faces' pictures and photos that wait.
import { FaceDetector } from "./predictors/detector.js";
import { FaceMasker } from "./predictors/masker.js";
import { Mtcnn } from "./predictors/mtcnn.js";
import { FaceRestorer } from "./predictors/restorer.js";
import { toBytes } from "./imaging/image.js";
import { alphaOf, imageData, readPhoto, writePhoto } from "./imaging/reading.js";
import { resize } from "./imaging/resize.js";
import { PhotoRestorer } from "./photo/restore.js";
import { fetchForGpu, hasGpu, openNets, openOnGpu } from "./runtime/onnx.js";

const KEPT_BYTES = 400e6; // of photos that another look starts from; older ones are made again from their source
const waiting = [];
const kept = new Map(); // key -> what `prepare` gave, the one that was looked at last comes last
const orders = new Map(); // key -> {source, options}
const LATER = { face: 1, restore: 2, quicken: 2 };
const SAME = 40; // dB between what graphics card and processor draw
const PATIENCE = 10_000; // ms for the graphics card's trial: others wait meanwhile
let restorer = null;
let folder = "";
let maxPixels = Infinity;
let working = false;

const commands = {
  async load({ base, threads, limit }, tell) {
    const { nets, side, ...facts } = await openNets(base, { threads, onProgress: (share) => tell("load", share) });
    [maxPixels, folder] = [limit, base];
    const [detector, masker] = [new FaceDetector(new Mtcnn(nets)), new FaceMasker(nets)];
    restorer = new PhotoRestorer({ detector, masker, restorer: new FaceRestorer(nets, side) });
    return { ...facts, device: "cpu" };
  },

  /** Let the graphics card draw from now on if it is quicker and draws the same; which of both it is. */
  async quicken({ fetched }) {
    const face = [...kept.values()].flatMap(({ faces }) => faces)[0];
    if (!fetched || !face) return "cpu";
    const usual = restorer.restorer;
    const spare = { encode: usual.encoder, decode: usual.decoder };
    const other = new FaceRestorer(await openOnGpu(folder, fetched, spare), usual.side);
    const slow = await timed(usual, face.crop);
    const given = new Promise((resolve) => setTimeout(resolve, PATIENCE, null));
    const quick = await Promise.race([timed(other, face.crop), given]);
    if (quick === null || quick.seconds >= slow.seconds || psnr(quick.crop, slow.crop) < SAME) return "cpu";
    restorer.restorer = other;
    return "gpu";
  },

  async restore({ key, source, options }, tell) {
    orders.set(key, { source, options });
    const ready = await prepared(key, tell).catch((error) => {
      orders.delete(key); // nobody can ask for it again
      throw error;
    });
    const { photo, output, faces, skipped, factor, notes, seconds } = ready;
    const done = faces.map(({ face, looks = null, auto = null }) => ({ face: { ...face, looks, auto }, reason: null }));
    const said = [...done, ...skipped];
    return {
      inputWidth: photo.pixels.width,
      inputHeight: photo.pixels.height,
      width: output.width,
      height: output.height,
      type: photo.type,
      faces: said.map(({ face, reason }, index) => ({ index, ...face, restored: reason === null, reason })),
      matrices: faces.map(({ matrix }) => matrix),
      factor,
      notes,
      seconds,
    };
  },

  /** The photo before, or with a look, at most `side` pixels long. */
  async look({ key, look, side }, tell) {
    const ready = await prepared(key, tell);
    const pixels = look ? (await restorer.finish(ready, { ...look, onPart: tell })).pixels : ready.output;
    const scale = Math.min(1, side / Math.max(pixels.width, pixels.height));
    const small = resize(pixels, ...[pixels.width, pixels.height].map((length) => Math.max(1, Math.round(length * scale))));
    return createImageBitmap(imageData(small, alphaOf(ready.photo, small)));
  },

  async file({ key, look, stripMetadata }, tell) {
    const ready = await prepared(key, tell);
    const { pixels } = await restorer.finish(ready, { ...look, onPart: tell });
    tell("write");
    return writePhoto(pixels, ready.photo, stripMetadata);
  },

  /** An aligned face as PNG; `w` null: as it was. */
  async face({ key, index, w }, tell) {
    const face = (await prepared(key, tell)).faces[index];
    const crop = w === null ? face.crop : await restorer.restored(face, w);
    return writePhoto(toBytes(crop), { type: "image/png", alpha: null, parts: [] }, true);
  },

  forget({ key }) {
    kept.delete(key);
    orders.delete(key);
  },
};

/** The second of two runs: the first one prepares. */
async function timed(network, crop) {
  await network.decode(await network.encode(crop), 0.5);
  const start = performance.now();
  const drawn = await network.decode(await network.encode(crop), 0.5);
  return { crop: drawn, seconds: (performance.now() - start) / 1000 };
}

function psnr({ data }, other) {
  const error = data.reduce((sum, value, at) => sum + (value - other.data[at]) ** 2, 0) / data.length;
  return -10 * Math.log10(Math.max(error, 1e-12));
}

async function prepared(key, tell) {
  let ready = kept.get(key);
  if (!ready) {
    const { source, options } = orders.get(key);
    tell("read");
    const photo = await readPhoto(source, maxPixels / (options.upscale === "auto" ? 1 : options.upscale ** 2));
    ready = await restorer.prepare(photo, { ...options, maxPixels, onPart: tell });
  }
  kept.delete(key);
  kept.set(key, ready);
  let bytes = 0;
  for (const [old, { photo, output, faces }] of [...kept].reverse()) {
    bytes += photo.pixels.data.length + output.data.length + 8e6 * faces.length;
    if (bytes > KEPT_BYTES && old !== key) kept.delete(old);
  }
  return ready;
}

async function work() {
  if (working) return;
  working = true;
  await new Promise((resolve) => setTimeout(resolve)); // what is asked for together comes together
  while (waiting.length) {
    const turns = waiting.map(({ command }) => LATER[command] ?? 0);
    const [{ id, command, given }] = waiting.splice(turns.indexOf(Math.min(...turns)), 1);
    const tell = (part, share = null) => postMessage({ id, part, share });
    try {
      const result = await commands[command](given, tell);
      postMessage({ id, result }, result instanceof ImageBitmap ? [result] : []);
    } catch (error) {
      postMessage({ id, problem: { status: error.status ?? "job", message: error.message } });
    }
  }
  working = false;
}

addEventListener("message", async ({ data }) => {
  if (data.command === "quicken" && (await hasGpu())) data.given.fetched = await fetchForGpu(folder).catch(() => null);
  waiting.push(data);
  work();
});
