// Running a graph: onnxruntime-web on the CPU, in as many threads as the page may have.
import { download, readList } from "./download.js";

const MOST_THREADS = 4;
const RUNTIME = "ort";

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

/** {nets, side, threads}: all nets of a folder's list; `onProgress(share)` is told how much of it has come. */
export async function openNets(base, { threads = usableThreads(), onProgress = () => {} } = {}) {
  const { files, side } = await readList(base);
  const all = Object.values(files).reduce((sum, { bytes }) => sum + bytes, 0);
  let come = 0;
  const onBytes = (count) => {
    come += count;
    onProgress(come / all);
  };
  const waiting = Object.entries(files).map(async ([name, file]) => [name, await download(base, file, onBytes)]);
  const [ort, bytes] = await Promise.all([import(new URL("ort.wasm.min.js", base).href), Promise.all(waiting)]);
  const { [RUNTIME]: wasm, ...graphs } = Object.fromEntries(bytes);
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = { mjs: new URL("ort-wasm-simd-threaded.js", base).href };
  ort.env.wasm.wasmBinary = wasm;
  const nets = {};
  for (const [name, graph] of Object.entries(graphs)) {
    nets[name] = new Net(ort, await ort.InferenceSession.create(graph, { executionProviders: ["wasm"] }));
  }
  return { nets, side, threads };
}
