"""Is a torch file the plain archive that torch writes? Judged before torch opens it."""

from __future__ import annotations

import mmap
import pickletools
import re
import zipfile
from pathlib import Path

from facemend.errors import WeightsError, one_line

MAX_ENTRIES = 20_000
"""Most files in the archive; the published network has 518."""
MAX_PICKLE = 32 << 20
"""Largest table of contents, bytes; that of the published network has 80 thousand."""
CALLED = {
    "collections OrderedDict",
    "torch Size",
    "torch device",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
}
"""What the table of contents may name, besides kinds of numbers and of storage. What else torch lets pass can
be told to make room for any number of bytes."""
_KIND = re.compile(r"torch(\.storage)? (\w+Storage|u?int\d+|b?float\d+|double|half|bool|long|short)")
_ENTRY = b"PK\x01\x02"
_LOCAL_HEADER = 30


def check_archive(path: Path) -> None:
    """Refuse archives that torch has not written: compressed, with entries that overlap or lie about sizes.

    Raises:
        WeightsError: says which.
    """
    try:
        _require(_count_entries(path) <= MAX_ENTRIES, path, f"more than {MAX_ENTRIES} files in it")
        with zipfile.ZipFile(path) as archive:
            entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
            limit = archive.start_dir
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise WeightsError(f"{path}: damaged or cut off ({error}); fetch it again") from None
    # torch stores without compression; a compressed entry could unfold to any size.
    plain = all(e.compress_type == zipfile.ZIP_STORED and not e.flag_bits & 1 for e in entries)
    _require(plain, path, "a compressed archive")
    honest = all(e.file_size == e.compress_size for e in entries)
    _require(honest, path, "sizes in it are not true")
    ends = [entry.header_offset for entry in entries[1:]] + [limit]
    apart = all(
        entry.header_offset + _LOCAL_HEADER + len(entry.filename) + entry.compress_size <= end
        for entry, end in zip(entries, ends, strict=True)
    )
    names = [entry.filename for entry in entries]
    _require(apart and len(set(names)) == len(names), path, "files in it overlap")
    tables = [entry for entry in entries if entry.filename.rpartition("/")[2] == "data.pkl"]
    _require(len(tables) == 1, path, "no table of contents (data.pkl) in it, or several")
    _require(tables[0].file_size <= MAX_PICKLE, path, "its table of contents is too large")
    odd = _odd_name(path, tables[0])
    _require(odd is None, path, f"its table of contents names {odd!r:.60}")


def _odd_name(path: Path, table: zipfile.ZipInfo) -> str | None:
    """The first name in the table of contents that weights have no need of; nothing is run."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(table) as content:
            for code, name, _ in pickletools.genops(content):
                plain = code.name == "GLOBAL" and (name in CALLED or _KIND.fullmatch(str(name)))
                if not plain and code.name in ("GLOBAL", "STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"):
                    return str(name or code.name)
    except Exception as error:  # a damaged pickle can raise anything
        raise WeightsError(f"{path}: damaged or cut off ({one_line(error, 100)}); fetch it again") from None
    return None


def _count_entries(path: Path) -> int:
    """How many files the archive lists at most, without reading the list."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        count, at = 0, mapped.find(_ENTRY)
        while at >= 0 and count <= MAX_ENTRIES:
            count, at = count + 1, mapped.find(_ENTRY, at + 4)
        return count


def _require(ok: bool, path: Path, problem: str) -> None:
    if not ok:
        raise WeightsError(f"{path}: {problem}, not a weight file that torch has written; fetch it again")
