"""Options are known to editors and type checkers, name by name."""

import inspect
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Unpack, get_overloads, get_type_hints

import pytest

import facemend
from facemend.photo.options import RestoreOptions, RestoreSettings

ROOT = Path(__file__).parents[2]


def test_settings_are_the_fields_of_the_options():
    assert get_type_hints(RestoreSettings) == get_type_hints(RestoreOptions)
    assert list(RestoreSettings.__annotations__) == [field.name for field in fields(RestoreOptions)]
    assert not RestoreSettings.__required_keys__


@pytest.mark.parametrize("name", ["restore", "colorize", "inpaint", "Restorer", "Colorizer", "Inpainter"])
def test_every_door_takes_them(name):
    door = getattr(facemend, name)
    forms = get_overloads(door) or [door.__init__]
    for form in (*forms, door):
        (kind,) = [
            each.annotation
            for each in inspect.signature(form, eval_str=True).parameters.values()
            if each.kind is each.VAR_KEYWORD
        ]
        assert kind == Unpack[RestoreSettings]


RIGHT = """
from pathlib import Path
from typing import Any
import facemend, numpy, PIL.Image
path: Path = facemend.restore("a.jpg", out="b.jpg", w=0.7, upscale=2, faces="largest")
image: PIL.Image.Image = facemend.colorize(path, threads=1)
image = facemend.inpaint(image, numpy.zeros((4, 4), bool))
array: numpy.ndarray[Any, Any] = facemend.restore(numpy.zeros((4, 4, 3)), aligned=True)
restorer = facemend.Restorer(w=1, background="lanczos")
path = restorer.restore("a.jpg").save("c.png", overwrite=True)
image = restorer.redo(restorer.restore(image), w=0.2).to_pil()
array = facemend.Inpainter(w=1).inpaint(path, image).to_array()
"""
WRONG = """
facemend.restore("a.jpg", fidelity=0.7)
facemend.restore("a.jpg", w="0.7")
facemend.colorize(array, faces="every")
facemend.inpaint("a.jpg", "b.png", upscale=2.5)
facemend.Restorer(upscal=2)
facemend.Colorizer(threads="all")
restorer.restore(3)
"""


def test_mypy_takes_right_options_and_refuses_wrong_ones(tmp_path):
    (tmp_path / "use.py").write_text(RIGHT + WRONG)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", ROOT / ".mypy_cache", tmp_path / "use.py"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        env={**os.environ, "MYPYPATH": str(ROOT / "src")},
    )
    first = RIGHT.count("\n") + 2
    wrong = {line.split(":")[1] for line in done.stdout.splitlines() if ": error:" in line}
    assert wrong == {str(first + number) for number in range(WRONG.count("\n") - 1)}, (
        done.stdout + done.stderr
    )
