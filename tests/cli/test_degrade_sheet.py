"""`facemend degrade --sheet`."""

import numpy as np
import pytest
from typer.testing import CliRunner

from facemend.cli.app import app
from facemend.cli.degrade import degraded
from facemend.degradations import degrade, preset
from facemend.degradations.sheet import LABEL, MOST
from facemend.imaging import Picture, read_picture, write_picture


def run(*arguments):
    return CliRunner().invoke(app, [str(word) for word in arguments])


@pytest.fixture
def faces(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in "ab":
        write_picture(
            folder / f"{name}.png", Picture(pixels=rng.integers(0, 256, (40, 40, 3), dtype=np.uint8))
        )
    return folder


def test_a_sheet_alone_or_beside_pictures(faces, tmp_path):
    sheet = tmp_path / "new" / "sheet.png"
    result = run("degrade", faces / "a.png", "--preset", "scan", "--seed", 4, "--sheet", sheet)
    assert result.exit_code == 0, result.output
    assert "1 face" in result.stdout
    pixels = read_picture(sheet).pixels
    assert pixels.shape == (4 * (40 + LABEL), 6 * 40, 3)
    original = read_picture(faces / "a.png").pixels
    np.testing.assert_array_equal(pixels[:40, :40], original)
    np.testing.assert_array_equal(pixels[:40, 80:120], degrade(original, "scan", 5)[0])
    assert sorted(path.name for path in faces.iterdir()) == ["a.png", "b.png"]

    both = run("degrade", faces, "-o", tmp_path / "out", "--preset", "scan", "--sheet", tmp_path / "two.jpg")
    assert both.exit_code == 0, both.output
    assert "2 pictures degraded" in both.stdout
    assert read_picture(tmp_path / "two.jpg").pixels.shape == pixels.shape
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_a_sheet_is_not_replaced_unless_asked(faces, tmp_path):
    sheet = tmp_path / "sheet.png"
    sheet.write_bytes(b"kept")
    refused = run("degrade", faces, "--sheet", sheet)
    assert refused.exit_code == 1
    assert "exists already; use --overwrite" in refused.stderr
    assert sheet.read_bytes() == b"kept"
    assert run("degrade", faces, "--sheet", sheet, "--overwrite").exit_code == 0
    assert read_picture(sheet).width == 240
    onto = run("degrade", faces / "a.png", "--sheet", faces / "a.png", "--overwrite")
    assert onto.exit_code == 1
    assert "is an input" in onto.stderr


def test_unreadable_faces_and_too_many(faces, tmp_path):
    (faces / "bad.png").write_text("x")
    result = run("degrade", faces, "--sheet", tmp_path / "sheet.png")
    assert result.exit_code == 1
    assert "bad.png" in result.stderr
    assert read_picture(tmp_path / "sheet.png").pixels.shape[0] == 4 * (40 + LABEL)
    (faces / "bad.png").unlink()
    for number in range(MOST):
        write_picture(faces / f"c{number:02}.png", read_picture(faces / "a.png"))
    full = run("degrade", faces, "--sheet", tmp_path / "full.png", "--preset", "medium")
    assert full.exit_code == 0, full.output
    assert f"{MOST} faces; no room for 2 more" in full.stdout
    assert read_picture(tmp_path / "full.png").pixels.shape[0] == MOST * (40 + LABEL)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "say where to write"),
        (("--sheet", "s.png", "--plan", "p.json"), "does not go with --plan"),
        (("--sheet", "s.png", "--save-plan"), "needs -o"),
    ],
)
def test_options_that_do_not_go_together(faces, options, words):
    result = run("degrade", faces, *options)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.replace("│", " ").split())


def test_a_sheet_of_no_known_kind(faces, tmp_path):
    result = run("degrade", faces, "--sheet", tmp_path / "sheet.xyz")
    assert result.exit_code == 1
    assert "sheet.xyz" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_gray_picture_is_toned_as_its_plan_says(tmp_path):
    gray = np.repeat(np.random.default_rng(0).integers(0, 256, (40, 40, 1), dtype=np.uint8), 3, 2)
    for seed in range(12):
        result, plan = degraded(Picture(gray, gray=True), preset("scan"), seed)
        wanted, _ = degrade(gray, plan)
        np.testing.assert_array_equal(result.pixels, wanted)
        assert result.gray == bool((wanted == wanted[..., :1]).all())
    assert run("degrade", tmp_path / "none.png", "--sheet", tmp_path / "s.png").exit_code != 0
