"""scripts/train_default: whole runs of a tiny network, and what is refused."""

import importlib
import json
import shutil
import time
from pathlib import Path

import pytest
import torch

from conftest import contents, read_log
from facemend.networks.codeformer.checkpoint import load_checkpoint
from facemend.training.engine import Engine


@pytest.fixture(scope="module")
def scripts():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
        yield {name: importlib.import_module(name) for name in ("train_default", "train_minutes", "travel")}


@pytest.fixture
def default(scripts):
    return scripts["train_default"]


COMMON = """
network = "tiny"
threads = 1
data = { folders = [{ path = "../shared/faces/train512" }], holdout = 2 }
"""
STAGES = {
    "stage1": """
init = "runs/grown.safetensors"
perceptual = { net = "alex" }
adversary = { width = 8, layers = 2 }
phases = [{ steps = 6, size = 64, batch = 2 }, { steps = 2, size = 64, batch = 2, adversary = true }]
""",
    "stage2": """
stage1 = "runs/compact-512/stage1/model.safetensors"
init = "runs/grown.safetensors"
min_psnr = 0
data = { table = "../shared/faces/train.csv", sources = { a = 0.5 } }
phases = [{ steps = 6, batch = 2, degradation = "heavy" }]
""",
    "stage3": """
stage1 = "runs/compact-512/stage1/model.safetensors"
stage2 = "runs/compact-512/stage2/model.safetensors"
discriminator = "runs/compact-512/stage1/discriminator.safetensors"
min_psnr = 0
perceptual = { net = "alex" }
adversary = { width = 8, layers = 2 }
phases = [{ steps = 6, batch = 2, degradation = "heavy", w = [0.0, 1.0], adversary = true }]
""",
}


