"""The report in a real browser: no error on the console, and tables that sort."""

import os
import re
import shutil
import subprocess

import pytest
from report_data import make_published, make_results, make_sheets, make_speed

from facemend.evaluation.reports.report import render

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
    "--dump-dom",
]


@pytest.fixture(scope="module")
def chromium():
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found:
        return found
    if os.environ.get("FACEMEND_NO_BROWSER") == "1":
        pytest.skip("no Chromium, and FACEMEND_NO_BROWSER=1")
    return pytest.fail(
        "the report is tested in Chromium: apt-get install chromium (or set FACEMEND_NO_BROWSER=1)"
    )


@pytest.fixture(scope="module")
def results():
    # The middle model has no LPIPS: it must stay at the end of a sorted column.
    results = make_results(n=12)
    results["methods"][2]["means"]["lpips"] = {"mean": None, "low": None, "high": None, "n": 0}
    return results


@pytest.fixture(scope="module")
def report(tmp_path_factory, results):
    path = tmp_path_factory.mktemp("report") / "report.html"
    page = render(results, speed=make_speed(), sheets=make_sheets(), published=make_published())
    path.write_text(page, encoding="utf-8")
    return path


def dom_of(chromium, page, tmp_path):
    """The page after its scripts ran, and the lines on its console."""
    command = [chromium, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def with_script(report, script, tmp_path):
    """A copy of the report that runs `script` at its end; its policy is taken out, for it forbids that."""
    text = report.read_text(encoding="utf-8")
    text, changed = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    assert changed == 1
    copy = tmp_path / "copy.html"
    copy.write_text(text.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    return copy


def column(dom, table, index):
    """(name, value) of every row of a table, as the DOM has them."""
    part = re.search(rf'<table[^>]*id="{table}".*?</table>', dom, re.DOTALL)[0]
    rows = []
    for row in re.findall(r'<tr><th scope="row" data-name="([^"]*)".*?</th>(.*?)</tr>', part, re.DOTALL):
        cell = re.findall(r"<td([^>]*)>", row[1])[index]
        value = re.search(r'data-value="([^"]*)"', cell)
        rows.append((row[0], float(value[1]) if value else None))
    return rows


def press(table, label, times):
    """Script that clicks a header."""
    return f"""{{
    const button = [...document.querySelectorAll("#{table} thead button")]
      .find((b) => b.textContent.startsWith("{label}"));
    for (let i = 0; i < {times}; i++) button.click();
    }}"""


def test_the_page_opens_without_errors_under_its_own_policy(chromium, report, tmp_path):
    dom, console = dom_of(chromium, report, tmp_path)
    assert console == []
    assert re.search(r'<html[^>]*data-ready="yes"', dom)  # the script ran to its end
    assert "<button" in dom


def test_the_policy_lets_no_other_script_run_and_the_console_tells(chromium, report, tmp_path):
    text = report.read_text(encoding="utf-8")
    copy = tmp_path / "copy.html"
    copy.write_text(
        text.replace("</body>", "<script>document.title = 'taken'</script></body>"), encoding="utf-8"
    )
    dom, console = dom_of(chromium, copy, tmp_path)
    assert "<title>taken</title>" not in dom
    assert any("Content Security Policy" in line for line in console)


@pytest.mark.parametrize(("times", "order"), [(1, "ascending"), (2, "descending")])
def test_a_click_sorts_the_best_first_and_the_next_turns_it_round(
    chromium, report, results, tmp_path, times, order
):
    # At once: PSNR, of which more is better, in another table, and names.
    script = press("main-table", "LPIPS-Alex", times) + press("win-table", "PSNR", times)
    script += press("published-1", "Method", 2)
    dom, console = dom_of(chromium, with_script(report, script, tmp_path), tmp_path)
    assert console == []
    rows = column(dom, "main-table", 3)
    assert dict(rows) == {m["name"]: m["means"]["lpips"]["mean"] for m in results["methods"]}
    values = [value for _, value in rows]
    assert values[-1] is None
    assert values[:-1] == sorted(values[:-1], reverse=order == "descending")
    header = re.search(r'<th[^>]*aria-sort="(\w+)"[^>]*><button[^>]*>LPIPS-Alex', dom)
    assert header[1] == order
    assert len(re.findall(r"<th[^>]*aria-sort=", dom)) == 3
    values = [value for _, value in column(dom, "win-table", 0)]
    assert values == sorted(values, reverse=order == "ascending")
    # The two halves of a published table stay apart.
    names = [name for name, _ in column(dom, "published-1", 0)]
    assert names[:2] == ["Beta", "Alpha (1999)"]
    assert set(names[2:]) == {m["name"] for m in results["methods"]}
    assert names[2] == "unsharp"
    assert dom.index("Alpha (1999)</th>") < dom.index("Measured here, under the same name")
