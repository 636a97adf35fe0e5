/** "load": a file of the networks did not come; 413: the photo is too large; 415: no picture; "job": anything else. */
export class Problem extends Error {
  readonly status: "load" | "job" | 413 | 415;
}

/** Parts of the work: load, read, detect, align, encode, background, decode, mask, paste, write. */
export type OnPart = (part: string, share: number | null) => void;

export interface LoadOptions {
  /** Folder of the networks, ending with "/"; default: `models/` beside this file. */
  base?: string | URL;
  /** Default: up to 4 where the page is cross-origin isolated, else 1. */
  threads?: number;
  /**
   * Whether encoder and decoder may move to the graphics card (default): after the first face, where WebGPU is, that draws the
   * same (40 dB) and is quicker. It takes another 7 MB, which are fetched beside the work.
   */
  gpu?: boolean;
  /** Most pixels of a photo and of a result; default: 36 million. */
  maxPixels?: number;
  /** Told the share of the networks that has come, 0 to 1. */
  onProgress?: (share: number) => void;
}

export interface Look {
  /** Fidelity weight, 0 (most redrawn) to 1 (closest to the photo), or "auto": of each face its own; default 0.5. */
  w?: number | "auto";
  /** How much of a restored face is blended in, 0 to 1; default 1. */
  strength?: number;
}

export interface RestoreOptions extends Look {
  /** Size of the result, times that of the photo; "auto" (default): by the size of the faces. */
  upscale?: 1 | 2 | 4 | "auto";
  /** Further faces by hand: x1, y1, x2, y2 in pixels of the upright photo. */
  boxes?: [number, number, number, number][];
  onPart?: OnPart;
}

export interface FaceOfPhoto {
  index: number;
  /** x1, y1, x2, y2 in pixels of the upright photo. */
  box: [number, number, number, number];
  /** Left eye, right eye, nose tip, mouth corners, in the same pixels. */
  landmarks: [number, number][];
  /** 0 to 1. */
  score: number;
  restored: boolean;
  /** Why it was left as it is. */
  reason: string | null;
  /** How damaged a restored face was, in words; null: the model says nothing. */
  looks?: string | null;
  /** What w = "auto" does with it; `left`: why it leaves it as it is, or "". */
  auto?: { w: number; strength: number; left: string } | null;
}

/** A photo whose faces are found and encoded: another w, strength or choice of faces costs little. */
export interface Result {
  readonly inputWidth: number;
  readonly inputHeight: number;
  readonly width: number;
  readonly height: number;
  /** How many times as large as the photo. */
  readonly factor: number;
  /** From left to right; restored ones first. */
  readonly faces: FaceOfPhoto[];
  /** Of each restored face the affine map a, b, c, d, e, f from the photo's pixels to its crop: x' = a x + b y + c ... */
  readonly matrices: [number, number, number, number, number, number][];
  readonly notes: string[];
  /** Of each part of the work. */
  readonly seconds: Record<string, number>;
  /** The restored photo, at most `side` pixels a side. `faces`: indices of those to restore; null: all. */
  bitmap(look?: Look & { faces?: number[] | null }, side?: number): Promise<ImageBitmap>;
  /** The photo as it was, in the size of the result. */
  before(side?: number): Promise<ImageBitmap>;
  /** As a file of the photo's kind (else PNG), with its colour profile and, unless stripped, its metadata. */
  file(look?: Look & { faces?: number[] | null }, options?: { stripMetadata?: boolean }): Promise<Blob>;
  /** An aligned face as PNG: restored with that w; null: as it was. */
  face(index: number, w?: number | "auto" | null): Promise<Blob>;
  /** Let go of what the photo holds in memory. */
  close(): Promise<void>;
}

export class Restorer {
  /** Threads that the networks run in. */
  readonly threads: number;
  /** Where encoder and decoder run. */
  readonly device: "cpu" | "gpu";
  /** Fetch the networks (once) and start a worker. Throws a `Problem`. */
  static load(options?: LoadOptions): Promise<Restorer>;
  /** Restore the faces of a photo. Throws a `Problem`. */
  restore(source: Blob | ImageBitmap | ImageData, options?: RestoreOptions): Promise<Result>;
  /** End the worker; what is under way, and what is asked of it or its results later, fails with an AbortError. */
  close(): void;
}
