// Restore aligned face crops: the heavy half once (`encode`), the light half (`decode`) at will.
import { image, planes } from "../imaging/image.js";

export class FaceRestorer {
  /** The two graphs, and the side of the crops that they want. */
  constructor({ encode, decode }, side) {
    Object.assign(this, { encoder: encode, decoder: decode, side });
  }

  /** What does not depend on w; of one crop of floats. */
  async encode(crop) {
    const outputs = await this.encoder.run({ image: [planes(crop, 2, -1), [1, 3, this.side, this.side]] });
    return Object.fromEntries(Object.entries(outputs).map(([name, { data, dims }]) => [name, [data, dims]]));
  }

  /** The restored crop with that w. */
  async decode(encoded, w) {
    const { restored } = await this.decoder.run({ ...encoded, w: [Float32Array.of(w), [1]] });
    const size = this.side ** 2;
    const crop = image(this.side, this.side, 3);
    for (let at = 0; at < crop.data.length; at += 1) {
      const value = (restored.data[(at % 3) * size + ((at / 3) | 0)] + 1) / 2;
      if (Number.isNaN(value)) throw new Error("the network gave values that are not numbers; load the page again");
      crop.data[at] = Math.min(1, Math.max(0, value));
    }
    return crop;
  }
}
