"""The first face of a photo at several w, as a strip: python w_sweep.py PHOTO STRIP.png."""

import sys

import numpy as np
from PIL import Image

import facemend

photo, strip = sys.argv[1:3]

restorer = facemend.Restorer(upscale=1)
result = restorer.restore(photo)
if not result.faces:
    sys.exit(f"{photo}: no face found")
# The photo was looked at once: each w costs a decode.
dial = [restorer.redo(result, w=w, faces=[0]).faces[0].restored for w in (0, 0.25, 0.5, 0.75, 1)]
pixels = np.hstack([result.faces[0].crop, *dial]).clip(0, 1) * 255  # (S, S, 3) RGB in [0, 1] each
Image.fromarray(pixels.round().astype(np.uint8)).save(strip)
print(f"{strip}: as it was, then w = 0 to 1")
