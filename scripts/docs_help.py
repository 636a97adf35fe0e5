"""The `help` blocks of the documentation: what a command says of itself, as a table for the site.

A block of the language `help` holds `facemend COMMAND --help`; mkdocs.yml names `as_html` for it.
"""

from __future__ import annotations

import re
from html import escape
from typing import Any

import typer
from typer.main import get_command

from facemend.cli.app import app


def find(line: str) -> tuple[Any, typer.Context]:
    """The command that `facemend COMMAND --help` asks about, and its context.

    Raises:
        ValueError: the line is another one, or there is no such command.
    """
    first, *names, last = line.split()
    if (first, last) != ("facemend", "--help"):
        raise ValueError(f"{line}: a help block holds `facemend COMMAND --help`")
    command: Any = get_command(app)
    context = typer.Context(command, info_name=first)
    for name in names:
        command = command.get_command(context, name)
        if command is None:
            raise ValueError(f"{line}: there is no command {name}")
        context = typer.Context(command, info_name=name, parent=context)
    return command, context


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_shown(part)}</p>" for part in text.split("\n\n") if part)


def _shown(text: str) -> str:
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def as_html(source: str, *_: Any, **__: Any) -> str:
    """What the command of the block is for, its usage and its options, as HTML."""
    command, context = find(source)
    about, after = (_paragraphs(text or "") for text in (command.help, command.epilog))
    usage = command.get_usage(context).removeprefix("Usage: ")
    told = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    below = command.list_commands(context) if hasattr(command, "list_commands") else ()
    told += [(name, command.get_command(context, name).get_short_help_str(limit=200)) for name in below]
    rows = "".join(
        f"<tr><td><code>{escape(names)}</code></td><td>{_shown(what)}</td></tr>"
        for names, what in filter(None, told)
    )
    table = f"<table><tbody>{rows}</tbody></table>"
    return f'<div class="help">{about}<pre><code>{escape(usage)}</code></pre>{table}{after}</div>'
