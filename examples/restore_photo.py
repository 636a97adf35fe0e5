"""Restore one photo: python restore_photo.py OLD NEW [w]."""

import sys

import facemend

old, new = sys.argv[1:3]
w = float(sys.argv[3]) if len(sys.argv) > 3 else 0.5

try:
    result = facemend.Restorer(w=w).restore(old)
    result.save(new)
except facemend.FacemendError as error:  # one line that names the file and the fix
    sys.exit(str(error))
print(f"{new}: {len(result.faces)} faces, {result.factor} times as large", *result.notes, sep="\n")
