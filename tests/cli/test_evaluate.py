"""`facemend evaluate`: what it takes, says and leaves behind."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from facemend.cli.app import app
from facemend.errors import install_line
from facemend.evaluation.cases import find_entries
from facemend.evaluation.options import EvaluationOptions
from facemend.evaluation.protocols import protocols
from facemend.photo.options import DEFAULT_MODEL
from facemend.weights.models import models

PORTRAITS = Path(__file__).parents[1] / "networks/data"


def evaluate(*arguments):
    return CliRunner().invoke(app, ["evaluate", *(str(word) for word in arguments)])


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "faces"
    folder.mkdir()
    for name in ("biden", "obama"):
        with Image.open(PORTRAITS / f"{name}.jpg") as image:
            image.resize((192, 192), Image.Resampling.BOX).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def first(faces, tiny_model, tmp_path_factory):
    """One real run: its folder and what was said."""
    out = tmp_path_factory.mktemp("cli-out")
    said = evaluate(
        faces, "-o", out, "--model", tiny_model, "-w", 0, "-w", 1, "--peer", "bicubic", "--no-speed"
    )
    assert said.exit_code == 0, said.output
    return out, said


@pytest.fixture
def asked(monkeypatch):
    """Options of every run that the command asks for; nothing is measured."""
    found: list[EvaluationOptions] = []

    def stand_in(options, *, overwrite, on_start):
        found.append(options)
        return {"metrics": {}, "methods": []}

    monkeypatch.setattr("facemend.evaluation.suite.evaluate", stand_in)
    return found


def test_a_run_prints_its_table_and_where_the_report_is(first):
    out, said = first
    head, *rows, last = said.stdout.splitlines()
    assert head.split("  ")[0] == ""
    for label in ("PSNR", "SSIM", "LPIPS-Alex", "DISTS", "IDS", "LMD", "NIQE"):
        assert label in head
    assert last == f"-> {out / 'report.html'}, {out / 'results.json'}"
    results = json.loads((out / "results.json").read_text())
    for row, method in zip(rows, results["methods"], strict=True):
        assert row.startswith(method["name"] + " ")
        place = head.index("PSNR")
        assert row[place:].split()[0] == f"{method['means']['psnr']['mean']:.3f}"
    assert [method["name"] for method in results["methods"]] == ["input", "bicubic", "tiny w=0", "tiny w=1"]
    assert results["title"] == "faces"
    assert results["protocol"]["degradation"] == "heavy"
    assert "bicubic" in (out / "report.html").read_text()
    assert not (out / "speed.json").exists()


def test_the_same_command_goes_on_to_the_same_results(first, faces, tiny_model, tmp_path):
    out = shutil.copytree(first[0], tmp_path / "out")
    cases = (out / "cases.jsonl").read_bytes()
    (out / "cases.jsonl").write_bytes(cases[: cases[:-1].rindex(b"\n") + 1])
    (out / "results.json").unlink()
    command = (faces, "-o", out, "--model", tiny_model, "-w", 0, "-w", 1, "--peer", "bicubic", "--no-speed")
    said = evaluate(*command)
    assert said.exit_code == 0, said.output
    assert "going on: 1 of 2 faces measured already" in said.stderr
    assert (out / "results.json").read_bytes() == (first[0] / "results.json").read_bytes()
    other = evaluate(*command, "--seed", 1)
    assert other.exit_code == 1
    assert "holds another evaluation" in other.stderr
    assert "--overwrite" in other.stderr


def test_every_option_arrives(faces, asked, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "facemend.cli._shared.weights.resolve_model",
        lambda options: (replace(options, model=f"found {options.model}"), None),
    )
    words = "--model a --model b -w 0.25 --w 1 --peer unsharp --preset medium --seed 3"
    words += " --restored Theirs=x/y --restored z/ours --size 128 --table t.csv --every 4 --full"
    words += " --device cuda:1 --no-speed --incomplete"
    said = evaluate(faces, "-o", tmp_path / "o", *words.split())
    assert said.exit_code == 0, said.output
    (options,) = asked
    assert (options.faces, options.out, options.lq) == (faces, tmp_path / "o", None)
    assert (options.models, options.ws, options.peers) == (("found a", "found b"), (0.25, 1.0), ("unsharp",))
    assert options.restored == {"Theirs": Path("x/y"), "ours": Path("z/ours")}
    assert (options.preset, options.seed, options.size, options.every) == ("medium", 3, 128, 4)
    assert (options.table, options.device) == (Path("t.csv"), "cuda:1")
    assert (options.full, options.speed, options.reference, options.incomplete) == (True, False, True, True)


def test_without_options_the_shipped_model_is_measured(faces, asked, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/facemend", "evaluate", "my faces", "-w", "0"])
    evaluate(faces, "-o", tmp_path)
    assert asked[0].command == "facemend evaluate 'my faces' -w 0"
    assert DEFAULT_MODEL in {model.name for model in models()}
    expected = EvaluationOptions(faces=faces, out=tmp_path, models=(DEFAULT_MODEL,), command=asked[0].command)
    assert asked[0] == expected
    evaluate(faces, "-o", tmp_path, "--restored", faces)
    assert asked[1].models == ()
    evaluate(faces, "-o", tmp_path, "--no-reference")
    assert asked[2].reference is False
    evaluate(faces, "-o", tmp_path, "--lq", "lq")
    assert asked[3].lq == Path("lq")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--protocol facemend-small --no-reference", "--no-reference would change nothing beside --protocol"),
        ("--protocol CelebA-Test --lq mine", "--lq would change nothing beside --protocol"),
        ("--no-reference --preset medium --lq mine", "--lq and --preset would change nothing beside"),
        ("--no-reference --full", "--full would change nothing beside faces without originals"),
        ("--lq mine --seed 5", "--seed would change nothing beside --lq"),
        ("--restored mine -w 0.3", "--w would change nothing beside --restored without --model"),
    ],
)
def test_options_that_leave_each_other_nothing_to_do(faces, asked, tmp_path, words, message):
    said = evaluate(faces, "-o", tmp_path / "o", *words.split())
    assert said.exit_code == 2
    assert message in " ".join(said.stderr.replace("│", " ").split())
    assert not asked


def test_wrong_usage(faces, tmp_path):
    assert evaluate("-o", tmp_path).exit_code == 2
    for words, message in (
        (["--every", 0], "--every"),
        (["--peer", "sharper"], "no peer 'sharper'"),
        (["--model", "huge"], "no model 'huge'"),
        (["--restored", f"a={faces}", "--restored", "a=x"], "names 'a' twice"),
        (["--restored", tmp_path], "no restored picture for biden.png, obama.png"),
        (["--protocol", "LFW"], "no protocol 'LFW'"),
    ):
        said = evaluate(faces, "-o", tmp_path / "out", *words)
        assert said.exit_code == 1, words
        assert said.stderr.startswith("facemend: ")
        assert message in said.stderr
        assert said.stderr.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_protocols_are_listed_without_faces():
    said = evaluate("--protocol", "list")
    assert said.exit_code == 0
    lines = said.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == list(protocols())
    assert any("1711 faces" in line and "no-reference" in line for line in lines)


def test_a_folder_that_is_not_the_protocols_is_refused_unless_incomplete(faces, asked, tmp_path):
    said = evaluate(faces, "-o", tmp_path, "--protocol", "lfw-test")
    assert said.exit_code == 1
    assert "2 pictures, but LFW-Test has 1711" in said.stderr
    assert "biden.png (192 x 192)" in said.stderr
    assert "is not the set of" in said.stderr
    assert asked == []
    said = evaluate(faces, "-o", tmp_path, "--protocol", "lfw-test", "--incomplete")
    assert said.exit_code == 0, said.output
    assert "2 pictures, but LFW-Test has 1711" in said.stderr
    (options,) = asked
    assert (options.protocol, options.title) == ("LFW-Test", protocols()["LFW-Test"].title)
    assert (options.reference, options.size, options.faces) == (False, 512, faces)
    assert any(note.startswith("Not complete: faces: 2 pictures") for note in options.notes)
    assert not any(str(faces.parent) in note for note in options.notes)


def test_a_protocol_sets_how_its_faces_are_damaged(asked, tmp_path):
    (tmp_path / "faces").mkdir()
    shutil.copy(PORTRAITS / "obama.jpg", tmp_path / "faces")
    command = (tmp_path / "faces", "-o", tmp_path / "out", "--protocol", "facemend-small")
    said = evaluate(*command)
    assert said.exit_code == 0, said.output
    assert said.stderr == ""
    options = asked[0]
    assert (options.preset, options.seed, options.size, options.reference) == ("heavy", 0, 256, True)
    assert options.notes == protocols()["facemend-small"].notes
    evaluate(*command, "--seed", 3, "--size", 256)
    assert asked[1].seed == 3
    assert asked[1].notes[-1] == "Not as the protocol says: seed is 3, not 0."
    assert len(asked[1].notes) == len(options.notes) + 1


def test_a_paired_protocol_brings_its_damaged_faces(asked, tmp_path):
    for side, count in (("hq", 3), ("lq", 2)):
        (tmp_path / "set" / side).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (512, 512)).save(tmp_path / "set" / side / f"{number}.png")
    command = (tmp_path / "set", "-o", tmp_path / "out", "--protocol", "CelebA-Test", "--incomplete")
    said = evaluate(*command, "--preset", "medium", "--seed", 7)
    assert (said.exit_code, asked) == (2, [])
    said = evaluate(*command)
    assert said.exit_code == 0, said.output
    assert "no partner for 1" in said.stderr
    (options,) = asked
    assert (options.faces, options.lq) == (tmp_path / "set/hq", tmp_path / "set/lq")
    assert options.incomplete
    assert [entry.name for entry in find_entries(options)] == ["0.png", "1.png"]


@pytest.mark.parametrize("package", ["torch", "jinja2", "onnx"])
def test_a_missing_extra_is_named(faces, tmp_path, package):
    code = f"import sys; sys.modules[{package!r}] = None\nfrom facemend.cli.app import main; main()"
    command = [sys.executable, "-c", code, "evaluate"]
    said = subprocess.run(
        [*command, str(faces), "-o", str(tmp_path / "out")], capture_output=True, text=True, check=False
    )
    assert said.returncode == 1
    assert said.stderr == f"facemend: evaluation needs extra packages: {install_line('eval')}\n"
    assert not (tmp_path / "out").exists()
    # To see what there is needs no extra.
    said = subprocess.run([*command, "--protocol", "list"], capture_output=True, text=True, check=True)
    assert "LFW-Test" in said.stdout