@pytest.fixture
def command(face_folders, stage3, tmp_path):
    """Words of the command line for a tiny run."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/common.toml").write_text(COMMON)
    for stage, text in STAGES.items():
        head = f'base = "common.toml"\nstage = "{stage}"\nout = "runs/compact-512/{stage}"\n'
        (tmp_path / f"configs/compact-512-{stage}.toml").write_text(head + text)
    # The made-up table has no train512: as for the real one, faces of that folder have no row of their own.
    table = face_folders / "train.csv"
    table.write_text(table.read_text().replace("train256,", "train512,"))
    return [
        str(tmp_path / "model"),
        *("--from", str(stage3.path), "--data", str(face_folders), "--configs", str(tmp_path / "configs")),
    ]


@pytest.mark.slow
def test_a_run_of_minutes_stops_goes_on_and_ends_in_time(default, scripts, command, tmp_path, monkeypatch):
    """On a clock by which a training step takes 2 s, the export 10 s and an evaluated face 5 s."""
    import facemend.convert.export as exporting
    import facemend.evaluation.suite as suite
    from facemend.training.run import Run

    minutes, travel = scripts["train_minutes"], scripts["travel"]
    now, stop_at = [1000.0], 85.0
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def slowed(owner, name, seconds):
        original = getattr(owner, name)

        def slow(*args, **kwargs):
            now[0] += seconds
            if name == "after_step" and stop_at and now[0] > 1000 + stop_at:
                raise KeyboardInterrupt
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, slow)

    slowed(Run, "after_step", 2)
    slowed(exporting, "export_graphs", 10)
    slowed(suite, "load_case", 5)
    monkeypatch.setattr(minutes, "LEAST_STAGE", 1)
    monkeypatch.setitem(minutes.LEAST_RESERVE, "cpu", 45)
    monkeypatch.setattr(minutes, "SAVE_SECONDS", 30)
    words = [*command, "--minutes", "4", "--milestones", str(tmp_path / "m"), "--part-mib", str(64 / 1024)]

    assert default.main(words, now[0]) == 130
    plan = json.loads((tmp_path / "model-work/plan.json").read_text())
    assert plan["stages"]["stage1"]["done"]
    assert not plan["stages"]["stage2"].get("done")
    stage2 = load_checkpoint(tmp_path / "model-work/stage2/model.safetensors").info["step"]
    stopped = plan["spent"]
    assert 80 <= stopped <= 87

    now[0], stop_at = 50_000.0, 0.0  # hours later
    assert default.main(words, now[0]) == 0
    notes = read_log_of(tmp_path / "model-work/recipe.jsonl")
    ends = minutes.stage_ends(4, 45)
    for stage, end in ends.items():
        finished = next(note["spent"] for note in notes if note["what"] == f"end {stage}")
        assert end - 6 <= finished <= end + 4, stage
    assert notes[-1]["what"] == "finished"
    assert notes[-1]["spent"] <= 240
    faces = [note["faces"] for note in notes if note["what"].startswith("evaluated")]
    assert faces[:3] == [2, 2, 2]  # at three w
    assert faces[-1] > 2
    tried = 1 + Engine().has_bf16  # bf16 is tried where the CPU has it; nothing when the run went on
    assert [note["what"] for note in notes].count("probe stage2") == tried
    steps = [line["step"] for line in read_log(tmp_path / "model-work/stage2")]
    assert steps.count(max(steps)) >= 1
    assert max(steps) > stage2
    results = json.loads((tmp_path / "model-results.json").read_text())
    assert {method["w"] for method in results["methods"]} == {None, 0.0, 0.5, 1.0}
    assert not (tmp_path / "model-work/probe").exists()

    travel.join_parts(tmp_path / "m", tmp_path / "joined.safetensors")
    product = load_checkpoint(tmp_path / "model-work/stage3/model.safetensors")
    last = load_checkpoint(tmp_path / "joined.safetensors")
    assert last.info == {**product.info, "precision": "fp16"}
    for name, value in last.state.items():
        assert torch.equal(
            value, product.state[name].half() if value.is_floating_point() else product.state[name]
        )
    assert default.main(words, now[0]) == 0  # done already
    assert read_log_of(tmp_path / "model-work/recipe.jsonl")[-1]["what"] == "finished already"


def read_log_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_a_try_takes_two_steps_a_stage_from_packed_faces(
    default, command, face_folders, tiny_model, tmp_path, monkeypatch, capsys
):
    """Of folders that `facemend data prepare` made; another model stands for the export."""
    for name in ("train512", "test"):
        for file in (face_folders / name).iterdir():
            (face_folders / name / "faces").mkdir(exist_ok=True)
            file.rename(face_folders / name / "faces" / file.name)
        (face_folders / name / "manifest.csv").touch()
        (face_folders / name / "faces/._0.png").touch()
    monkeypatch.setattr(
        "facemend.convert.export.export_model", lambda _, out, *how: shutil.copytree(tiny_model, out)
    )
    packed = tmp_path / "faces.zip"
    assert default.main([*command, "--pack", str(packed)], 0.0) == 0
    assert "all faces of each source" in capsys.readouterr().out
    words = [str(packed) if word.endswith("/faces") else word for word in command]
    assert default.main([*words, "--try"], time.monotonic()) == 0
    for stage in ("stage1", "stage2", "stage3"):
        product = load_checkpoint(tmp_path / f"try/model-work/{stage}/model.safetensors")
        assert product.info["step"] == 2
    assert (tmp_path / "try/model-results.json").is_file()
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("words", [["-o", "runs/better"], ["--pack-mib", "4"], ["--join", "parts"]])
def test_options_of_other_work_are_refused(default, words, capsys):
    with pytest.raises(SystemExit):
        default.parse(words)
    assert words[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ["--data", "nowhere"],
            "nowhere/train512: no training pictures there; name their folder with --data",
        ),
        (["--from", "no-such-model"], "no-such-model"),
        (["--from", "no.safetensors"], "no.safetensors: no such checkpoint"),
        (["--minutes", "0.5"], "--minutes 0.5 are too few: at least"),
        (["--configs", "nowhere"], "nowhere/compact-512-stage1.toml: cannot read the config"),
        (["--part-mib", "0.001"], "--part-mib 1"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(default, command, capsys, change, message):
    assert default.main([*command, *change], time.monotonic()) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("train_default: ")
    assert error.count("\n") == 1


def test_what_lies_there_already_is_not_replaced(default, command, tmp_path, capsys):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/mine.txt").write_text("kept")
    assert default.main(command, time.monotonic()) == 1
    assert "exists and is not of this recipe; choose another OUT" in capsys.readouterr().err
    assert contents(tmp_path / "model") == {"mine.txt": b"kept"}


def test_another_start_needs_another_place(default, command, tmp_path, capsys):
    work = tmp_path / "model-work"
    work.mkdir()
    (work / "plan.json").write_text(json.dumps({"from": "other", "try": False, "spent": 1, "stages": {}}))
    assert default.main(command, time.monotonic()) == 1
    assert "was begun --from other; choose another OUT or delete it" in capsys.readouterr().err


def test_stage_one_alone_is_no_start(default, command, stage1, capsys):
    assert default.main([*command, "--from", str(stage1.path)], time.monotonic()) == 1
    assert "holds stage I only" in capsys.readouterr().err
