"""scripts/train_default: the time's arithmetic, the probe, one whole tiny run, and what travels."""

import errno
import hashlib
import importlib
import json
import math
import os
import shutil
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from conftest import SIDE, MakeConfig, read_log
from facemend.errors import ConfigError, InputError, OutputError
from facemend.models.checkpoint import load_checkpoint
from facemend.training import train

SCRIPTS = Path(__file__).parents[2] / "scripts"


def script(name: str, request: pytest.FixtureRequest):
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(SCRIPTS))
    request.addfinalizer(patch.undo)
    return importlib.import_module(name)


@pytest.fixture(scope="module")
def minutes(request):
    return script("train_minutes", request)


@pytest.fixture(scope="module")
def travel(request):
    return script("travel", request)


@pytest.fixture(scope="module")
def default(request):
    return script("train_default", request)


@pytest.fixture
def stage3_config(settings: MakeConfig, tmp_path: Path):
    """Two phases of unlike cost, with an adversary of its own rate."""
    return settings(
        "stage3",
        tmp_path / "stage3",
        stage1="stage1.safetensors",
        stage2="stage2.safetensors",
        optim={"lr": 1e-3, "warmup": 20, "halve_at": [50]},
        adversary={"width": 8, "layers": 2, "lr": 4e-4},
        phases=[
            {"steps": 30, "batch": 4, "degradation": "medium", "w": [0.0, 1.0]},
            {"steps": 70, "batch": 2, "degradation": "heavy", "w": [0.0, 1.0], "adversary": True},
        ],
    )


# Time and steps.


@pytest.mark.parametrize(
    ("given", "ends"),
    [
        (100, [1104, 2760, 5520]),  # 6000 s less 8 %: 5520
        (5, [51, 127.5, 255]),  # 300 s less 45
    ],
)
def test_the_stages_share_what_the_reserve_leaves(minutes, given, ends):
    assert list(minutes.stage_ends(given, 45).values()) == pytest.approx(ends)


def test_too_few_minutes_say_the_least_that_is_enough(minutes):
    with pytest.raises(ConfigError, match=r"--minutes 1 are too few: at least 2 here") as error:
        minutes.stage_ends(1, 45)
    least = float(str(error.value).split("at least ")[1].split()[0])
    assert minutes.stage_ends(least, 45)["stage1"] >= minutes.LEAST_STAGE
    with pytest.raises(ConfigError):
        minutes.stage_ends(least - 0.1, 45)


def test_steps_fill_the_seconds_in_the_proportions_of_the_config(minutes, stage3_config):
    trial = minutes.Trial(4, {"channels_last": True}, (0.05, 0.2))
    assert trial.rate(stage3_config) == pytest.approx(4 * (30 * 4 + 70 * 2) / (30 * 0.05 + 70 * 0.2))
    config = minutes.fill(stage3_config, trial, 600)
    first, second = config.phases
    assert first.steps * 0.05 + second.steps * 0.2 == pytest.approx(600 * minutes.OVER, rel=0.005)
    assert first.steps / second.steps == pytest.approx(30 / 70, rel=0.005)
    assert (first.batch, second.batch) == (16, 8)
    assert config.channels_last
    assert config.optim.lr == pytest.approx(2e-3)  # the square root of four
    assert config.adversary.lr == pytest.approx(8e-4)
    assert config.optim.halve_at[0] / (first.steps + second.steps) == pytest.approx(0.5, abs=0.005)
    seconds = 600 * minutes.OVER / (first.steps + second.steps)  # of a step, in the mean
    assert config.save_every * seconds == pytest.approx(90, abs=seconds)
    assert config.preview_every % config.save_every == 0
    assert second.degradation == "heavy"
    assert second.adversary


def test_a_short_stage_keeps_every_phase_and_a_warm_up_that_ends(minutes, stage3_config):
    config = minutes.fill(stage3_config, minutes.Trial(1, {}, (5.0, 5.0)), 50)
    assert [phase.steps for phase in config.phases] == [3, 7]
    assert config.optim.warmup == 1
    assert [p.steps for p in minutes.fill(stage3_config, minutes.Trial(1, {}, (5.0, 5.0)), -3).phases] == [
        1,
        1,
    ]


