// w by itself: from the diagnosis of a face to its w and strength, and to words. Numbers as in photo/auto.py.
const LIKENESS = 0.6;
const GAIN = 0.03;
const FULL_GAIN = 0.07;
const SHARP = 0.7;
const WS = [0, 0.25, 0.5, 0.75, 1];

/** A row of the graph's output; a face has no more resolution than `pixels`, those that it had in the photo. */
export function diagnosisOf(row, pixels) {
  const [resolution, blur, noise, jpeg, ...rest] = row;
  const n = WS.length;
  const said = { resolution: Math.min(resolution, pixels), blur, noise, jpeg };
  return { ...said, lpips: rest.slice(0, n), lpipsPhoto: rest[n], identity: rest.slice(n + 1, 2 * n + 1) };
}

/** What is done with a face of a model of that side: {w, strength, left}; `left`: why it is left as it is, or "". */
export function choose({ resolution, lpips, lpipsPhoto, identity }, side) {
  const most = Math.max(LIKENESS, Math.min(...identity));
  const kept = WS.map((_, index) => index).filter((index) => identity[index] <= most);
  const index = kept.reduce((best, other) => (lpips[other] < lpips[best] ? other : best));
  const gain = lpipsPhoto - lpips[index];
  const strength = Math.round(100 * Math.min(1, Math.max(0, (gain - GAIN) / (FULL_GAIN - GAIN)))) / 100;
  const sharp = `as sharp as the model's ${side} px`;
  const why = resolution >= SHARP * side ? sharp : "the model would not bring it closer to what it was";
  return { w: WS[index], strength, left: strength ? "" : why };
}

/** A diagnosis for people. */
export function inWords({ resolution, noise, jpeg }, side) {
  const step = resolution < 20 ? 1 : resolution < 100 ? 5 : 10;
  const rounded = Math.max(1, step * Math.round(resolution / step));
  const said = [resolution >= SHARP * side ? "sharp" : `about ${rounded} px of real detail`];
  if (noise >= 1.5) said.push(noise >= 5 ? "strong noise" : "some noise");
  if (jpeg <= 75) said.push(jpeg <= 55 ? "strong JPEG" : "some JPEG");
  return said.join(", ");
}
