"""The report of an evaluation: its numbers are those of the results, and nothing in it is loaded or run."""

import base64
import copy
import io
import re

import numpy as np
import pytest
from PIL import Image
from report_data import SPECS, make_published, make_results, make_sheets, make_speed, sha

from facemend.charts import plots
from facemend.charts.svg import MINUS, round_ticks
from facemend.evaluation.reports.report import Sheet, render, summarise
from facemend.evaluation.reports.tables import DASH, decimals, show, wins_over
from facemend.imaging import Picture
from html_page import Page

ABSENT = f"{DASH}not measured"


def page_of(results, speed=None, sheets=(), published=()):
    return Page(render(results, speed=speed, sheets=sheets, published=published))


def values_of(cells):
    return [float(cell["data-value"]) if "data-value" in cell else None for cell in cells]


@pytest.fixture(scope="module")
def results():
    return make_results(n=24, models=("compact-256", "full-512"))


@pytest.fixture(scope="module")
def full(results):
    return page_of(results, make_speed(), make_sheets(), make_published())


def test_the_main_table_shows_the_numbers_of_the_results(full, results):
    rows = full.rows("main-table")
    assert list(rows) == [m["name"] for m in results["methods"]]
    for method in results["methods"]:
        cells = rows[method["name"]]
        wanted = [method["means"][key]["mean"] for key in results["metrics"]]
        assert values_of(cells) == wanted
        for cell, value in zip(cells, wanted, strict=True):
            shown = re.match(rf"{MINUS}?[\d.]+", cell["text"])[0]
            places = len(shown.partition(".")[2])
            assert places >= 1
            assert float(shown.replace(MINUS, "-")) == pytest.approx(value, abs=0.5001 * 10**-places)
        lpips = method["means"]["lpips"]
        assert f"{lpips['low']:.3f} {DASH} {lpips['high']:.3f}" in cells[list(SPECS).index("lpips")]["text"]
    for column, (key, spec) in enumerate(results["metrics"].items()):
        best = (max if spec["higher_is_better"] else min)(m["means"][key]["mean"] for m in results["methods"])
        (marked,) = [cells[column] for cells in rows.values() if "best" in cells[column]["class"]]
        assert float(marked["data-value"]) == best
        assert "(best)" in marked["text"]
    header = next(row for row in full.tables["main-table"] if row[1]["tag"] == "th")
    texts = {cell["text"].split()[0]: (cell["data-better"], cell["text"]) for cell in header}
    assert texts["PSNR"] == ("high", "PSNR ↑ (higher is better) dB")
    assert texts["LPIPS-Alex"] == ("low", "LPIPS-Alex ↓ (lower is better)")


def test_win_shares_are_counted_picture_by_picture(full, results):
    rows = full.rows("win-table")
    assert list(rows) == [m["name"] for m in results["methods"][1:]]
    given = results["methods"][0]["values"]
    for method in results["methods"][1:]:
        for cell, (key, spec) in zip(rows[method["name"]], results["metrics"].items(), strict=True):
            sign = 1 if spec["higher_is_better"] else -1
            share = np.mean(sign * (np.array(method["values"][key]) - np.array(given[key])) > 0)
            assert float(cell["data-value"]) == share
            assert ("worse" in cell["class"]) == (share < 0.5)
    # Pictures without a value are left out, and ties count for nobody.
    mine, theirs = {"values": {"a": [1, 2, None, 5, 7]}}, {"values": {"a": [2, 2, 3, None, 6]}}
    assert wins_over(mine, theirs, "a", True) == wins_over(mine, theirs, "a", False) == (1, 3)


def test_all_but_one_picture_is_not_called_100_percent():
    results = make_results(n=400, peers=("bicubic",), keys=("niqe",), models=())
    given, peer = (m["values"]["niqe"] for m in results["methods"])
    peer[:] = [value - 1 for value in given]
    peer[0] = given[0] + 1
    (cell,) = page_of(results).rows("win-table")["bicubic"]
    assert (cell["text"], float(cell["data-value"])) == ("99 %", 399 / 400)


def test_slices_show_every_part_with_its_number_of_pictures(full, results):
    keys = ("lpips", "ids", "niqe")
    for number, group in enumerate(results["methods"][0]["slices"], 1):
        parts = results["methods"][0]["slices"][group]
        spans = [cell["text"] for cell in full.tables[f"slice-{number}"][0] if cell["tag"] == "th"]
        assert spans == [f"{p} (n = {v['lpips']['n']})" for p, v in parts.items()]
        for method in results["methods"]:
            wanted = [method["slices"][group][part][key]["mean"] for part in parts for key in keys]
            assert values_of(full.rows(f"slice-{number}")[method["name"]]) == wanted


