"""The work folder of a film: finished segments wait there, so that a killed run goes on where it was."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from facemend.errors import ExistsError, InputError, OutputError
from facemend.files import begin, move, unwritable
from facemend.video.frames import FilmState
from facemend.video.mux import Segment
from facemend.video.state import load_state, save_state

_RUN = "run.json"
_PART = ".part"


@dataclass(frozen=True)
class Done:
    """A finished segment.

    Attributes:
        segment: its file.
        faces: restored in all its frames.
    """

    segment: Segment
    faces: int

    @property
    def frames(self) -> int:
        """How many it has."""
        return len(self.segment.times)


def kept_frames(output: Path) -> int:
    """How many frames of a film wait in its work folder; where there are none, that goes."""
    folder = _folder(output)
    said = (json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("[0-9]*.json"))
    frames = sum(len(each["times"]) for each in said)
    if not frames and (folder / _RUN).is_file():
        shutil.rmtree(folder, ignore_errors=True)
    return frames


def _folder(output: Path) -> Path:
    return output.with_name(f"{output.name}.facemend")


class WorkFolder:
    """Segments of one film, beside its output; made where it is missing.

    A segment is finished once its .json is there. Every file appears whole or not at all.

    Args:
        output: what the film will be.
        run: all that the segments depend on, as JSON can hold.
        overwrite: whether segments of a run with other settings are thrown away.

    Raises:
        OutputError: it cannot be made, or holds segments of a run with other settings.
    """

    def __init__(self, output: Path, run: Mapping[str, Any], *, overwrite: bool) -> None:
        self.path = _folder(output)
        try:
            if overwrite and self._other(run):
                self.remove()
            self.path.mkdir(parents=True, exist_ok=True)
            other = self._other(run)
            if other:
                raise OutputError(
                    f"{self.path}: holds a run that was begun with another {', '.join(other)}: "
                    "repeat it as it was, or throw it away with --overwrite"
                )
            for rest in self.path.glob(f"*{_PART}"):
                rest.unlink()
            self._place(_RUN, lambda path: path.write_text(json.dumps(run), encoding="utf-8"))
        except OSError as error:
            raise unwritable(self.path, error) from error

    def _other(self, run: Mapping[str, Any]) -> list[str]:
        """What differs from the run that the folder was made for."""
        try:
            begun = json.loads((self.path / _RUN).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return ["tool"] if self.path.exists() and any(self.path.iterdir()) else []
        except ValueError:
            return ["version"]
        wanted = json.loads(json.dumps(run))
        return [name for name in wanted if not isinstance(begun, dict) or begun.get(name) != wanted[name]]

    def done(self) -> tuple[list[Done], FilmState]:
        """The finished segments from the beginning on, and the state after them.

        Raises:
            OutputError: the folder cannot be read.
        """
        found: list[Done] = []
        try:
            while (path := self.path / f"{len(found):05}.json").is_file():
                said = json.loads(path.read_text(encoding="utf-8"))
                file, times = self.path / f"{len(found):05}.nut", tuple(map(int, said["times"]))
                segment = Segment(file, int(said["delay"]), times, int(said["duration"]))
                found.append(Done(segment, int(said["faces"])))
            state = load_state(self._state(len(found) - 1)) if found else FilmState()
        except (OSError, ValueError, KeyError, TypeError, InputError) as error:
            raise OutputError(f"{self.path}: damaged ({error}): remove it to begin anew") from error
        return found, state

    def new_file(self, suffix: str = "") -> Path:
        """A name for a file that is in the making; what has such a name is removed by the next run."""
        return begin(self.path / f"{secrets.token_hex(6)}{suffix}{_PART}")

    def finish(self, number: int, file: Path, done: Done, state: FilmState) -> Done:
        """Take a segment in.

        Args:
            number: its place, from 0.
            file: from `new_file`, written.
            done: with the path of that file.
            state: after its last frame.

        Returns:
            The same with its lasting path.

        Raises:
            OutputError: it cannot be written.
        """
        lasting = self.path / f"{number:05}.nut"
        segment = done.segment
        said = {
            "times": segment.times,
            "delay": segment.delay,
            "duration": segment.duration,
            "faces": done.faces,
        }
        try:
            os.replace(file, lasting)
            self._place(self._state(number).name, lambda path: save_state(path, state))
            self._place(f"{number:05}.json", lambda path: path.write_text(json.dumps(said), encoding="utf-8"))
            self._state(number - 1).unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(self.path, error) from error
        return replace(done, segment=replace(segment, path=lasting))

    def publish(self, file: Path, output: Path, *, overwrite: bool) -> None:
        """Move the finished film to its place, in one step, and remove the folder.

        Raises:
            OutputError: meanwhile there is a file of that name, or it cannot be written.
        """
        try:
            move(file, output, overwrite)
        except FileExistsError:
            raise ExistsError(output) from None
        except OSError as error:
            raise unwritable(output, error) from error
        self.remove()

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _state(self, number: int) -> Path:
        return self.path / f"{number:05}.npz"

    def _place(self, name: str, write: Any) -> None:
        temporary = self.new_file()
        write(temporary)
        os.replace(temporary, self.path / name)
