"""The `facemend` command: a lazy table of subcommands, and errors as one line.

Each subcommand is a module of this room with an `app` (a `typer.Typer` with one command, or several for a
group). Such a module imports its room inside its functions, so that `--help` stays quick and a missing extra
stops only the command that needs it.
"""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from facemend.cli._shared.console import printable, warn
from facemend.cli._shared.stopping import STOPPED, end_threads
from facemend.errors import FacemendError

COMMANDS = (
    "restore",
    "colorize",
    "inpaint",
    "video",
    "watch",
    "serve",
    "web",
    "demo",
    "models",
    "degrade",
    "doctor",
    "bench",
    "assets",
    "data",
    "train",
    "export",
    "quantize",
    "evaluate",
)
"""Names of the subcommands in the order of the help text; each is `facemend.cli.NAME`."""


class LazyGroup(TyperGroup):
    """Finds subcommands by name and turns a `FacemendError` into one line and exit status 1."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of all subcommands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | TyperGroup | None:
        """The subcommand of that name, imported now; None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        command = get_command(import_module(f"facemend.cli.{cmd_name}").app)
        command.name = cmd_name
        # What completes words is a matter of `facemend` as a whole; Typer offers it for each part.
        command.params = [param for param in command.params if "completion" not in (param.name or "")]
        return command  # type: ignore[return-value]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The subcommand asked for; of an unknown one, the like ones are named.

        An empty word is refused: it comes from a variable that is not set, and would be the current folder.
        """
        if "" in args:
            ctx.fail("One of the arguments is empty: is a variable not set?")
        if args and args[0] not in COMMANDS:
            from difflib import get_close_matches

            if near := get_close_matches(args[0], COMMANDS, n=2):
                ctx.fail(f"No such command '{printable(args[0])}': did you mean {' or '.join(near)}?")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the subcommand."""
        try:
            return super().invoke(ctx)
        except FacemendError as error:
            if ctx.params.get("debug"):
                raise
            warn(f"facemend: {error}")
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            warn("facemend: stopped")
            raise typer.Exit(STOPPED) from None


app = typer.Typer(
    name="facemend",
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from facemend import __version__

        typer.echo(f"facemend {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="FACEMEND_DEBUG", help="Show log and tracebacks.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Restore faces in old, small, blurred or damaged photos."""
    if debug:
        logging.basicConfig(level=logging.DEBUG)


def main() -> None:
    """Entry point of the `facemend` script; ends the process with the exit status."""
    if isinstance(sys.stdout, TextIOWrapper):  # what its encoding lacks as escapes, as stderr has them
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="facemend")
    except SystemExit as end:
        end_threads(end.code)
        raise
