// Running a graph: onnxruntime-web on the CPU, in as many threads as the page may have; or on the graphics card.
import { download, readList } from "./download.js";

const MOST_THREADS = 4;
// On the processor all that the runtime can do to a graph takes it longer than a photo gains, a second for the two large ones;
// on the graphics card weights have to be widened before: 8-bit ones would come back to the processor for it each time.
const BUILDS = {
  wasm: { script: "ort.wasm.min.js", loader: "ort-wasm-simd-threaded.js", options: { graphOptimizationLevel: "basic" } },
  webgpu: {
    script: "ort.webgpu.min.js",
    loader: "ort-wasm-simd-threaded.asyncify.js",
    options: { extra: { session: { disable_quant_qdq: "1" } } },
  },
};

/** Threads where pages may share memory; else one. */
export const usableThreads = () =>
  globalThis.crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1) : 1;

class Net {
  constructor(ort, session) {
    Object.assign(this, { ort, session });
  }

  /** Inputs by name, [data, dims] each, to outputs by name, {data, dims} each. */
  async run(inputs) {
    const kind = (data) => (data instanceof Float32Array ? "float32" : "int64");
    const wanted = this.session.inputNames.map((name) => [name, inputs[name]]);
    const feeds = wanted.map(([name, [data, dims]]) => [name, new this.ort.Tensor(kind(data), data, dims)]);
    return this.session.run(Object.fromEntries(feeds));
  }
}

/** A build of the runtime, "wasm" or "webgpu", with its program as bytes: gives what opens a graph, of bytes too. */
async function openRuntime(base, build, program, threads) {
  const { script, loader, options } = BUILDS[build];
  const ort = await import(new URL(script, base).href);
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = { mjs: new URL(loader, base).href };
  ort.env.wasm.wasmBinary = program;
  const all = { executionProviders: [build], logSeverityLevel: 3, ...options }; // errors
  return async (graph) => new Net(ort, await ort.InferenceSession.create(graph, all));
}

/** {nets, side, threads}: all nets of a folder's list; `onProgress(share)` is told how much of it has come. */
export async function openNets(base, { threads = usableThreads(), onProgress = () => {} } = {}) {
  const { files, side } = await readList(base);
  const all = Object.values(files).reduce((sum, { bytes }) => sum + bytes, 0);
  let come = 0;
  const onBytes = (count) => {
    come += count;
    onProgress(come / all);
  };
  const fetched = ([name, file]) => download(base, file, onBytes).then((bytes) => [name, bytes]);
  const { ort, ...graphs } = files;
  const runtime = download(base, ort, onBytes).then((program) => openRuntime(base, "wasm", program, threads));
  const waiting = Object.entries(graphs).sort(([, a], [, b]) => a.bytes - b.bytes).map(fetched);
  const nets = {};
  // The small ones first: while the runtime compiles for them, the large ones come.
  const opened = (async () => {
    const open = await runtime;
    for (const each of waiting) {
      const [name, graph] = await each;
      nets[name] = await open(graph);
    }
  })();
  await Promise.all([opened, ...waiting]);
  return { nets, side, threads };
}

/** Whether there is a graphics card, and not the processor in its place. */
export async function hasGpu() {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  return Boolean(adapter) && !adapter.info?.isFallbackAdapter;
}

/** What the graphics card needs, fetched. */
export async function fetchForGpu(base) {
  const { files, gpu } = await readList(base);
  const wanted = { ort: gpu, encode: files.encode, decode: files.decode };
  const waiting = Object.entries(wanted).map(async ([name, file]) => [name, await download(base, file, () => {})]);
  return Object.fromEntries(await Promise.all(waiting));
}

/** Encoder and decoder on the graphics card, of what was fetched; where a run fails there, the given ones do it. */
export async function openOnGpu(base, { ort, encode, decode }, spare) {
  const open = await openRuntime(base, "webgpu", ort, 1);
  const either = (net, other) => ({ run: (inputs) => net.run(inputs).catch(() => other.run(inputs)) });
  return { encode: either(await open(encode), spare.encode), decode: either(await open(decode), spare.decode) };
}
