"""The page of a run: what it shows, what it survives, and that it is self-contained."""

import json
import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from facemend.charts.plots import over_steps
from facemend.cli.app import app
from facemend.errors import ExistsError, InputError, OutputError
from facemend.training.report import read_log, write_report
from html_page import Page

PHASES = [
    {"steps": 60, "batch": 4, "degradation": "mixed", "w": [0.0, 1.2], "adversary": False},
    {"steps": 40, "batch": 2, "degradation": "mixed", "w": [0.0, 1.2], "adversary": True},
]
CONFIG = {
    "stage": "stage3",
    "network": "tiny",
    "out": "runs/x",
    "seed": 3,
    "phases": PHASES,
    "optim": {"lr": 1e-3, "clip": 0.0},
    "discriminator": None,
}


@pytest.fixture
def run(tmp_path):
    """A made-up run of 100 steps, resumed at 40."""
    folder = tmp_path / "my run"
    (folder / "previews").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "environment.json").write_text(
        json.dumps({"torch": "2.13", "device": "cpu x2", "processes": 2})
    )
    lines = [{"step": s, "l1": 9.0, "token": 6.0, "gradient": 1.0} for s in (20, 40, 60)]
    for step in range(50, 101, 10):
        lines.append(
            {"step": step, "l1": 1 / step, "token": 3.0, "top1": 0.2, "top5": 0.5, "gradient": 10**-step}
        )
        if step > 60:
            lines[-1] |= {"lambda": 0.5, "real": 0.2, "fake": -0.2, "d_loss": 1.8, "images_per_second": 5.0}
        lines.append(
            {"step": step, "held_out/psnr_lq": 22.0, "held_out/psnr_w0.5": 23.5, "held_out/top1": 0.3}
        )
    text = "\n".join(map(json.dumps, lines)) + '\n{"step": 101, "l1": 0.'
    (folder / "log.jsonl").write_text(text)
    for step in range(10, 100, 10):
        pixels = np.full((40, 90, 3), step, np.uint8)
        Image.fromarray(pixels).save(folder / "previews" / f"step_{step:06d}.png")
    return folder


def test_the_page_shows_the_run(run):
    text = write_report(run).read_text(encoding="utf-8")
    page = Page(text)
    assert page.headings == [
        "Picture losses", "Codes", "Code accuracy", "Discriminator", "Adaptive weight", "Gradient", "Speed",
        "Held out: psnr", "Held out: top1",
    ]  # fmt: skip
    assert "my run" in text
    assert "100 of 100 (finished)" in text
    assert f"{(60 * 4 + 40 * 2) * 2:,}" in text  # two processes
    assert "steps 61 to 100: batch 2" in text
    assert "psnr_w0.5 <b>23.5</b>" in text
    assert "No warnings" in text
    assert "optim.lr" in text


def test_each_of_several_discriminators_has_its_curves(run):
    several = [{"kind": "patch", "name": "patch"}, {"kind": "projected", "name": "far"}]
    (run / "config.json").write_text(json.dumps(CONFIG | {"adversary": several}))
    names = ["lambda", "real", "fake", "d_loss"]
    line = {f"{name}_{which}": 0.5 for name in names for which in ("patch", "far")}
    with (run / "log.jsonl").open("w") as file:
        file.writelines(json.dumps({"step": step, "gate_far": 1.0} | line) + "\n" for step in (10, 20))
    text = write_report(run).read_text(encoding="utf-8")
    assert Page(text).headings == ["Discriminator patch", "Discriminator far", "Adaptive weight"]
    for name in (*line, "gate_far"):
        assert f"{name} <b>" in text


def test_it_is_self_contained_and_previews_are_the_last_the_first_and_some_between(run):
    text = write_report(run).read_text(encoding="utf-8")
    assert all(a["src"].startswith("data:image/jpeg;base64,") for a in Page(text).all("img"))
    assert not re.search(r"https?://(?!www\.w3\.org)|<script|@import|url\(", text)
    assert re.findall(r"<summary>Step (\d+)</summary>", text) == ["90", "70", "50", "30", "10"]
    assert text.count("<details open>") == 1


def test_repeated_steps_count_once_and_a_cut_line_not_at_all(run):
    lines = [line for line in read_log(run) if "l1" in line]
    assert [line["step"] for line in lines] == [20, 40, 50, 60, 70, 80, 90, 100]
    assert lines[3]["l1"] == pytest.approx(1 / 60)


def test_an_abandoned_stretch_does_not_count(run):
    with (run / "log.jsonl").open("a") as file:
        file.write("\n" + "\n".join(json.dumps({"step": step, "l1": 0.5}) for step in (70, 75)))
    lines = [line for line in read_log(run) if "l1" in line]
    assert [line["step"] for line in lines] == [20, 40, 50, 60, 70, 75]
    assert "75 of 100<" in write_report(run).read_text()


def test_further_terms_and_spikes_are_drawn(run):
    terms = {"lpips_alex": 0.3, "lpips_alex_2": 0.2, "spikes": 0.01}
    with (run / "log.jsonl").open("a") as file:
        file.write("\n" + "\n".join(json.dumps({"step": step} | terms) for step in (110, 120)))
    text = write_report(run).read_text()
    assert all(f"{name} <b>" in text for name in terms)


