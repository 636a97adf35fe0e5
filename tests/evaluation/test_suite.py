"""Whole runs. One is shared: three faces, the input, bicubic and the tiny model at two w."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import facemend
from facemend.degradations import degrade
from facemend.errors import FacemendError, InputError, OutputError
from facemend.evaluation import scoring, suite
from facemend.evaluation.options import EvaluationOptions
from facemend.evaluation.peers import open_peer
from facemend.evaluation.reports.sheets import main_method, make_sheets
from facemend.evaluation.store import FILE
from facemend.evaluation.suite import evaluate
from facemend.evaluation.summary import interval
from facemend.imaging import Picture, from_float, read_picture, resize, to_float, write_picture
from facemend.metrics import METRICS, niqe, psnr

NAMES = ["input", "bicubic", "tiny w=0", "tiny w=1"]
METRIC_NAMES = ["psnr", "ssim", "ms_ssim", "lpips", "ids", "ids_degrees", "identity_distance", "lmd", "niqe"]


class Interrupted(Exception):  # noqa: N818
    """What stands for Ctrl-C."""


def stop_after(count):
    """`on_start` that interrupts a run after some cases; `told` holds what it was told."""
    told = []

    def start(total, done):
        told.append((total, done))

        def advance():
            told.append("case")
            if told.count("case") == count:
                raise Interrupted

        return advance

    start.told = told
    return start


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """Without DISTS, which takes half the time of a run; tests/cli has it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "METRICS", {name: m for name, m in METRICS.items() if name != "dists"})
        yield


@pytest.fixture(scope="module")
def settings(faces, tiny_model):
    return {
        "faces": faces,
        "title": "Three faces",
        "preset": "medium",
        "seed": 4,
        "models": (str(tiny_model),),
        "ws": (0.0, 1.0),
        "peers": ("bicubic",),
        "command": "facemend evaluate faces",
    }


@pytest.fixture(scope="module")
def run(settings, tmp_path_factory):
    """The shared run: `out` and what came back. Not to be changed."""
    out = tmp_path_factory.mktemp("run") / "deep/out"
    start = stop_after(99)
    results = evaluate(EvaluationOptions(**settings, out=out), on_start=start)
    return SimpleNamespace(out=out, results=results, told=start.told)


def refuse(*_, **__):
    raise AssertionError("measured again")


def test_an_interrupted_run_goes_on_to_the_same_bytes(run, settings, tmp_path):
    """Two of its cases are measured anew, so this shows too that the same command gives the same numbers."""
    options = EvaluationOptions(**settings, out=tmp_path, speed=False)
    with pytest.raises(Interrupted):
        evaluate(options, on_start=stop_after(2))
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE]
    whole = (tmp_path / FILE).read_bytes()
    assert whole.count(b"\n") == 3
    (tmp_path / FILE).write_bytes(whole[:-1000])  # as if the power had failed in the middle of the last line
    start = stop_after(99)
    evaluate(options, on_start=start)
    assert start.told == [(3, 1), "case", "case"]
    for name in (FILE, "results.json"):
        assert (tmp_path / name).read_bytes() == (run.out / name).read_bytes()
    assert not (tmp_path / "speed.json").exists()


def test_a_finished_run_is_written_again_without_measuring(run, settings, tmp_path, monkeypatch):
    out = shutil.copytree(run.out, tmp_path / "out")
    (out / "report.html").unlink()
    monkeypatch.setattr(suite.Scorer, "score", refuse)
    monkeypatch.setattr(suite, "measure_speed", refuse)
    results = evaluate(EvaluationOptions(**settings, out=out))
    assert results == run.results
    assert (out / "results.json").read_bytes() == (run.out / "results.json").read_bytes()
    assert (out / "report.html").is_file()


@pytest.mark.parametrize(
    "changes", [{"seed": 5}, {"preset": "heavy"}, {"ws": (0.0,)}, {"size": 128}, {"every": 2}]
)
def test_another_run_is_not_continued(run, settings, tmp_path, changes):
    out = shutil.copytree(run.out, tmp_path / "out")
    with pytest.raises(OutputError, match="another evaluation"):
        evaluate(EvaluationOptions(**settings | changes, out=out))
    assert (out / FILE).read_bytes() == (run.out / FILE).read_bytes()


def test_other_pictures_make_another_run_and_may_replace_the_first(
    run, settings, own_faces, tmp_path, monkeypatch
):
    out = shutil.copytree(run.out, tmp_path / "out")
    shutil.copy(own_faces / "biden.png", own_faces / "obama.png")
    monkeypatch.setattr(scoring, "METRICS", {name: METRICS[name] for name in ("psnr", "lpips")})
    cheap = EvaluationOptions(**settings | {"faces": own_faces, "models": (), "speed": False}, out=out)
    with pytest.raises(OutputError, match="--overwrite"):
        evaluate(cheap)
    results = evaluate(cheap, overwrite=True)
    assert json.loads((out / "results.json").read_text()) == results
    assert [method["name"] for method in results["methods"]] == ["input", "bicubic"]