def test_paths_move_with_their_folder(minutes):
    places = {Path("../shared/faces"): Path("/data"), Path("runs/stage1"): Path("w/stage1")}
    value = {
        "a": ({"path": Path("../shared/faces/train512")}, 3),
        "b": [Path("runs/stage1/model.safetensors")],
    }
    assert minutes.moved(value | {"c": Path("runs/stage10"), "d": "../shared/faces"}, places) == {
        "a": ({"path": Path("/data/train512")}, 3),
        "b": [Path("w/stage1/model.safetensors")],
        "c": Path("runs/stage10"),
        "d": "../shared/faces",
    }


# The probe.


@pytest.fixture
def gpu(monkeypatch, minutes):
    """A GPU by name; `memory` is what the last measurement took of it."""
    state = SimpleNamespace(memory=0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.compiler, "reset", lambda: None)  # loads a compiler
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: state.memory)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=100))
    return state


def probe(minutes, monkeypatch, config, seconds, cost):
    """What a probe chooses where a step takes cost(factor, settings); all that it noted."""
    notes = []

    def measure(config, trial, folder, steps, warm):
        return replace(trial, costs=(cost(trial.factor, trial.settings),) * len(config.phases))

    monkeypatch.setattr(minutes, "measure", measure)
    found = minutes.Probe(config, seconds, lambda what, **values: notes.append(values), Path("unused"))
    return found.search(), notes


def test_the_batch_is_doubled_until_that_gains_nothing(minutes, monkeypatch, stage3_config, gpu):
    # Up to four times the batch for the same time, then in proportion.
    best, _ = probe(minutes, monkeypatch, stage3_config, 170, lambda n, _: 0.02 * max(1, n / 4))
    assert best.factor == 4
    assert "channels_last" not in best.settings  # tried, and no quicker
    assert best.settings["data"]["workers"] == max(1, min(16, os.cpu_count() - 1))


def test_the_batch_stays_where_there_would_be_too_few_steps(minutes, monkeypatch, stage3_config, gpu):
    # Larger batches go on gaining, but 61 s hold 305 steps of the fourfold batch and 216 of the eightfold.
    best, _ = probe(minutes, monkeypatch, stage3_config, 61, lambda n, _: 0.1 * n**0.5)
    assert best.factor == 4
    assert minutes.LEAST_STEPS == 300


def test_a_full_memory_ends_the_doubling(minutes, monkeypatch, stage3_config, gpu):
    def cost(factor, _):
        if factor == 4:
            raise torch.OutOfMemoryError("too much")
        return 0.02

    best, notes = probe(minutes, monkeypatch, stage3_config, 170, cost)
    assert best.factor == 2
    assert [note["failed"] for note in notes if "failed" in note] == ["too much"]

    def nearly_full(factor, _):
        gpu.memory = 30 * factor
        return 0.02

    assert probe(minutes, monkeypatch, stage3_config, 170, nearly_full)[0].factor == 2


@pytest.mark.parametrize(
    ("seconds", "gain", "compiles"), [(170, 0.5, False), (200, 0.5, True), (200, 1, False)]
)
def test_compiling_needs_a_long_stage_and_a_gain(
    minutes, monkeypatch, stage3_config, gpu, seconds, gain, compiles
):
    def cost(factor, settings):
        return 0.5 * factor * (gain if settings.get("compile") else 1)

    best, _ = probe(minutes, monkeypatch, stage3_config, seconds, cost)
    assert best.settings.get("compile", False) is compiles


@pytest.mark.parametrize(
    ("has_bf16", "gain", "precision"), [(True, 2, "bf16"), (True, 1, "no"), (False, 2, "no")]
)
def test_a_cpu_keeps_the_batch_and_takes_bf16_where_that_pays(
    minutes, monkeypatch, stage3_config, has_bf16, gain, precision
):
    from facemend.training.engine import Engine

    monkeypatch.setattr(Engine, "has_bf16", has_bf16)
    best, notes = probe(
        minutes,
        monkeypatch,
        stage3_config,
        600,
        lambda _, settings: 0.6 / (gain if settings.get("precision") == "bf16" else 1),
    )
    assert best.settings.get("precision", "no") == precision
    assert {note["factor"] for note in notes} == {1}
    assert not any("channels_last" in note for note in notes)