def test_a_page_in_a_folder_that_is_not_there(run, tmp_path):
    with pytest.raises(OutputError, match=r"page\.html: cannot be written"):
        write_report(run, tmp_path / "nowhere/page.html")


def test_scales_are_drawn_beside_their_mean(run):
    lines = [
        {"step": step, "token": 3.0, "token_s16": 4.0, "token_s8": 2.0, "tokens_s8": 9.0}
        for step in (110, 120)
    ]
    lines += [{"step": 120, "held_out/top1": 0.2, "held_out/top1_s8": 0.25}]
    with (run / "log.jsonl").open("a") as file:
        file.write("\n" + "\n".join(map(json.dumps, lines)))
    text = write_report(run).read_text()
    legend = [f"{name} <b>" for name in ("token", "token_s8", "token_s16", "top1", "top1_s8")]
    drawn = [text.find(entry) for entry in legend]
    assert drawn == sorted(drawn)
    assert drawn[0] > 0
    assert Page(text).headings.count("Held out: top1") == 1
    assert "Held out: top1_s8" not in Page(text).headings
    assert "tokens_s8" not in text


def test_warnings_come_first(run):
    (run / "warnings.jsonl").write_text(json.dumps({"step": 40, "name": "x", "text": "lower <optim.lr>"}))
    text = write_report(run).read_text(encoding="utf-8")
    assert "Step 40: lower &lt;optim.lr&gt;" in text
    assert text.index("Step 40:") < text.index("<h2>Curves")
    assert "No warnings" not in text


def test_a_real_run_by_the_command(stage3):
    page = stage3.folder.parent / "page.html"
    done = CliRunner().invoke(
        app, ["train", "report", str(stage3.folder), "-o", str(page), "--title", "A tiny run"]
    )
    assert done.exit_code == 0, done.output
    assert done.stdout.strip().endswith("page.html")
    text = page.read_text(encoding="utf-8")
    for part in ("<h1>A tiny run</h1>", "stage3 of tiny", "lpips_alex_w0.5"):
        assert part in text
    Page(text)


def test_folders_that_are_no_runs(run, tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        write_report(tmp_path / "nowhere")
    done = CliRunner().invoke(app, ["train", "report", str(tmp_path / "nowhere")])
    assert (done.exit_code, "holds no run" in done.stderr) == (1, True)
    (run / "log.jsonl").write_text("")
    with pytest.raises(InputError, match=r"log\.jsonl: nothing was logged"):
        write_report(run)
    assert not (run / "report.html").exists()
    (run / "config.json").write_text("[]")
    with pytest.raises(InputError, match="no record of a run"):
        write_report(run)


def points(svg, name="polyline"):
    found = [e for e in ET.fromstring(svg).iter() if e.tag == name and e.get("class") != "faint"]
    return [tuple(map(float, pair.split(","))) for e in found for pair in e.get("points").split()]


def test_curves_run_from_left_to_right_and_low_values_lie_low():
    svg = over_steps({"a": [(0, 1.0), (50, 3.0), (100, 2.0)]}, [50, 100], ident="x", title="A & B")
    (x0, y0), (x1, y1), (x2, y2) = points(svg)
    assert (x0, x2) == (52, 460 - 12)  # the margins
    assert x1 == pytest.approx((x0 + x2) / 2)
    assert 0 < y1 < y2 < y0 < 240
    assert y2 == pytest.approx((y0 + y1) / 2, abs=0.2)
    assert svg.count('class="phase"') == 1  # the end of the run is no boundary
    assert "A &amp; B" in svg


def test_a_logarithmic_axis_needs_a_decade():
    wide = points(over_steps({"a": [(0, 1.0), (1, 10.0), (2, 100.0)]}, [], ident="x", title="t", log=True))
    assert wide[0][1] - wide[1][1] == pytest.approx(wide[1][1] - wide[2][1], abs=0.2)
    narrow = points(over_steps({"a": [(0, 1.0), (1, 2.0), (2, 4.0)]}, [], ident="x", title="t", log=True))
    assert narrow[0][1] - narrow[1][1] == pytest.approx((narrow[1][1] - narrow[2][1]) / 2, abs=0.2)


def test_one_point_and_values_that_are_all_the_same():
    assert over_steps({"a": [(7, 0.0)]}, [], ident="x", title="t").startswith("<svg")
    assert "NaN" not in over_steps({"a": [(1, 2.0), (2, 2.0)]}, [], ident="x", title="t", log=True)


def test_only_the_runs_own_page_is_replaced_unasked(run, tmp_path):
    assert write_report(run) == write_report(run) == run / "report.html"
    other = tmp_path / "notes.html"
    other.write_text("precious")
    with pytest.raises(ExistsError, match=r"notes\.html: exists already; use --overwrite"):
        write_report(run, other)
    assert other.read_text() == "precious"
    write_report(run, other, overwrite=True)
    assert "<html" in other.read_text()