def test_removed_neighbours_do_not_pass_for_the_same_run(own_faces, options):
    """The same two files, but of a folder of three at first: their seeds differ."""
    with pytest.raises(Interrupted):
        evaluate(options(every=2), on_start=stop_after(1))
    (own_faces / "obama.png").unlink()
    with pytest.raises(OutputError, match="another evaluation"):
        evaluate(options())


def test_results_have_the_form_that_was_agreed(run, settings):
    text = (run.out / "results.json").read_text(encoding="utf-8")
    results = json.loads(text, parse_constant=pytest.fail)  # NaN and the like
    assert results == run.results
    assert (results["schema"], results["title"]) == (1, "Three faces")
    protocol = results["protocol"]
    wanted = {"name": "own", "kind": "full-reference", "size": 192, "degradation": "medium", "seed": 4}
    assert protocol == protocol | wanted | {"command": "facemend evaluate faces"}
    assert all(note.endswith(".") for note in protocol["notes"])
    assert results["facemend"] == facemend.__version__
    assert {"python", "torch", "numpy", "onnxruntime", "device"} <= set(results["versions"])
    assert {"alexnet.ckpt", "face_landmark.onnx"} & set(results["weights"])
    assert all(len(sha) == 64 for sha in results["weights"].values())
    assert list(results["metrics"]) == METRIC_NAMES
    fields = {"label", "higher_is_better", "unit", "network", "range", "colour", "crop", "explain"}
    assert all(set(row) == fields for row in results["metrics"].values())
    for k, case in enumerate(results["inputs"]):
        assert (case["name"], case["seed"]) == (("biden.png", "obama.png", "obama2.png")[k], 4 + k)
        assert (len(case["hq"]), len(case["pixels"]), case["lq"]) == (64, 64, None)
        assert case["plan"].startswith("192 px")
    assert [method["name"] for method in results["methods"]] == NAMES
    for method in results["methods"]:
        assert list(method["values"]) == METRIC_NAMES
        for values in method["values"].values():
            assert [type(value) for value in values] == [float] * 3
        assert method["means"] == {name: interval(values) for name, values in method["values"].items()}
        assert set(method["slices"]) == {"source", "kind", "pose", "strength"}
    assert run.told == [(3, 0), "case", "case", "case"]


def _tensor(pixels):
    return torch.from_numpy(to_float(pixels)).permute(2, 0, 1)[None]


def test_values_are_those_of_the_pictures(run, faces):
    """The input is the picture damaged with seed + k; bicubic is made from it; both measured by hand."""
    rows = {method["name"]: method["values"] for method in run.results["methods"]}
    for k, path in enumerate(sorted(faces.iterdir())):
        hq = read_picture(path).pixels
        lq, plan = degrade(hq, "medium", 4 + k)
        assert run.results["inputs"][k]["plan"] == str(plan)
        bicubic = from_float(open_peer("bicubic")(to_float(lq)[None])[0])
        for name, pixels in (("input", lq), ("bicubic", bicubic)):
            pair = _tensor(pixels), _tensor(hq)
            assert rows[name]["psnr"][k] == pytest.approx(psnr(*pair).item(), rel=1e-9)


def test_slices_are_the_means_of_their_faces(run):
    labels = [case["labels"] for case in run.results["inputs"]]
    assert [label["pose"] for label in labels] == ["turned", "frontal", "frontal"]
    lpips_of_input = run.results["methods"][0]["values"]["lpips"]
    ranks = np.argsort(np.argsort(lpips_of_input))
    assert [label["strength"] for label in labels] == [("mild", "middle", "strong")[rank] for rank in ranks]
    for method in run.results["methods"]:
        values = method["values"]["psnr"]
        real, synthetic = (method["slices"]["kind"][kind]["psnr"] for kind in ("real", "synthetic"))
        assert (real["mean"], real["n"]) == (pytest.approx((values[0] + values[1]) / 2, rel=1e-12), 2)
        assert (synthetic["mean"], synthetic["n"]) == (values[2], 1)


def test_report_and_times_stand_beside_the_results_without_paths_of_the_machine(
    run, settings, faces, tiny_model
):
    texts = {path.name: path.read_text(encoding="utf-8") for path in run.out.iterdir()}
    assert texts.keys() == {FILE, "report.html", "results.json", "speed.json"}
    for path in (run.out, faces.parent, tiny_model.parent):
        assert [name for name, text in texts.items() if str(path) in text] == []
    for text in (*NAMES, "Three faces", "Best faces", "Median faces", "Worst faces", "Speed"):
        assert text in texts["report.html"]
    rows = json.loads(texts["speed.json"])["rows"]
    assert [row["name"] for row in rows] == ["tiny", *settings["peers"]]
    assert rows[0]["ms"]["16"] > 0


