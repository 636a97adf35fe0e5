"""Photos -> a folder of aligned, sharp, different faces to train on, with a manifest. No torch.

Photos are taken one after the other; what became of each is appended to progress.jsonl, so a run that was
stopped goes on. At the end duplicates are set aside, and tables and sheets are written from the record.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from os.path import isdir
from pathlib import Path
from typing import Any

import numpy as np

from facemend.data.contact import write_sheet
from facemend.data.quality import PRINT_BYTES, Gates, as_row, duplicates, fingerprint, measure
from facemend.errors import ConfigError, FacemendError, InputError, one_line
from facemend.faces.align import align
from facemend.files import is_of_system, json_lines, read_table, unwritable, whole_file
from facemend.imaging import SUFFIXES, Picture, from_float, in_srgb, read_picture, resize, write_picture
from facemend.predictors.detector import FaceDetector
from facemend.types import Box

FACES, COPIES, REFUSED = "faces", "duplicates", "rejected"
RECORD, OPTIONS = "progress.jsonl", "options.json"
# Side of what is kept of a rejected face: enough to see why.
THUMB = 128
MANIFEST, REJECTED = "manifest.csv", "rejected.csv"
COLUMNS = (
    *("folder", "file", "source", "licence", "kind", "native_px", "inside", "yaw", "sharpness", "contrast"),
    *("score", "original", "face", "original_sha256"),
)


@dataclass(frozen=True)
class PrepareOptions:
    """What makes two runs the same.

    Attributes:
        size: side of the faces, pixels.
        format: "webp" or "png".
        gates: least quality.
        largest: only the largest face of each photo.
        labels: source, licence and kind for photos that the table does not name.
    """

    size: int = 512
    format: str = "webp"
    gates: Gates = field(default_factory=Gates)
    largest: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 64 <= self.size <= 2048:
            raise ConfigError(f"size = {self.size} is not between 64 and 2048 pixels")
        if self.format not in ("webp", "png"):
            raise ConfigError(f"format is 'webp' or 'png', not {self.format!r}")


@dataclass(frozen=True)
class Photo:
    """An input: where it is, and its path under the folder that was given."""

    path: Path
    name: str


@dataclass(frozen=True)
class Summary:
    """What a run found: photos read, faces found and kept, and how many were rejected for which reason."""

    photos: int
    faces: int
    kept: int
    rejected: Mapping[str, int]


def find_photos(folders: Sequence[Path], out: Path) -> list[Photo]:
    """All pictures under the folders, each once, in a fixed order.

    Args:
        folders: where photos lie.
        out: folder of the faces, which may be among them: what is in it is no photo.

    Raises:
        InputError: a folder is not there, or there is no picture in any.
    """
    found: dict[Path, Photo] = {}
    for folder in folders:
        if not isdir(folder):
            raise InputError(f"{folder}: no such folder; give folders of photos")
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if path.suffix.lower() not in SUFFIXES or any(map(is_of_system, name.parts)):
                continue
            real = path.resolve()
            if real.is_file() and out.resolve() not in real.parents:
                found.setdefault(real, Photo(path, name.as_posix()))
    if not found:
        also = f": {out} is the folder for the faces, where none are looked for" if out in folders else ""
        raise InputError(f"no pictures in {', '.join(map(str, folders))}{also}")
    return list(found.values())


def prepare(
    photos: Sequence[Photo],
    out: Path,
    options: PrepareOptions,
    table: Mapping[str, Mapping[str, str]] | None = None,
    detector: FaceDetector | None = None,
) -> Iterator[str | None]:
    """Detect, align, measure and keep the faces of the photos that are not done yet.

    Args:
        photos: see `find_photos`.
        out: folder to write; one that holds a run with the same options goes on.
        options: what to keep.
        table: labels by photo name, see `read_labels`.
        detector: by default the packaged one.

    Yields:
        After each photo: None, or one line about why it could not be used.

    Raises:
        ConfigError: `out` holds a run with other options, or other files.
        InputError: the table names none of the photos.
        OutputError: `out` cannot be made.
    """
    if table is not None and not any(photo.name in table for photo in photos):
        raise InputError(f"the table names none of the photos: its file is to be such as {photos[0].name}")
    done = _claim(out, options)
    detector = detector or FaceDetector()
    with (out / RECORD).open("a", encoding="utf-8") as record:
        record.write("\n")  # ends a line that was cut off
        for photo in photos:
            try:
                data = photo.path.read_bytes()
                sha = hashlib.sha256(data).hexdigest()
                if (sha, photo.name) in done:
                    yield None
                    continue
                faces = _faces(photo, sha, out, options, detector)
                line: dict[str, Any] = {"faces": faces}
            except (OSError, FacemendError) as error:
                sha, line = "", {"error": one_line(str(error), None)}
            labels = {**options.labels, **(table or {}).get(photo.name, {})}
            record.write(json.dumps({"name": photo.name, "sha256": sha, "labels": labels, **line}) + "\n")
            record.flush()
            yield line.get("error")


def _claim(out: Path, options: PrepareOptions) -> set[tuple[str, str]]:
    """Make the folder, or see that it is ours; returns the photos that are done."""
    text = json.dumps(asdict(options), indent=1)
    mark = out / OPTIONS
    if mark.exists():
        before = mark.read_text(encoding="utf-8")
        if before != text:
            raise ConfigError(
                f"{out}: holds faces made with other options ({_differing(before, text)}): "
                "give the same, or choose another folder"
            )
    elif out.is_dir() and any(out.iterdir()):
        raise ConfigError(f"{out}: is not empty; choose a new folder for the faces")
    try:
        for folder in (FACES, COPIES, REFUSED):
            (out / folder).mkdir(parents=True, exist_ok=True)
        mark.write_text(text, encoding="utf-8")
    except OSError as error:
        raise unwritable(out, error) from error
    return {(line["sha256"], line["name"]) for line in read_record(out) if line["sha256"]}


def _differing(before: str, now: str) -> str:
    """The options that differ, with the values of then."""
    was, asked = json.loads(before), json.loads(now)
    return ", ".join(f"{name} {was.get(name)}" for name in asked if was.get(name) != asked[name])


def _faces(
    photo: Photo, sha: str, out: Path, options: PrepareOptions, detector: FaceDetector
) -> list[dict[str, Any]]:
    image = in_srgb(read_picture(photo.path)).pixels
    height, width = image.shape[:2]
    found = sorted(detector.detect(image), key=lambda face: -_area(face.box))
    rows: list[dict[str, Any]] = []
    # Photos of one name in two folders stay apart, and copies of one photo.
    mark = hashlib.sha256(f"{photo.name} {sha}".encode()).hexdigest()[:8]
    for number, face in enumerate(found[:1] if options.largest else found):
        try:
            aligned = align(image, face, options.size)
        except InputError:
            rows.append({"reason": "unsure", "figure": 0.0, "file": None})
            continue
        measures = measure(aligned, width, height)
        row = {**as_row(measures), "print": fingerprint(aligned.crop).tobytes().hex()}
        name = f"{_plain(photo.path.stem)}-{mark}-{number}.{options.format}"
        fault = options.gates.fault(measures)
        crop = from_float(aligned.crop)
        if fault is None:
            write_picture(out / FACES / name, Picture(pixels=crop), overwrite=True, quality=92)
            rows.append({**row, "file": name})
        else:
            small = Picture(pixels=resize(crop, (THUMB, THUMB)))
            write_picture(out / REFUSED / name, small, overwrite=True, quality=80)
            rows.append({**row, "file": None, "shown": name, "reason": fault[0], "figure": fault[1]})
    return rows


def read_record(out: Path) -> list[dict[str, Any]]:
    """What became of the photos so far, the last word on each.

    A line that was cut off counts as not written, and an error as overcome once the photo could be read.
    """
    found = {(line["name"], line["sha256"]): line for line in json_lines(out / RECORD)}
    read = {name for name, sha in found if sha}
    return [line for (name, sha), line in found.items() if sha or name not in read]


def finish(out: Path, table: Mapping[str, Mapping[str, str]] | None = None) -> Summary:
    """Drop duplicates; write manifest.csv, rejected.csv and the contact sheets from the record.

    What the table says now counts for photos of earlier runs too.
    """
    record = read_record(out)
    for line in record:
        line["labels"] |= (table or {}).get(line["name"], {})
    faces = [(line, number, face) for line in record for number, face in enumerate(line.get("faces", ()))]
    good = [item for item in faces if item[2]["file"]]
    prints = np.array([np.frombuffer(bytes.fromhex(f["print"]), np.uint8) for _, _, f in good], np.uint8)
    copies = duplicates(prints.reshape(-1, PRINT_BYTES), [_rank(face) for _, _, face in good])

    rows, rejected = [], []
    for index, (line, number, face) in enumerate(good):
        if index in copies:
            kept = good[copies[index]][2]["file"]
            rejected.append(_refused(line, number, "duplicate", kept))
            _move(out / FACES, out / COPIES, face["file"])
        else:
            _move(out / COPIES, out / FACES, face["file"])  # a copy before, when other photos were not there
            rows.append(_row(line, number, face))
    for line, number, face in faces:
        if not face["file"]:
            rejected.append(_refused(line, number, face["reason"], face["figure"]))
    for line in record:
        if "error" in line:
            rejected.append(_refused(line, "", "unreadable", line["error"]))
        elif not line["faces"]:
            rejected.append(_refused(line, "", "no face", ""))

    _write_table(out / MANIFEST, COLUMNS, rows)
    _write_table(out / REJECTED, ("original", "face", "reason", "figure"), rejected)
    write_sheet(out / "contact.jpg", {"kept": [out / FACES / row["file"] for row in rows]})
    shown: dict[str, list[Path]] = {}
    for _, _, face in faces:
        if "shown" in face:
            shown.setdefault(face["reason"], []).append(out / REFUSED / face["shown"])
    if copies:
        shown["duplicate"] = [out / COPIES / good[index][2]["file"] for index in copies]
    write_sheet(out / "rejected.jpg", shown)
    reasons = Counter(str(row["reason"]) for row in rejected)
    return Summary(len(record), len(faces), len(rows), dict(reasons.most_common()))


def read_labels(path: Path) -> dict[str, dict[str, str]]:
    """Labels by photo name from a CSV with the column file, and source, licence or kind.

    Raises:
        InputError: it cannot be read or lacks the column.
    """
    wanted = ("source", "licence", "kind")
    return {row["file"]: {k: row[k] for k in wanted if row.get(k)} for row in read_table(path, ["file"])}


def _row(line: Mapping[str, Any], number: int, face: Mapping[str, Any]) -> dict[str, Any]:
    figures = {name: face[name] for name in COLUMNS if name in face}
    return {
        "folder": FACES,
        "source": "",
        "licence": "",
        "kind": "",
        **line["labels"],
        **figures,
        "original": line["name"],
        "face": number,
        "original_sha256": line["sha256"],
    }


def _refused(line: Mapping[str, Any], face: int | str, reason: str, figure: object) -> dict[str, Any]:
    return {"original": line["name"], "face": face, "reason": reason, "figure": figure}


def _write_table(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _rank(face: Mapping[str, Any]) -> tuple[int, int]:
    """Which of several copies is kept: the sharper, by steps of a quarter; of equals the larger."""
    return int(math.log(max(face["sharpness"], 1e-3), 1.25)), face["native_px"]


def _move(source: Path, target: Path, name: str) -> None:
    if (source / name).exists():
        (source / name).replace(target / name)


def _plain(stem: str) -> str:
    """A file name that every system takes."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in stem)[:60]


def _area(box: Box) -> float:
    return (box.x2 - box.x1) * (box.y2 - box.y1)