def test_a_measurement_ends_when_its_time_is_up(minutes):
    began = time.monotonic()
    with pytest.raises(minutes.TimeUp), minutes.alarm(0.05):
        time.sleep(5)
    assert time.monotonic() - began < 4


def test_a_probe_leaves_nothing_and_changes_nothing(minutes, settings, tmp_path):
    config = settings("stage1", tmp_path / "run", phases=[{"steps": 2, "size": SIDE, "batch": 2}])
    trial = minutes.measure(config, minutes.Trial(2, {}), tmp_path / "probe", 3, 1)
    assert len(trial.costs) == 1
    assert 0 < trial.costs[0] < 60
    assert list(tmp_path.iterdir()) == []
    after = load_checkpoint(train(config)).state
    plain = load_checkpoint(train(config.model_copy(update={"out": tmp_path / "plain"}))).state
    assert all(torch.equal(after[name], plain[name]) for name in plain)


# What travels.


@pytest.fixture
def data(faces, tmp_path):
    """Made-up faces as the configs expect them: two folders, their table, test faces."""
    root = tmp_path / "faces"
    for folder in ("train512", "test"):
        (root / folder).mkdir(parents=True)
        for file in sorted(faces.glob("*.png")):
            shutil.copyfile(file, root / folder / f"{folder[:2]}{file.name}")
    rows = "".join(
        f"train256,{p.name},{'ab'[n % 2]},0\n" for n, p in enumerate(sorted((root / "train512").glob("*")))
    )
    (root / "train.csv").write_text("folder,file,source,yaw\n" + rows)
    return root


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_pictures_travel_as_they_are(travel, data, tmp_path):
    tests = sorted((data / "test").glob("*"))[:2]
    manifest = travel.pack(tmp_path / "f.tar", data, [data / "train512"], [data / "train.csv", *tests])
    assert manifest["each_source"] is None
    out = contents(travel.unpack(tmp_path / "f.tar", tmp_path / "out"))
    expected = {k: v for k, v in contents(data).items() if k.startswith("train")}
    expected |= {f"test/{p.name}": p.read_bytes() for p in tests}
    assert json.loads(out.pop(travel.MANIFEST)) == manifest
    assert out == expected
    assert manifest["files"] == {k: hashlib.sha256(v).hexdigest() for k, v in expected.items()}


