// What a photo's file says beside its pixels, and putting that into the file of the result: EXIF, XMP and IPTC of JPEG, texts
// of PNG, and the colour profile of both.
const textOf = (bytes) => String.fromCharCode(...bytes);
const ORIENTATION = 0x0112;
const COLOURS = ["iCCP", "sRGB", "cICP", "gAMA", "cHRM"]; // chunks of PNG that say what its numbers mean
const TEXTS = ["iTXt", "tEXt", "zTXt"];
const LIKE = { "image/jpeg": jpegParts, "image/png": pngParts };

/** {type, width, height, gray, parts}; sizes are null where only decoding tells them. `parts`: [{profile, bytes, start, end}]. */
export function inspect(bytes) {
  const type = kindOf(bytes);
  const facts = { type, width: null, height: null, channels: 3, gray: false, parts: [] };
  if (type in LIKE) Object.assign(facts, LIKE[type](bytes));
  facts.gray = facts.channels === 1;
  // What is written is RGB: a profile of gray or CMYK would not fit it.
  if (facts.channels !== 3) facts.parts = facts.parts.filter(({ profile }) => !profile);
  return facts;
}

function kindOf(bytes) {
  const start = textOf(bytes.subarray(0, 16));
  if (start.startsWith("\xff\xd8\xff")) return "image/jpeg";
  if (start.startsWith("\x89PNG\r\n\x1a\n")) return "image/png";
  if (start.startsWith("RIFF") && start.slice(8, 12) === "WEBP") return "image/webp";
  return start.slice(4, 12) === "ftypavif" ? "image/avif" : "";
}

const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** The file with those parts in the place of its own; an orientation says "upright", as the pixels are. */
export function withParts(bytes, type, parts) {
  if (parts.length === 0) return [bytes];
  const at = type === "image/jpeg" ? afterStart(bytes) : 33; // behind the first segment; behind IHDR
  const pieces = [bytes.subarray(0, at), ...parts.map((part) => part.bytes)];
  let from = at;
  for (const { start, end } of inspect(bytes).parts) {
    pieces.push(bytes.subarray(from, start));
    from = end;
  }
  return [...pieces, bytes.subarray(from)];
}

/** Behind the start of a JPEG and its JFIF segment, which comes first. */
function afterStart(bytes) {
  return bytes[3] === 0xe0 ? 4 + view(bytes).getUint16(4) : 2;
}

function jpegParts(bytes) {
  const data = view(bytes);
  const found = { parts: [] };
  for (let at = 2; at + 9 < bytes.length && bytes[at] === 0xff; ) {
    const marker = bytes[at + 1];
    const end = at + 2 + data.getUint16(at + 2);
    if (marker === 0xda || end > bytes.length) break;
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      Object.assign(found, { height: data.getUint16(at + 5), width: data.getUint16(at + 7), channels: bytes[at + 9] });
    }
    const name = textOf(bytes.subarray(at + 4, at + 16));
    const profile = marker === 0xe2 && name.startsWith("ICC_PROFILE\0");
    if (profile || marker === 0xe1 || marker === 0xed) {
      const part = bytes.slice(at, end);
      if (name.startsWith("Exif\0\0")) upright(part.subarray(10));
      if (name.startsWith("http://ns.ad")) mendXmp(part);
      found.parts.push({ profile, bytes: part, start: at, end });
    }
    at = end;
  }
  return found;
}

function pngParts(bytes) {
  if (bytes.length < 33) return {}; // cut off: the decoder says so
  const data = view(bytes);
  const channels = [0, 4].includes(bytes[25]) ? 1 : 3;
  const found = { width: data.getUint32(16), height: data.getUint32(20), channels, parts: [] };
  for (let at = 8; at + 12 <= bytes.length; ) {
    const [length, name] = [data.getUint32(at), textOf(bytes.subarray(at + 4, at + 8))];
    const end = at + 12 + length;
    if (name === "IEND" || end > bytes.length) break;
    const profile = COLOURS.includes(name);
    if (profile || TEXTS.includes(name)) found.parts.push({ profile, bytes: bytes.slice(at, end), start: at, end });
    at = end;
  }
  return found;
}

// What XMP says that is true no more, and the digit that is: pictures are written upright, and no film lies behind them.
const SAID = [
  [/tiff:Orientation(\s*=\s*["']|>)[2-8]/, "1"],
  [/:(MotionPhoto|MicroVideo)(\s*=\s*["']|>)1/, "0"],
];

/** Makes a block of XMP true of what is written, in place. */
function mendXmp(part) {
  const text = new TextDecoder("latin1").decode(part);
  for (const [words, digit] of SAID) {
    const said = words.exec(text);
    if (said) part[said.index + said[0].length - 1] = digit.charCodeAt(0);
  }
}

/** Sets the orientation of a block of EXIF to 1, in place, and cuts off its thumbnail: the photo as it was, not upright. */
function upright(tiff) {
  if (tiff.length < 14) return;
  const data = view(tiff);
  const little = tiff[0] === 0x49;
  const start = data.getUint32(4, little);
  if (start + 2 > tiff.length) return;
  const count = data.getUint16(start, little);
  const end = start + 2 + 12 * count;
  for (let at = start + 2; at + 12 <= Math.min(tiff.length, end); at += 12) {
    if (data.getUint16(at, little) === ORIENTATION) data.setUint16(at + 8, 1, little);
  }
  if (end + 4 <= tiff.length) data.setUint32(end, 0, little);
}
