"""`facemend demo`: the whole way on a picture that ships with facemend."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemend.cli._shared.console import say, shown

app = typer.Typer()

PORTRAIT = "demo/portrait.jpg"
DIAL = (0.0, 0.25, 0.5, 0.75, 1.0)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the pictures.")] = Path(
        "facemend-demo"
    ),
    w: Annotated[float, typer.Option("-w", "--w", min=0, max=1, help="Fidelity weight.")] = 0.5,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
) -> None:
    """Degrade and restore a portrait that ships with facemend; no input needed."""
    from facemend.cli.degrade import degraded
    from facemend.degradations import GaussianBlur, Plan
    from facemend.imaging import Outputs, read_picture
    from facemend.photo.compare import before_after, contact_sheet
    from facemend.photo.restore import Restorer
    from facemend.weights.catalog import assets_folder

    outputs = Outputs([], overwrite=overwrite)
    paths = {
        name: output / name for name in ("degraded.png", "restored.png", "before_after.png", "w_dial.png")
    }
    for path in paths.values():
        outputs.claim(path)
    original = read_picture(assets_folder() / PORTRAIT)
    # What a small, badly kept print of this portrait would look like.
    side = min(original.width, original.height)
    blur = GaussianBlur(radius=5, sigma_x=1.5, sigma_y=1.5, rotation=0.0)
    before, _ = degraded(original, Plan(size=side, blur=blur, down=2.0, noise_sigma=6.0, jpeg_quality=50))
    restorer = Restorer(w=w, upscale=1)
    result = restorer.restore(before)
    dial = [restorer.redo(result, value).faces[0].restored for value in DIAL]
    outputs.save(paths["degraded.png"], before)
    outputs.save(paths["restored.png"], result.picture)
    outputs.save(paths["before_after.png"], before_after(before, result.picture))
    outputs.save(paths["w_dial.png"], contact_sheet(dial, [f"w = {value:g}" for value in DIAL]))
    for path in paths.values():
        say(shown(path))
