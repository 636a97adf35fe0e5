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
    const crop = image(this.side, this.side, 3);
    const size = this.side ** 2;
    for (let c = 0, from = 0; c < 3; c += 1) {
      for (let to = c; from < (c + 1) * size; from += 1, to += 3) {
        const value = (restored.data[from] + 1) / 2;
        if (Number.isNaN(value)) throw new Error("the network gave values that are not numbers; load the page again");
        crop.data[to] = Math.min(1, Math.max(0, value));
      }
    }
    return crop;
  }
}
