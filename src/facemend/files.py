"""Files: written whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path


def place(path: Path, data: bytes, overwrite: bool) -> None:
    """Write a file whole or not at all: beside the target first, then moved into place in one step.

    Raises:
        FileExistsError: it exists and `overwrite` is off.
        OSError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.part")
    try:
        with temporary.open("xb") as file:
            file.write(data)
        if overwrite:
            os.replace(temporary, path)
            return
        try:
            os.link(temporary, path)  # fails if the target exists, unlike a rename
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES):
                raise
            # A file system without links: claim the name first, then replace the empty claim.
            path.open("xb").close()
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
