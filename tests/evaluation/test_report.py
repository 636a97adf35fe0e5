import base64
import copy
import io
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from report_data import SPECS, make_published, make_results, make_sheets, make_speed, sha

from facemend.errors import InputError, OutputError
from facemend.evaluation.reports import charts
from facemend.evaluation.reports.report import Sheet, render, summarise, write_report
from facemend.evaluation.reports.tables import DASH, decimals, main_table, show, wins_over
from facemend.imaging import Picture
from facemend.svg import MINUS

ABSENT = f"{DASH}not measured"
VOID = {"meta", "img", "br", "link", "input", "base"}


class Page(HTMLParser):
    """What the tests look at: elements in order, table cells, visible text; complains of wrong nesting."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.tables, self.words = [], [], {}, []
        self._table = self._cell = None
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.elements.append((tag, attrs))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self._table = self.tables.setdefault(attrs["id"], [])
        elif tag == "tr" and self._table is not None:
            self._table.append([])
        elif tag == "small" and self._cell is not None:
            self._cell["text"] += " "
        elif tag in ("td", "th"):
            self._cell = {"tag": tag, "text": "", **attrs}
            self._table[-1].append(self._cell)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag in ("td", "th"):
            self._cell = None

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)
        if self._cell is not None:
            self._cell["text"] += data

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def page_of(results, speed=None, sheets=(), published=()):
    return Page(render(results, speed=speed, sheets=sheets, published=published))


def body_rows(table):
    return {row[0]["data-name"]: row[1:] for row in table if "data-name" in row[0]}


@pytest.fixture(scope="module")
def results():
    return make_results(n=24, models=("compact-256", "full-512"))


@pytest.fixture(scope="module")
def full(results):
    return page_of(results, make_speed(), make_sheets(), make_published())


def test_the_main_table_shows_the_numbers_of_the_results(full, results):
    rows = body_rows(full.tables["main-table"])
    assert list(rows) == [m["name"] for m in results["methods"]]
    for method in results["methods"]:
        cells = rows[method["name"]]
        wanted = [method["means"][key]["mean"] for key in results["metrics"]]
        wanted += [method["set"][key] for key in results["set_metrics"]]
        assert [float(cell["data-value"]) for cell in cells] == wanted
        for cell, value in zip(cells, wanted, strict=True):
            shown = re.match(rf"{MINUS}?[\d.]+", cell["text"])[0]
            places = len(shown.partition(".")[2])
            assert places >= 1
            assert float(shown.replace(MINUS, "-")) == pytest.approx(value, abs=0.5001 * 10**-places)
        lpips = method["means"]["lpips"]
        assert f"{lpips['low']:.3f} {DASH} {lpips['high']:.3f}" in cells[list(SPECS).index("lpips")]["text"]


def test_the_best_of_each_column_is_marked_in_its_own_direction(full, results):
    rows = body_rows(full.tables["main-table"])
    for column, (key, spec) in enumerate(results["metrics"].items()):
        best = (max if spec["higher_is_better"] else min)(m["means"][key]["mean"] for m in results["methods"])
        marked = [cells[column] for cells in rows.values() if "best" in cells[column].get("class", "")]
        assert [float(cell["data-value"]) for cell in marked] == [best]
        assert "(best)" in marked[0]["text"]


def test_headers_say_direction_and_unit(full):
    header = next(row for row in full.tables["main-table"] if row[1]["tag"] == "th")
    texts = {cell["text"].split()[0]: cell for cell in header}
    assert "↑" in texts["PSNR"]["text"]
    assert "higher is better" in texts["PSNR"]["text"]
    assert texts["PSNR"]["text"].endswith("dB")
    assert texts["PSNR"]["data-better"] == "high"
    assert "↓" in texts["LPIPS-Alex"]["text"]
    assert texts["LPIPS-Alex"]["data-better"] == "low"


def test_win_shares_are_counted_picture_by_picture(full, results):
    rows = body_rows(full.tables["win-table"])
    assert list(rows) == [m["name"] for m in results["methods"][1:]]
    given = results["methods"][0]["values"]
    for method in results["methods"][1:]:
        for cell, (key, spec) in zip(rows[method["name"]], results["metrics"].items(), strict=True):
            sign = 1 if spec["higher_is_better"] else -1
            difference = sign * (np.array(method["values"][key]) - np.array(given[key]))
            assert float(cell["data-value"]) == np.mean(difference > 0)
            assert ("worse" in cell.get("class", "")) == (np.mean(difference > 0) < 0.5)


def test_wins_leave_out_pictures_without_a_value_and_count_no_ties():
    mine, theirs = {"values": {"a": [1, 2, None, 5, 7]}}, {"values": {"a": [2, 2, 3, None, 6]}}
    assert wins_over(mine, theirs, "a", True) == (1, 3)
    assert wins_over(mine, theirs, "a", False) == (1, 3)
    assert wins_over({"values": {}}, theirs, "a", True) == (0, 0)


def test_all_but_one_picture_is_not_called_100_percent():
    results = make_results(n=400, peers=("bicubic",), keys=("niqe",), ws=(None,))
    given, peer = (m["values"]["niqe"] for m in results["methods"][:2])
    peer[:] = [value - 1 for value in given]
    peer[0] = given[0] + 1
    cell = body_rows(page_of(results).tables["win-table"])["bicubic"][0]
    assert cell["text"] == "99 %"
    assert float(cell["data-value"]) == 399 / 400


def test_slices_show_every_part_with_its_number_of_pictures(full, results):
    groups = list(results["methods"][0]["slices"])
    for number, group in enumerate(groups, 1):
        table = full.tables[f"slice-{number}"]
        parts = results["methods"][0]["slices"][group]
        spans = [cell for cell in table[0] if cell["tag"] == "th"]
        assert [cell["text"] for cell in spans] == [f"{p} (n = {v['lpips']['n']})" for p, v in parts.items()]
        for method in results["methods"]:
            wanted = [
                method["slices"][group][part][key]["mean"]
                for part in parts
                for key in ("lpips", "ids", "niqe")
            ]
            got = [float(cell["data-value"]) for cell in body_rows(table)[method["name"]]]
            assert got == wanted


def test_a_slice_figure_of_fewer_pictures_says_so(results):
    changed = copy.deepcopy(results)
    changed["methods"][1]["slices"]["kind"]["real"]["ids"]["n"] -= 2
    n = changed["methods"][1]["slices"]["kind"]["real"]["ids"]["n"]
    cell = body_rows(page_of(changed).tables["slice-1"])["bicubic"][1]
    assert cell["text"].endswith(f", n = {n}")


def test_the_page_loads_nothing(results):
    text = render(results, speed=make_speed(), sheets=make_sheets(), published=make_published())
    assert re.search(r"https?:", text) is None
    assert "url(" not in text
    assert "@import" not in text
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
    assert targets
    assert set(targets) <= set(ids)


def test_protocol_versions_and_hashes_are_all_there(full, results):
    for value in (
        "facemend-small (full-reference)",
        "256 \N{MULTIPLICATION SIGN} 256 pixels",
        "heavy",
        "whole aligned face",
        "torch 2.11.0",
    ):
        assert value in full.text
    assert results["protocol"]["command"] in full.text
    assert results["protocol"]["notes"][0] in full.text
    for name in ("alex", "dlib", "encode", "decode"):
        assert sha(name) in full.text
        assert sha(name)[:8] + " " in full.text
    for spec in (*results["metrics"].values(), *results["set_metrics"].values()):
        assert spec["explain"] in full.text
        assert spec["network"] in full.text


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


def test_what_was_not_measured_is_a_dash(results):
    changed = copy.deepcopy(results)
    bicubic, unsharp = changed["methods"][1:3]
    bicubic["means"]["ids"] = None
    bicubic["values"]["ids"] = [None] * 24
    bicubic["slices"]["kind"]["real"]["ids"] = None
    bicubic["set"] = {}
    unsharp["means"]["lmd"] = {"mean": None, "low": None, "high": None, "n": 0}
    del unsharp["slices"]["pose"]
    del unsharp["means"]["dists"], unsharp["values"]["dists"]
    page = page_of(changed)
    rows = body_rows(page.tables["main-table"])
    keys = list(SPECS)
    for name, column in (("bicubic", "ids"), ("unsharp", "lmd"), ("unsharp", "dists")):
        cell = rows[name][keys.index(column)]
        assert "data-value" not in cell
        assert cell["text"] == ABSENT
    assert rows["bicubic"][-1]["text"] == ABSENT
    assert body_rows(page.tables["win-table"])["unsharp"][keys.index("dists")]["text"] == ABSENT
    assert body_rows(page.tables["slice-2"])["unsharp"][0]["text"] == ABSENT
    assert "unsharp: LPIPS-Alex" in page.text
    assert "bicubic: LPIPS-Alex" not in page.text  # no mark on the chart without an IDS


def test_infinity_is_shown_and_kept_out_of_the_charts(results):
    changed = copy.deepcopy(results)
    for method in changed["methods"][-2:]:
        method["means"]["psnr"] = {"mean": math.inf, "low": math.inf, "high": math.inf, "n": 24}
    page = page_of(changed)
    assert page.text.count("∞") >= 2
    assert not any("nan" in str(a.get("points", a.get("cy", ""))) for _, a in page.elements)


def test_a_run_without_reference_and_one_model_without_w():
    results = make_results(keys=("niqe",), peers=(), ws=(None,))
    page = page_of(results)
    assert page.all("svg") == []
    assert "no-reference" in page.text
    assert "There was no ground truth" in page.text
    assert (
        float(body_rows(page.tables["main-table"])["compact-256"][0]["data-value"])
        == (results["methods"][1]["means"]["niqe"]["mean"])
    )
    header = page.tables["slice-1"][1]
    assert {cell["text"].split()[0] for cell in header[1:]} == {"NIQE"}


def test_the_input_alone_makes_a_report_too():
    results = make_results(models=(), peers=())
    page = page_of(results)
    assert "win-table" not in page.tables
    assert list(body_rows(page.tables["main-table"])) == ["input"]
    assert "input has the best LPIPS-Alex" in page.text


def test_one_w_draws_no_curve():
    assert page_of(make_results(ws=(0.5,))).all("svg") == []


def test_the_summary_says_who_is_best_and_by_how_much(results):
    methods = results["methods"]
    best = min(methods, key=lambda m: m["means"]["lpips"]["mean"])
    given = methods[0]
    wins = sum(a < b for a, b in zip(best["values"]["lpips"], given["values"]["lpips"], strict=True))
    first, second, third = summarise(results)
    assert first == (
        f"Over 24 pictures, {best['name']} has the best LPIPS-Alex ({best['means']['lpips']['mean']:.3f}; "
        f"the input has {given['means']['lpips']['mean']:.3f}) and is better than the input on {wins} of 24."
    )
    ahead = [
        m
        for m in methods
        if m["kind"] == "model" and m["means"]["lpips"]["mean"] < given["means"]["lpips"]["mean"]
    ]
    assert second == f"{len(ahead)} of 10 model settings have a better mean than the input."
    closest = max(methods, key=lambda m: m["means"]["ids"]["mean"])
    assert (
        third
        == f"Closest to the true person by IDS is {closest['name']} ({closest['means']['ids']['mean']:.3f})."
    )


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
    rows = body_rows(full.tables["speed-table"])
    got = [float(cell["data-value"]) for cell in rows["compact-256"]]
    assert got == [14.48, 16.6, 106.0, 98.25, 95.5, 57.0, 9.43, 10.18, 10.47, 363.0]
    assert ["data-value" in cell for cell in rows["realesrgan-x2"]] == [
        key in (2, 6) for key in range(10)
    ]  # batch 1 alone was measured
    assert "a made-up processor, 2 cores" in full.text


def test_published_figures_stand_below_their_warnings(full, results):
    table = make_published()[0]
    for warning in table.warnings:
        assert full.text.index(warning) < full.text.index("Alpha (1999)")
    assert "Not comparable with the rows measured here" in full.text
    assert table.source in full.text
    rows = full.tables["published-1"]
    alpha = next(row for row in rows if row[0].get("data-name") == "Alpha (1999)")
    assert [cell["text"] for cell in alpha[1:]] == ["0.3412", "4.5157", ABSENT]
    divider = next(i for i, row in enumerate(rows) if row[0].get("scope") == "rowgroup")
    assert "not comparable" in rows[divider][0]["text"]
    own = {row[0]["data-name"]: row[1:] for row in rows[divider + 1 :]}
    assert list(own) == [m["name"] for m in results["methods"]]
    for method in results["methods"]:
        lpips, niqe, fid = own[method["name"]]
        # NIQE alone carries the same name; which net an "LPIPS" of a paper used is not known.
        assert float(niqe["data-value"]) == method["means"]["niqe"]["mean"]
        assert "data-value" not in lpips
        assert "data-value" not in fid


def test_sheets_are_embedded_as_jpeg_without_exif(results):
    picture = make_sheets()[0].picture
    exif = Image.Exif()
    exif[0x010E] = "a private place"
    private = Picture(picture.pixels, exif=exif.tobytes())
    page = page_of(results, sheets=[Sheet("t", "c", private)])
    (image,) = page.all("img")
    data = base64.b64decode(image["src"].removeprefix("data:image/jpeg;base64,"))
    assert b"private" not in data
    with Image.open(io.BytesIO(data)) as decoded:
        assert decoded.format == "JPEG"
        assert (image["width"], image["height"]) == tuple(map(str, decoded.size)) == ("1500", "300")
        assert np.abs(np.array(decoded).astype(int) - picture.pixels).mean() < 4


def test_many_inputs_are_cut_short():
    results = make_results(n=620, ws=(0.5,), peers=(), keys=("niqe",))
    page = page_of(results)
    assert "120 more stand in results.json" in page.text
    assert "face-499.webp" in page.text
    assert "face-500.webp" not in page.text


def test_the_same_results_give_the_same_page(tmp_path, results):
    for name in ("a.html", "b.html"):
        write_report(tmp_path / name, results, speed=None, sheets=make_sheets(), published=[])
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_a_report_is_replaced_and_leaves_nothing_beside_it(tmp_path, results):
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(path, results, speed=None, sheets=[], published=[])
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_a_missing_folder_is_named(tmp_path, results):
    with pytest.raises(OutputError, match=r"nowhere.*make it first"):
        write_report(tmp_path / "nowhere" / "r.html", results, speed=None, sheets=[], published=[])


@pytest.mark.parametrize("change", [{"schema": 2}, {"methods": []}, {"metrics": {}}])
def test_results_of_another_form_are_refused(results, change):
    with pytest.raises(InputError, match="evaluate again"):
        render({**results, **change}, speed=None, sheets=[], published=[])


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [
        (None, 2, DASH),
        (0.12345, 3, "0.123"),
        (-0.5, 1, f"{MINUS}0.5"),
        (12345.6, 0, "12\u202f346"),
        (math.inf, 2, "∞"),
    ],
)
def test_show(value, places, text):
    assert show(value, places) == text


@pytest.mark.parametrize(
    ("values", "places"),
    [
        ([0.37, 0.4], 3),
        ([21.5], 2),
        ([106.0, 2.0], 1),
        ([0.0123], 4),
        ([0.0, None], 3),
        ([], 3),
        ([math.inf], 3),
    ],
)
def test_decimals(values, places):
    assert decimals(values) == places


def test_a_lone_row_is_not_the_best():
    table = main_table(make_results(models=(), peers=()))
    assert not any(cell.best for cell in table.rows[0].cells)


def test_the_curve_puts_better_up_and_right():
    points = tuple(charts.Point(f"w={i}", x, y, "") for i, (x, y) in enumerate([(0.2, 0.3), (0.6, 0.5)]))
    mark = charts.Point("input", 0.4, 0.4, "")
    svg = charts.trade_off(
        [charts.Series("m", points)], [mark], charts.Axis("IDS", True), charts.Axis("LPIPS", False),
        ident="c", title="t",
    )  # fmt: skip
    circles = Page(svg).all("circle")
    (x1, y1), (x2, y2) = ((float(a["cx"]), float(a["cy"])) for a in circles)
    assert x1 < x2
    assert y1 < y2  # the smaller, better LPIPS is higher on the page
    assert Page(svg).text.count("w=0") == 1


def test_labels_on_the_curve_do_not_cover_each_other():
    rng = np.random.default_rng(3)
    series = [
        charts.Series(
            f"m{k}", tuple(charts.Point(f"w={w:g}", *rng.uniform(0, 1, 2), "") for w in (0, 0.25, 0.5, 1))
        )
        for k in range(3)
    ]
    svg = charts.trade_off(series, [], charts.Axis("x", True), charts.Axis("y", True), ident="c", title="t")
    places = re.findall(r'<text text-anchor="middle" x="([\d.]+)" y="([\d.]+)">w=', svg)
    assert len(places) == 12
    spots = [(float(x), float(y)) for x, y in places]
    for i, (x, y) in enumerate(spots):
        assert 0 < x < 600
        assert 0 < y < 440
        assert not any(abs(x - a) < 24 and abs(y - b) < 13 for a, b in spots[:i])


def test_equal_points_make_a_chart_too():
    series = [charts.Series("m", tuple(charts.Point(f"w={w}", 0.0, 0.0, "") for w in (0, 1)))]
    svg = charts.trade_off(series, [], charts.Axis("x", True), charts.Axis("y", False), ident="c", title="t")
    assert "nan" not in svg
    assert Page(svg).all("circle")
