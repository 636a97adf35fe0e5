"""`facemend serve`: restoring in the browser, and over HTTP for other programs."""

from __future__ import annotations

import threading
import webbrowser
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from facemend.cli._shared.console import say, warn
from facemend.cli._shared.options import examples
from facemend.errors import require_extra

app = typer.Typer()


@app.command(
    epilog=examples(
        "`facemend serve --open`: the page on this computer",
        "`FACEMEND_TOKEN=correct-horse-battery facemend serve --host 0.0.0.0`: for others with the token",
    )
)
def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; 0.0.0.0: all networks.  [default: 127.0.0.1]")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0: any that is free.  [default: 8000]")] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(help="A further name that the server goes by, as a proxy's; may be given often."),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes.  [default: 1]")] = None,
    token: Annotated[
        str | None, typer.Option(help="What clients must show; better set as FACEMEND_TOKEN.")
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps photos and queue over a restart; default: a temporary one."),
    ] = None,
    max_mb: Annotated[int | None, typer.Option(help="Largest photo, MB.  [default: 40]")] = None,
    keep: Annotated[
        float | None, typer.Option(help="Minutes until a photo and its result are deleted.  [default: 60]")
    ] = None,
    queue: Annotated[int | None, typer.Option(help="Most photos that wait.  [default: 32]")] = None,
    log_format: Annotated[
        str | None, typer.Option(help="Lines of the log: text or json.  [default: text]")
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Serve a web page and an HTTP API that restore photos, and films with the extra video."""
    require_extra("facemend serve", "serve")
    from facemend.server import run
    from facemend.server.settings import ServerSettings

    given = {
        "host": host,
        "port": port,
        "names": ",".join(name) if name else None,
        "workers": workers,
        "token": token,
        "store": None if store is None else str(store),
        "max_mb": max_mb,
        "keep": keep,
        "queue": queue,
        "log_format": log_format,
    }
    said = {name: value for name, value in given.items() if value is not None}
    settings = replace(ServerSettings.from_env(), **said)  # type: ignore[arg-type]
    if not settings.is_local and not settings.token:
        warn(f"facemend: everybody who reaches {settings.host} can use this server; set a token (--token)")

    def ready(address: str) -> None:
        say(f"facemend: {address} (Ctrl-C ends it)")
        if open_page:
            threading.Timer(1.0, webbrowser.open, [address]).start()

    run.serve(settings, on_ready=ready)
