"""Lines of the log: when, how grave, for which request. No client can begin a line, or colour it."""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime

REQUEST: ContextVar[str] = ContextVar("request", default="-")
"""Id of the request that is being answered; the client is told it as X-Request-ID."""
FORMATS = ("text", "json")


def configure(format: str) -> None:
    """Log to standard error: this package from information on, all others from warnings on.

    Args:
        format: "text" or "json".
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if format == "json" else TextLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("facemend").setLevel(logging.INFO)
    logging.captureWarnings(True)


class TextLines(logging.Formatter):
    """`2026-11-24T10:00:00.000Z WARNING 5f3a facemend.server.limits: what`; the trace in lines with a bar."""

    def format(self, record: logging.LogRecord) -> str:
        """One record."""
        first = f"{_when(record)} {record.levelname} {REQUEST.get()} {record.name}: {record.getMessage()}"
        more = _trace(self, record).splitlines()
        return "\n".join([visible(first), *(f"  | {visible(line)}" for line in more)])


class JsonLines(logging.Formatter):
    """An object a line: time, level, request, logger, message and, after an error, trace."""

    def format(self, record: logging.LogRecord) -> str:
        """One record."""
        said = {
            "time": _when(record),
            "level": record.levelname.lower(),
            "request": REQUEST.get(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        trace = _trace(self, record)
        return json.dumps(said | ({"trace": trace} if trace else {}))


def visible(text: str) -> str:
    r"""The text with what does not print (control characters, line ends, marks of direction) as \x1b etc."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _when(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return formatter.formatException(record.exc_info) if record.exc_info else ""