def test_a_limit_takes_as_many_faces_of_each_source_as_fit(travel, data, tmp_path):
    folders, others = [data / "train512"], [data / "train.csv"]
    whole = travel.pack(tmp_path / "all.tar", data, folders, others)
    sizes = {}
    for most in (1, 2):
        names = ["train.csv"] + [f"train512/tr{n}.png" for n in range(2 * most)]  # sources take turns
        limit = travel._tar_size(data, [data / name for name in names])
        manifest = travel.pack(tmp_path / f"{most}.tar", data, folders, others, limit)
        assert manifest["each_source"] == most
        assert sorted(manifest["files"]) == sorted(names)
        sizes[most] = (tmp_path / f"{most}.tar").stat().st_size
        assert sizes[most] <= limit
        assert travel.pack(tmp_path / "x.tar", data, folders, others, limit + 1)["each_source"] == most
    with pytest.raises(ConfigError, match="--pack-mib"):
        travel.pack(tmp_path / "no.tar", data, folders, others, sizes[1] // 4)
    assert not (tmp_path / "no.tar").exists()
    assert len(whole["files"]) == 7


def test_a_damaged_tar_is_not_taken(travel, data, tmp_path):
    file = tmp_path / "f.tar"
    travel.pack(file, data, [data / "train512"], [])
    raw = bytearray(file.read_bytes())
    with tarfile.open(file) as tar:
        at = tar.getmembers()[-1].offset_data
    raw[at + 5] ^= 1
    file.write_bytes(raw)
    with pytest.raises(InputError, match=r"train512/.*damaged"):
        travel.unpack(file, tmp_path / "out")
    file.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(InputError, match="not a whole file"):
        travel.unpack(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.aside").exists()


def weights(path: Path, size: int, seed: int) -> bytes:
    path.write_bytes(np.random.default_rng(seed).bytes(size))
    return path.read_bytes()


def joined(travel, folder: Path, out: Path) -> bytes:
    out.unlink(missing_ok=True)
    travel.join_parts(folder, out)
    return out.read_bytes()


KIB = 1 / 1024


@pytest.mark.parametrize("size", [1, 1023, 1024, 1025, 8192])
def test_parts_join_to_what_was_cut(travel, tmp_path, size):
    data = weights(tmp_path / "w", size, 0)
    travel.put_parts(tmp_path / "w", tmp_path / "m", KIB, {"stage": "stage2"})
    parts = sorted((tmp_path / "m").glob("weights-*"))
    assert len(parts) == math.ceil(size / 1024)
    assert all(part.stat().st_size <= 1024 for part in parts)
    assert json.loads((tmp_path / "m" / travel.MILESTONE).read_text())["stage"] == "stage2"
    assert joined(travel, tmp_path / "m", tmp_path / "out") == data
    assert b"".join(part.read_bytes() for part in parts) == data  # as `cat` does


def test_too_many_parts_say_which_size_is_enough(travel):
    with pytest.raises(ConfigError, match="--part-mib 2"):
        travel.count_parts(9 * travel.MIB, 1)
    assert travel.count_parts(9 * travel.MIB, 2) == 5


def test_a_damaged_or_missing_part_is_seen(travel, tmp_path):
    weights(tmp_path / "w", 3000, 0)
    travel.put_parts(tmp_path / "w", tmp_path / "m", KIB, {})
    part = sorted((tmp_path / "m").glob("weights-*"))[1]
    kept = part.read_bytes()
    part.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    with pytest.raises(InputError, match="damaged"):
        travel.join_parts(tmp_path / "m", tmp_path / "out")
    part.unlink()
    with pytest.raises(InputError, match="no whole milestone"):
        travel.join_parts(tmp_path / "m", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("other_disk", [False, True])
@pytest.mark.parametrize("size", [3000, 6000])
def test_a_milestone_is_whole_wherever_its_writing_stops(travel, tmp_path, monkeypatch, size, other_disk):
    """The k-th rename fails, for every k. Three old parts stay so long; of six there is no room for both."""
    rename, folder = os.replace, tmp_path / "m"

    def watched(source, target):
        calls.append(target)
        assert len(list(folder.glob("weights-*"))) <= travel.MOST_PARTS
        if len(calls) == stop:
            raise KeyboardInterrupt
        if other_disk and Path(source).parent != Path(target).parent:
            raise OSError(errno.EXDEV, "another disk")
        rename(source, target)

    monkeypatch.setattr(travel.os, "replace", watched)
    stop, done = 0, False
    while not done:
        calls: list[Path] = []
        wanted, stop = stop + 1, 0
        shutil.rmtree(folder, ignore_errors=True)
        old = weights(tmp_path / "old", size, 1)
        travel.put_parts(tmp_path / "old", folder, KIB, {})
        calls.clear()
        stop = wanted
        new = weights(tmp_path / "new", size, 2)
        try:
            travel.put_parts(tmp_path / "new", folder, KIB, {})
            done = True
        except KeyboardInterrupt:
            pass
        stop = 0
        if done:
            assert joined(travel, folder, tmp_path / "out") == new
        elif size == 3000:
            assert joined(travel, folder, tmp_path / "out") == old
        else:
            assert not (folder / travel.MILESTONE).exists()  # none, but never a half one
        travel.put_parts(tmp_path / "new", folder, KIB, {})
        assert joined(travel, folder, tmp_path / "out") == new
        assert len(list(folder.iterdir())) == math.ceil(size / 1024) + 1
        stop = wanted
    assert stop > 2


def test_a_full_disk_keeps_the_milestone_before(travel, tmp_path, monkeypatch):
    old = weights(tmp_path / "old", 3000, 1)
    travel.put_parts(tmp_path / "old", tmp_path / "m", KIB, {})
    weights(tmp_path / "new", 3000, 2)
    write = Path.write_bytes

    def full(path, piece):
        write(path, piece[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match="make room"):
            travel.put_parts(tmp_path / "new", tmp_path / "m", KIB, {})
    assert joined(travel, tmp_path / "m", tmp_path / "out") == old
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m", "new", "old", "out"]


# The whole recipe.

STAGE1 = """
stage = "stage1"
network = "tiny"
out = "runs/compact-512/stage1"
init = "runs/grown.safetensors"
threads = 1
[data]
folders = [{ path = "../shared/faces/train512" }]
holdout = 2
[perceptual]
net = "alex"
[adversary]
width = 8
layers = 2
[[phases]]
steps = 6
size = 64
batch = 2
[[phases]]
steps = 2
size = 64
batch = 2
adversary = true
"""
STAGE2 = """
stage = "stage2"
network = "tiny"
out = "runs/compact-512/stage2"
stage1 = "runs/compact-512/stage1/model.safetensors"
init = "runs/grown.safetensors"
min_psnr = 0
threads = 1
[data]
folders = [{ path = "../shared/faces/train512" }]
table = "../shared/faces/train.csv"
sources = { a = 0.5 }
holdout = 2
[[phases]]
steps = 6
batch = 2
degradation = "heavy"
"""
STAGE3 = """
stage = "stage3"
network = "tiny"
out = "runs/compact-512/stage3"
stage1 = "runs/compact-512/stage1/model.safetensors"
stage2 = "runs/compact-512/stage2/model.safetensors"
discriminator = "runs/compact-512/stage1/discriminator.safetensors"
min_psnr = 0
threads = 1
[data]
folders = [{ path = "../shared/faces/train512" }]
holdout = 2
[perceptual]
net = "alex"
[adversary]
width = 8
layers = 2
[[phases]]
steps = 6
batch = 2
degradation = "heavy"
w = [0.0, 1.0]
adversary = true
"""


@pytest.fixture
def command(data, stage3, tmp_path):
    """Words of the command line for a tiny run."""
    (tmp_path / "configs").mkdir()
    for number, text in enumerate((STAGE1, STAGE2, STAGE3), 1):
        (tmp_path / f"configs/compact-512-stage{number}.toml").write_text(text)
    # The made-up table has no train512: as for the real one, faces of that folder have no row of their own.
    table = data / "train.csv"
    table.write_text(table.read_text().replace("train256,", "train512,"))
    return [
        str(tmp_path / "model"),
        *("--from", str(stage3.path), "--data", str(data), "--configs", str(tmp_path / "configs")),
    ]


@pytest.mark.slow
def test_a_run_of_minutes_stops_goes_on_and_ends_in_time(
    default, minutes, travel, command, tmp_path, monkeypatch
):
    """On a clock by which a training step takes 2 s, the export 10 s and an evaluated face 5 s."""
    import facemend.evaluation.suite as suite
    import facemend.export.model as exporting
    from facemend.training.run import Run

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
    monkeypatch.setattr(default, "SAVE_SECONDS", 30)
    monkeypatch.setattr(minutes, "SAVE_SECONDS", 30)
    words = [*command, "--minutes", "4", "--milestones", str(tmp_path / "m"), "--part-mib", str(64 * KIB)]

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
    assert [note["what"] for note in notes].count("probe stage2") == 2  # none when it went on
    steps = [line["step"] for line in read_log(tmp_path / "model-work/stage2")]
    assert steps.count(max(steps)) >= 1
    assert max(steps) > stage2
    results = json.loads((tmp_path / "model-results.json").read_text())
    assert {method["w"] for method in results["methods"]} == {0.0, 0.5, 1.0}
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
def test_a_try_takes_two_steps_a_stage_from_packed_faces(default, command, tmp_path, capsys):
    tar = tmp_path / "faces.tar"
    assert default.main([*command, "--pack", str(tar)], 0.0) == 0
    assert "all faces of each source" in capsys.readouterr().out
    words = [str(tar) if word.endswith("/faces") else word for word in command]
    assert default.main([*words, "--try"], time.monotonic()) == 0
    for stage in ("stage1", "stage2", "stage3"):
        product = load_checkpoint(tmp_path / f"try/model-work/{stage}/model.safetensors")
        assert product.info["step"] == 2
    assert (tmp_path / "try/model/model.json").is_file()
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ["--data", "nowhere"],
            "nowhere/train512: no training pictures there; name their folder with --data",
        ),
        (["--from", "no-such-model"], "no-such-model"),
        (["--from", "no.safetensors"], "no.safetensors: no such checkpoint"),
        (["--minutes", "0.5"], "--minutes 0.5 are too few: at least 2 here"),
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
