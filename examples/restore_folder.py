"""Restore the photos of a folder, with progress: python restore_folder.py PHOTOS RESTORED."""

import sys
from pathlib import Path

from rich.progress import track

import facemend

photos, restored = map(Path, sys.argv[1:3])
restored.mkdir(exist_ok=True)

restorer = facemend.Restorer(strength=0.9)  # loads the networks once
failed = []
for photo in track(sorted(path for path in photos.iterdir() if path.is_file()), "restoring"):
    try:
        restorer.restore(photo).save(restored / photo.name, overwrite=True)
    except facemend.FacemendError as error:  # one bad file does not stop the others
        failed.append(str(error))
print(*failed, sep="\n", file=sys.stderr)
sys.exit(bool(failed))
