// A ZIP archive of files as they are: photos are compressed already. It is a Blob of Blobs, which browsers keep on the
// disk where they are large; files are read in pieces, for their checksum.
const LIMIT = 0xffffffff; // bytes of an archive without ZIP64
const HEADERS = 1000; // bytes of a file's two headers, at most: names have 100 signs
const UTF8 = 0x0800;
const TABLE = Uint32Array.from({ length: 256 }, (_, start) => {
  let value = start;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

export class Zip {
  #parts = [];
  #list = []; // headers of the directory at the end
  #size = 0;
  #names = new Set();

  /** Files that it has. */
  get count() {
    return this.#list.length / 2;
  }

  /** Whether another file can be taken in. */
  hasRoom(blob) {
    return this.#size + blob.size + (this.count + 2) * HEADERS < LIMIT && this.count < 0xffff;
  }

  /** Take in a file; its name is made one that no other has, on disks too that do not know large letters from small. */
  async add(name, blob) {
    const path = new TextEncoder().encode(this.#unique(name));
    const sum = await checksum(blob);
    const [time, date] = now();
    const sizes = [[4, blob.size], [4, blob.size], [2, path.length], [2, 0]];
    const about = [[2, 20], [2, UTF8], [2, 0], [2, time], [2, date], [4, sum], ...sizes];
    const rest = [[2, 0], [2, 0], [2, 0], [4, 0], [4, this.#size]];
    this.#list.push(pack([4, 0x02014b50], [2, 20], ...about, ...rest), path);
    const header = pack([4, 0x04034b50], ...about);
    this.#parts.push(header, path, blob);
    this.#size += header.length + path.length + blob.size;
  }

  /** The archive. */
  blob() {
    const size = this.#list.reduce((sum, part) => sum + part.length, 0);
    const { count } = this;
    const end = pack([4, 0x06054b50], [2, 0], [2, 0], [2, count], [2, count], [4, size], [4, this.#size], [2, 0]);
    return new Blob([...this.#parts, ...this.#list, end], { type: "application/zip" });
  }

  #unique(name) {
    const [, stem, suffix] = /^(.*?)(\.[^.]*)?$/s.exec(name);
    let free = name;
    for (let n = 2; this.#names.has(free.toLowerCase()); n += 1) free = `${stem} (${n})${suffix ?? ""}`;
    this.#names.add(free.toLowerCase());
    return free;
  }
}

/** Numbers as bytes, the lowest first: [how many bytes, value] each. */
function pack(...fields) {
  const bytes = fields.flatMap(([length, value]) => Array.from({ length }, (_, n) => (value >>> (8 * n)) & 0xff));
  return Uint8Array.from(bytes);
}

/** CRC-32. */
async function checksum(blob) {
  let sum = 0xffffffff;
  const reader = blob.stream().getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return (sum ^ 0xffffffff) >>> 0;
    for (const byte of value) sum = TABLE[(sum ^ byte) & 0xff] ^ (sum >>> 8);
  }
}

/** Time and date as MS-DOS wrote them. */
function now() {
  const moment = new Date();
  const time = (moment.getHours() << 11) | (moment.getMinutes() << 5) | (moment.getSeconds() >> 1);
  return [time, ((moment.getFullYear() - 1980) << 9) | ((moment.getMonth() + 1) << 5) | moment.getDate()];
}
