// Pictures of local files, before the server has seen them. One is decoded at a time: photos are large.
const SIDE = 1600;
let last = Promise.resolve();

/** The file as a bitmap of at most 1600 pixels a side, upright; null where this browser cannot read its kind. */
export function openLocal(file) {
  const opened = last.then(() => shrunk(file)).catch(() => null);
  last = opened;
  return opened;
}

async function shrunk(file) {
  const whole = await createImageBitmap(file);
  const scale = SIDE / Math.max(whole.width, whole.height);
  if (scale >= 1) return whole;
  const size = {
    resizeWidth: Math.max(1, Math.round(whole.width * scale)),
    resizeHeight: Math.max(1, Math.round(whole.height * scale)),
    resizeQuality: "high",
  };
  const small = await createImageBitmap(whole, size);
  whole.close();
  return small;
}