def test_times_of_another_model_or_machine_are_measured_again(run, settings, tmp_path, monkeypatch):
    out = shutil.copytree(run.out, tmp_path / "out")
    path = out / "speed.json"
    held = json.loads(path.read_text())
    monkeypatch.setattr(suite, "measure_speed", lambda *_: held | {"device": "x"})
    monkeypatch.setattr(suite.Scorer, "score", refuse)
    renamed = [[held["models"][0][0], {}]]
    for damaged in (
        *(json.dumps(held | part) for part in ({"device": "other"}, {"models": renamed}, {"side": 512})),
        "[]",
        "{",
    ):
        path.write_text(damaged)
        evaluate(EvaluationOptions(**settings, out=out))
        assert json.loads(path.read_text())["device"] == "x"


def test_the_sheets_show_the_faces_that_their_captions_name(run, settings, tmp_path):
    options = EvaluationOptions(**settings, out=tmp_path)
    entries = suite.find_entries(options)
    groups = suite.open_groups(options, entries)
    main = main_method(run.results)
    assert main["name"] == "tiny w=0"  # of the two equally far from 0.5, the first
    order = np.argsort(main["values"]["lpips"])
    sheets = make_sheets(run.results, entries, groups, options)
    assert [sheet.title for sheet in sheets] == ["Best faces", "Median faces", "Worst faces"]
    for sheet, face in zip(sheets, order, strict=True):
        assert entries[face].name in sheet.caption
        assert f"{main['values']['lpips'][face]:.3f}" in sheet.caption
        assert sheet.picture.width > 5 * 160  # four methods and the original
        cell = sheet.picture.pixels[-8 - 160 : -8, -8 - 160 : -8]
        original = suite.load_case(entries[face], options).hq
        expected = from_float(resize(to_float(original), (160, 160), "bicubic"))
        assert np.abs(cell.astype(int) - expected).max() <= 1


def test_without_originals_only_quality_is_measured(options, own_faces, tiny_model, tmp_path):
    theirs = shutil.copytree(own_faces, tmp_path / "theirs")
    shutil.copy(own_faces / "obama.png", theirs / "obama2.png")
    results = evaluate(options(reference=False, models=(str(tiny_model),), restored={"Their work": theirs}))
    protocol = results["protocol"]
    assert (results["title"], protocol["kind"]) == ("own", "no-reference")
    assert (protocol["degradation"], protocol["seed"]) == (None, None)
    assert list(results["metrics"]) == ["niqe"]
    given, theirs_row, tiny = results["methods"]
    assert [m["name"] for m in (given, theirs_row, tiny)] == ["input", "Their work", "tiny w=0.5"]
    expected = niqe(_tensor(read_picture(own_faces / "obama.png").pixels)).item()
    assert given["values"]["niqe"][1] == pytest.approx(expected, rel=1e-9)
    # 8-bit copies of the inputs, apart from the last, which is the second once more.
    assert theirs_row["values"]["niqe"] == [*given["values"]["niqe"][:2], given["values"]["niqe"][1]]
    assert all(case["hq"] is None and len(case["lq"]) == 64 for case in results["inputs"])
    assert "Their work" in (tmp_path / "out/report.html").read_text()


def test_pictures_that_cannot_be_used_are_named_before_the_work_or_left_out(options, own_faces, tmp_path):
    wide = read_picture(own_faces / "obama2.png")
    write_picture(own_faces / "obama2.png", Picture(wide.pixels[:100]), overwrite=True)
    first, *_ = sorted(own_faces.glob("*.png"))
    first.write_bytes(first.read_bytes()[:3000])
    with pytest.raises(InputError, match=rf"{first.name}: .*obama2\.png: 192x100 is not square"):
        evaluate(options(reference=False))
    assert not (tmp_path / "out").exists()
    results = evaluate(options(reference=False, incomplete=True))
    names = [case["name"] for case in results["inputs"]]
    assert names == [path.name for path in sorted(own_faces.iterdir())[1:] if path.name != "obama2.png"]
    assert f"aligned faces: {first.name}, obama2.png." in " ".join(results["protocol"]["notes"])


@pytest.mark.parametrize("name", ["report.html", "results.json", "speed.json"])
def test_files_that_are_of_no_evaluation_are_left_alone(options, tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("of a training")
    with pytest.raises(OutputError, match=rf"{name}: exists already; use --overwrite"):
        evaluate(options(reference=False))
    assert (tmp_path / "out" / name).read_text() == "of a training"


def test_wrong_methods_are_found_before_anything_is_written(options, tmp_path):
    for changes in ({"peers": ("sharper",)}, {"models": ("huge",)}, {"device": "gpu9"}):
        with pytest.raises(FacemendError):
            evaluate(options(**changes))
        assert not (tmp_path / "out").exists()
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="out"):
        evaluate(options())
