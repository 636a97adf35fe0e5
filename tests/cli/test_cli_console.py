import io
import sys
from pathlib import Path

import pytest

from facemend.cli._shared.console import plural, printable, progress, shown


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("stream", "drawn"), [(Terminal, True), (io.StringIO, False)])
def test_progress_is_drawn_on_terminals_only(monkeypatch, stream, drawn):
    monkeypatch.setattr(sys, "stderr", stream())
    with progress("restoring", 3) as advance:
        for _ in range(3):
            advance()
    assert ("restoring" in sys.stderr.getvalue()) == drawn


def test_without_a_terminal_a_line_says_how_far_it_is(monkeypatch, capsys):
    times = iter((0.0, 10.0, 70.0, 70.0, 100.0))
    monkeypatch.setattr("facemend.cli._shared.console.monotonic", lambda: next(times))
    with progress("restoring", 4) as advance:
        for _ in range(3):
            advance()
    assert capsys.readouterr().err == "restoring: 2 of 4, 0:01:10 left\n"


def test_one_item_needs_no_progress(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress("restoring", 1) as advance:
        advance()
    assert sys.stderr.getvalue() == ""


def test_words(tmp_path, monkeypatch):
    assert plural(1, "face") == "1 face"
    assert plural(0, "face") == "0 faces"
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "out" / "a.jpg") == str(Path("out/a.jpg"))
    assert shown(tmp_path.parent / "a.jpg") == str(tmp_path.parent / "a.jpg")


def test_file_names_do_not_steer_the_terminal():
    assert printable("a\x1b[31mred\r\nb\u202e\tc.jpg") == "a\\x1b[31mred\\r\\nb\\u202e\tc.jpg"
    assert printable("Größe 写真 \U0001f600.jpg") == "Größe 写真 \U0001f600.jpg"
    assert printable("\udcff.jpg") == "\\udcff.jpg"  # what is no UTF-8
