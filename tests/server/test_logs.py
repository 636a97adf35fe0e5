"""Lines of the log: whole, with time, level and request, and without anything that does not print."""

import io
import json
import logging
import re

import pytest

from facemend.server.logs import REQUEST, JsonLines, TextLines

EVIL = "a\r\n2026-01-01T00:00:00.000Z INFO - root: forged\x1b[2J\x00\x7f\x85\u2028\u202e\udcff é"


@pytest.fixture(params=[TextLines, JsonLines])
def logged(request):
    """Logs with a format; the lines."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(request.param())
    logger = logging.Logger("facemend.server.test")
    logger.addHandler(handler)

    def lines(log) -> list[str]:
        log(logger)
        text = stream.getvalue()
        assert not [sign for sign in text if not sign.isprintable() and sign != "\n"]
        text.encode()
        return text.splitlines()

    return lines


def test_a_line_says_when_how_grave_and_for_which_request(logged):
    token = REQUEST.set("abc123")
    (line,) = logged(lambda logger: logger.warning("job %d failed: %s", 7, EVIL))
    REQUEST.reset(token)
    if line.startswith("{"):
        said = json.loads(line)
        assert (said["level"], said["request"], said["logger"]) == (
            "warning",
            "abc123",
            "facemend.server.test",
        )
        assert said["message"] == f"job 7 failed: {EVIL}"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", said["time"])
    else:
        start = (
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING abc123 facemend\.server\.test: job 7 failed: a"
        )
        assert re.match(start + re.escape(r"\r\n2026-01-01"), line)
        assert line.endswith(r"\x1b[2J\x00\x7f\x85\u2028\u202e\udcff é")


def test_an_error_cannot_forge_a_line(logged):
    def log(logger) -> None:
        try:
            raise ValueError(EVIL)
        except ValueError:
            logger.exception("unexpected")

    first, *more = logged(log)
    if first.startswith("{"):
        assert more == []
        assert "ValueError" in json.loads(first)["trace"]
    else:
        assert all(line.startswith("  | ") for line in more)
        assert any("ValueError" in line for line in more)
