// Sums over pixels as WebAssembly: JavaScript needs some visits to become as quick. simd.wat says what they are.
const PROGRAM =
  "AGFzbQEAAAABLARgBn9/f39/fwBgBH9/fX8AYAd/f39/f39/AGANf39/f39/f39/f39/fwF/AwUEAAECAwUDAQABBykFBm1lbW9yeQIABXdlaWdoAAADYWRk" +
  "AAEGYWNyb3NzAAIFc2hhcnAAAwrqBQSfAQIFfwF7IAAgBUECdGohBiADIARBAnRqIQgCQANAIAAgBk8NASAD/QkCACAB/QAEAP3mASELIAMhByABIQkgASEK" +
  "AkADQCAHIAhPDQEgB0EEaiEHIAkgAmshCSAKIAJqIQogCyAH/QkCACAJ/QAEACAK/QAEAP3kAf3mAf3kASELDAALCyAAIAv9CwQAIABBEGohACABQRBqIQEM" +
  "AAsLC0cBAX8gACADQQJ0aiEEAkADQCAAIARPDQEgACAA/QAEACAC/RMgAf0ABAD95gH95AH9CwQAIABBEGohACABQRBqIQEMAAsLC4oBAgN/AXsgACAGIAJs" +
  "aiEHAkADQCAAIAdPDQEgASADKAIAIAJsaiEJ/QwAAAAAAAAAAAAAAAAAAAAAIQogBSEIA0AgCiAE/QkCACAJ/QAEAP3mAf3kASEKIARBBGohBCAJIAJqIQkg" +
  "CEEBayIIDQALIAAgCv0LBAAgACACaiEAIANBBGohAwwACwsL8gICDH8CeyAEQQF2QQFrIRMCQANAIA0gDE8NAQJAIAsEQEMAAAAAIAsgDUECdGoqAgBbDQEL" +
  "IAcgBSANQQJ0aigCAGpBBXUhDiAIIAYgDUECdGooAgBqQQV1IQ8gDkEFdSATayEQIA9BBXUgE2shESAQIAlPIBEgCk9yBEAgEkEBaiESDAELIAEgESACbCAQ" +
  "QQxsamohFSADIA9BH3EgBGxBAnRqIRj9DAAAAAAAAAAAAAAAAAAAAAAhGiAEIREDQCADIA5BH3EgBGxBAnRqIRf9DAAAAAAAAAAAAAAAAAAAAAAhGSAVIRQg" +
  "BCEWA0AgGSAX/QkCACAU/QAEAP3mAf3kASEZIBdBBGohFyAUQQxqIRQgFkEBayIWDQALIBogGP0JAgAgGf3mAf3kASEaIBhBBGohGCAVIAJqIRUgEUEBayIR" +
  "DQALIAAgDUEMbGogGv1bAwAAIAAgDUEMbGogGv1aAggCCyANQQFqIQ0MAAsLIBILALUDBG5hbWUCzgIEAAwAAnRvAQRmcm9tAgRzdGVwAwZrZXJuZWwEBGhh" +
  "bGYFBWNvdW50BgNlbmQHAWsIBGxhc3QJBmJlZm9yZQoGYmVoaW5kCwNzdW0BBQACdG8BBGZyb20CBndlaWdodAMFY291bnQEA2VuZAILAAJ0bwEEZnJvbQIE" +
  "c2l6ZQMFZmlyc3QEBndlaWdodAUEdGFwcwYFd2lkdGgHA2VuZAgBawkCYXQKA3N1bQMbAAJ0bwEGc291cmNlAgVwaXRjaAMHa2VybmVscwQEdGFwcwUHYWNy" +
  "b3NzWAYHYWNyb3NzWQcGc3RhcnRYCAZzdGFydFkJBXJvb21YCgVyb29tWQsFd2hlcmUMBXdpZHRoDQF4DgF1DwF2EARsZWZ0EQN0b3ASBmJleW9uZBMFcmVh" +
  "Y2gUAmF0FQNyb3cWAWsXAnd4GAJ3eRkEbGluZRoDc3VtA10EAAQABGRvbmUBBG5leHQCBnN1bW1lZAMDdGFwAQIABGRvbmUBBG5leHQCAwAEZG9uZQEEbmV4" +
  "dAIDdGFwAwUABGRvbmUBBG5leHQCBXBpeGVsBQRkb3duBgN0YXA=";

const bytes = Uint8Array.from(atob(PROGRAM), (letter) => letter.charCodeAt(0));
const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes));
export const { weigh, add, across, sharp } = exports;

const PAGE = 65536;
const LEAST = 16; // nothing lies at 0, which says "none"

/** Memory for lists of so many numbers each: their places in bytes, as floats, and as whole numbers; until the next call. */
export function room(...counts) {
  let end = LEAST;
  const places = counts.map((count) => {
    const place = end;
    end += (4 * count + 31) & ~15; // and what a run may read beyond its end
    return place;
  });
  const missing = end - exports.memory.buffer.byteLength;
  if (missing > 0) exports.memory.grow(Math.ceil(missing / PAGE));
  const lists = (Kind) => counts.map((count, k) => new Kind(exports.memory.buffer, places[k], count));
  return { places, floats: lists(Float32Array), wholes: lists(Int32Array) };
}