def test_the_page_loads_nothing(results):
    text = render(results, speed=make_speed(), sheets=make_sheets(), published=make_published())
    assert not re.search(r"https?:|url\(|@import", text)
    page = Page(text)
    for tag, attrs in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        for name in ("src", "href", "srcset", "action", "data", "xlink:href"):
            assert attrs.get(name, "#").startswith(("#", "data:image/jpeg;base64,"))
        assert "style" not in attrs  # the policy forbids it
        assert not any(name.startswith("on") for name in attrs)
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_the_page_is_made_for_screen_readers(full):
    assert full.all("html") == [{"lang": "en"}]
    ids = [attrs["id"] for _, attrs in full.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in full.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            assert attrs.get(name, ids[0]) in ids
    charts = [a for a in full.all("svg") if a.get("aria-hidden") != "true"]
    assert len(charts) == 1 + len(SPECS)
    assert all(a["role"] == "img" and a["aria-labelledby"] and a["aria-describedby"] for a in charts)
    assert all(a["alt"] for a in full.all("img"))
    assert len(full.all("caption")) == len(full.tables)
    for table in full.tables.values():
        assert all("scope" in cell for row in table for cell in row if cell["tag"] == "th")
    targets = [a["href"][1:] for a in full.all("a")]
    assert len(targets) == 8
    assert set(targets) <= set(ids)


def test_protocol_versions_and_hashes_are_all_there(full, results):
    protocol = results["protocol"]
    wanted = ["facemend-small (full-reference)", "256 \N{MULTIPLICATION SIGN} 256 pixels", "heavy"]
    wanted += ["whole aligned face", "torch 2.11.0", protocol["command"], protocol["notes"][0]]
    wanted += [sha(name) for name in ("alex", "dlib", "encode", "decode")]
    wanted += [sha(name)[:8] + " " for name in ("alex", "dlib", "encode", "decode")]
    wanted += [spec[part] for spec in results["metrics"].values() for part in ("explain", "network")]
    assert [text for text in wanted if text not in full.text] == []


def test_nothing_in_names_becomes_markup(results):
    evil = '<img src=x onerror="alert(1)">&amp;\'--></script></style></svg>'
    changed = copy.deepcopy(results)
    changed["title"] = evil
    changed["inputs"][0]["name"] = evil + "n" * 300
    changed["inputs"][0]["labels"]["source"] = evil
    changed["protocol"]["command"] = changed["protocol"]["notes"][0] = evil
    changed["weights"][evil] = changed["weights"].pop("dlib ResNet")
    changed["metrics"]["lpips"]["label"] = changed["metrics"]["lpips"]["explain"] = evil
    for method in changed["methods"]:
        method["name"] = evil + method["name"]
        method["model"] = method["model"] and evil + method["model"]
        method["slices"]["source"][evil] = method["slices"]["source"].pop("t2i_tiles")
    sheet = Sheet(evil, evil, make_sheets()[0].picture)
    speed = make_speed()
    speed["device"] = speed["rows"][0]["name"] = evil
    page = page_of(changed, speed, [sheet], make_published())
    plain = page_of(results, make_speed(), make_sheets(), make_published())
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert page.text.count("<img src=x onerror=") > 20
    assert not any("onerror" in attrs for _, attrs in page.elements)
    assert any(attrs.get("alt") == f"{evil}: {evil}" for attrs in page.all("img"))


def test_what_was_not_measured_is_a_dash_and_a_slice_of_fewer_pictures_says_so(results):
    changed = copy.deepcopy(results)
    bicubic, unsharp = changed["methods"][1:3]
    nothing = {"mean": None, "low": None, "high": None, "n": 0}
    bicubic["means"]["ids"] = bicubic["slices"]["kind"]["real"]["lpips"] = nothing
    unsharp["means"]["dists"], unsharp["values"]["dists"] = nothing, [None] * 24
    few = bicubic["slices"]["kind"]["real"]["ids"]
    few["n"] -= 2
    page = page_of(changed)
    keys = list(SPECS)
    assert page.rows("main-table")["bicubic"][keys.index("ids")]["text"] == ABSENT
    assert page.rows("main-table")["unsharp"][keys.index("dists")]["text"] == ABSENT
    assert page.rows("win-table")["unsharp"][keys.index("dists")]["text"] == ABSENT
    absent, cell, _ = page.rows("slice-1")["bicubic"][:3]
    assert absent["text"] == ABSENT
    assert cell["text"].endswith(f", n = {few['n']}")
    assert "unsharp: LPIPS-Alex" in page.text
    assert "bicubic: LPIPS-Alex" not in page.text  # no mark on the chart without an IDS


def test_a_run_without_reference_and_one_w():
    results = make_results(n=620, keys=("niqe",), peers=(), ws=(0.5,))
    page = page_of(results)
    assert page.all("svg") == []
    assert "no-reference" in page.text
    assert "There was no ground truth" in page.text
    mean = results["methods"][1]["means"]["niqe"]["mean"]
    assert values_of(page.rows("main-table")["compact-256 w=0.5"]) == [mean]
    assert {cell["text"].split()[0] for cell in page.tables["slice-1"][1][1:]} == {"NIQE"}
    # Many inputs are cut short.
    assert "120 more stand in results.json" in page.text
    assert "face-499.webp" in page.text
    assert "face-500.webp" not in page.text


def test_the_input_alone_makes_a_report_too():
    page = page_of(make_results(models=(), peers=()))
    assert "win-table" not in page.tables
    (cells,) = page.rows("main-table").values()
    assert not any("best" in cell["class"] for cell in cells)  # a lone row is not the best
    assert "input has the best LPIPS-Alex" in page.text


def test_the_summary_says_who_is_best_and_by_how_much(results):
    (given, *_), methods = results["methods"], results["methods"]
    best = min(methods, key=lambda m: m["means"]["lpips"]["mean"])
    wins = sum(a < b for a, b in zip(best["values"]["lpips"], given["values"]["lpips"], strict=True))
    level = given["means"]["lpips"]["mean"]
    ahead = sum(m["kind"] == "model" and m["means"]["lpips"]["mean"] < level for m in methods)
    closest = max(methods, key=lambda m: m["means"]["ids"]["mean"])
    assert summarise(results) == [
        f"Over 24 pictures, {best['name']} has the best LPIPS-Alex ({best['means']['lpips']['mean']:.3f}; "
        f"the input has {level:.3f}) and is better than the input on {wins} of 24.",
        f"{ahead} of 10 model settings have a better mean than the input.",
        f"Closest to the true person by IDS is {closest['name']} ({closest['means']['ids']['mean']:.3f}).",
    ]


def test_the_summary_does_not_flatter_a_bad_model(results):
    changed = copy.deepcopy(results)
    for method in changed["methods"][1:]:
        method["means"]["lpips"]["mean"] += 1
        method["means"]["ids"]["mean"] -= 1
    first, second, third = summarise(changed)
    assert "input has the best LPIPS-Alex" in first
    assert second.startswith("0 of 10 model settings")
    assert "no method is closer to the true person than the input" in third


def test_the_speed_table_shows_its_numbers(full):
    rows = full.rows("speed-table")
    got = values_of(rows["compact-256"])
    assert got == [14.48, 16.6, 106.0, 98.25, 95.5, 57.0, 9.43, 10.18, 10.47, 363.0]
    measured = [number for number, value in enumerate(values_of(rows["realesrgan-x2"])) if value is not None]
    assert measured == [2, 6]  # batch 1 alone
    assert "a made-up processor, 2 cores" in full.text


def test_published_figures_stand_below_their_warnings(full, results):
    (table,) = make_published()
    for warning in table.warnings:
        assert full.text.index(warning) < full.text.index("Alpha (1999)")
    assert "Not comparable with the rows measured here" in full.text
    assert table.source in full.text
    header, *rows = full.tables["published-1"]
    assert [cell["data-better"] for cell in header[1:]] == ["low", "low", "high"]
    assert [cell["text"] for cell in rows[0][1:]] == ["0.3412", "4.5157", ABSENT]
    divider = next(i for i, row in enumerate(rows) if row[0].get("scope") == "rowgroup")
    assert "not comparable" in rows[divider][0]["text"]
    # NIQE alone carries the same name; which net an "LPIPS" of a paper used is not known.
    own = {row[0]["data-name"]: values_of(row[1:]) for row in rows[divider + 1 :]}
    assert own == {m["name"]: [None, m["means"]["niqe"]["mean"], None] for m in results["methods"]}


def test_sheets_are_embedded_as_jpeg_without_exif(results):
    picture = make_sheets()[0].picture
    exif = Image.Exif()
    exif[0x010E] = "a private place"
    page = page_of(results, sheets=[Sheet("t", "c", Picture(picture.pixels, exif=exif.tobytes()))])
    (image,) = page.all("img")
    data = base64.b64decode(image["src"].removeprefix("data:image/jpeg;base64,"))
    assert b"private" not in data
    with Image.open(io.BytesIO(data)) as decoded:
        assert decoded.format == "JPEG"
        assert (image["width"], image["height"]) == tuple(map(str, decoded.size)) == ("1500", "300")
        assert np.abs(np.array(decoded).astype(int) - picture.pixels).mean() < 4


def test_numbers_as_text():
    shown = {(None, 2): DASH, (0.12345, 3): "0.123", (-0.5, 1): f"{MINUS}0.5", (12345.6, 0): "12\u202f346"}
    assert {key: show(*key) for key in shown} == shown
    places = {(0.37, 0.4): 3, (21.5,): 2, (106.0, 2.0): 1, (0.0123,): 4, (0.0, None): 3, (): 3}
    assert {values: decimals(values) for values in places} == places


def traded(series, marks=(), better=(True, True)):
    x, y = (plots.Axis(name, up) for name, up in zip("xy", better, strict=True))
    return plots.trade_off(series, marks, x, y, ident="c", title="t")


def test_the_curve_puts_better_up_and_right():
    points = tuple(plots.Point(f"w={i}", x, y, "") for i, (x, y) in enumerate([(0.2, 0.3), (0.6, 0.5)]))
    svg = traded([plots.Series("m", points)], [plots.Point("input", 0.4, 0.4, "")], (True, False))
    (x1, y1), (x2, y2) = ((float(a["cx"]), float(a["cy"])) for a in Page(svg).all("circle"))
    assert x1 < x2
    assert y1 < y2  # the smaller, better one is higher on the page
    assert Page(svg).text.count("w=0") == 1


def test_labels_on_the_curve_do_not_cover_each_other():
    rng = np.random.default_rng(3)
    ws = (0, 0.25, 0.5, 1)
    svg = traded(
        [
            plots.Series(f"m{k}", tuple(plots.Point(f"w={w:g}", *rng.uniform(0, 1, 2), "") for w in ws))
            for k in range(3)
        ]
    )
    places = re.findall(r'<text text-anchor="middle" x="([\d.]+)" y="([\d.]+)">w=', svg)
    assert len(places) == 12
    spots = [(float(x), float(y)) for x, y in places]
    for i, (x, y) in enumerate(spots):
        assert 0 < x < 600
        assert 0 < y < 440
        assert not any(abs(x - a) < 24 and abs(y - b) < 13 for a, b in spots[:i])


def test_equal_points_make_a_chart_too():
    svg = traded([plots.Series("m", tuple(plots.Point(f"w={w}", 0.0, 0.0, "") for w in (0, 1)))])
    assert "nan" not in svg
    assert Page(svg).all("circle")


def test_ticks_are_round_and_have_the_decimals_that_they_need():
    for ends, count, texts in (
        ((-0.04, 1.04), 5, "0.00 0.25 0.50 0.75 1.00"),
        ((1.04, -0.5), 4, f"{MINUS}0.5 0.0 0.5 1.0"),
        ((20, 3800), 4, "1,000 2,000 3,000"),
        ((0.0412, 0.0449), 4, "0.042 0.043 0.044"),
    ):
        ticks = round_ticks(ends, count)
        assert " ".join(text for _, text in ticks) == texts
        values = [float(text.replace(MINUS, "-").replace(",", "")) for _, text in ticks]
        assert [value for value, _ in ticks] == pytest.approx(values)


def test_charts_over_w_have_a_band_and_the_level_of_the_input():
    points = tuple(plots.Point("", w, 2.0 + w, "", 1.5 + w, 2.5 + w) for w in (0.0, 1.0))
    svg = plots.over_w([plots.Series("m", points)], 1.0, plots.Axis("y", True), ident="o", title="t")
    (band,), (level,) = (
        Page(svg).all("polygon"),
        [a for a in Page(svg).all("line") if a.get("class") == "input"],
    )
    corners = [tuple(map(float, pair.split(","))) for pair in band["points"].split()]
    assert corners[0][1] < corners[3][1]  # the upper end first, then back along the lower one
    assert float(level["y1"]) > max(y for _, y in corners)
    (x1, y1), (x2, y2) = ((float(a["cx"]), float(a["cy"])) for a in Page(svg).all("circle"))
    assert y1 == pytest.approx((corners[0][1] + corners[3][1]) / 2, abs=0.2)
    assert (x1 < x2, y1 > y2) == (True, True)
