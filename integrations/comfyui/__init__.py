"""facemend in ComfyUI: one node, pictures in, restored pictures and the mask of what was redrawn out.

This folder is copied into `ComfyUI/custom_nodes` as it is. facemend does the work, without torch; torch is
only what ComfyUI hands pictures around in.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from comfy_api.latest import ComfyExtension, io

from facemend import Picture, RestoreOptions, Restorer, RestoreResult
from facemend.faces.paste import paste
from facemend.photo.networks import Networks
from facemend.photo.options import DEFAULT_MODEL
from facemend.weights.models import cached_models, models


class FacemendRestore(io.ComfyNode):
    """Restore the faces of pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node takes and gives."""
        names = [model.name for model in (*models(), *cached_models()[0]) if model.task == "restoration"]
        return io.Schema(
            node_id="FacemendRestore",
            display_name="Restore faces (facemend)",
            category="image/restoration",
            description="Redraws the faces of old, small or damaged photos; the rest stays as it is.",
            inputs=[
                io.Image.Input("image"),
                io.Combo.Input("model", options=names, default=DEFAULT_MODEL),
                io.Float.Input(
                    "w",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Fidelity: 0 is cleanest, 1 is closest to the photo.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How much of the restored face is blended in.",
                ),
                io.Combo.Input("faces", options=["all", "largest", "center"], default="all"),
            ],
            outputs=[
                io.Image.Output(display_name="image"),
                io.Mask.Output(display_name="mask", tooltip="Where faces were redrawn, 1 fully."),
            ],
        )

    @classmethod
    def execute(cls, image: torch.Tensor, model: str, w: float, strength: float, faces: str) -> io.NodeOutput:
        """Restore a batch.

        Args:
            image: (B, H, W, 3 or 4) floats in 0..1.
            model: name of the model.
            w: fidelity weight in 0..1.
            strength: in 0..1.
            faces: all, largest or center.

        Returns:
            The pictures, of the same shape, and (B, H, W) the mask of what was redrawn, at any strength.
        """
        networks = _networks(model)
        options = RestoreOptions(model=model, w=w, strength=strength, faces=faces, upscale=1)
        restorer = Restorer(options, networks=networks)
        batch = image.detach().cpu().float().numpy()
        pairs = [_restored(restorer, networks, picture) for picture in batch]
        pictures, masks = (torch.from_numpy(np.stack(arrays)) for arrays in zip(*pairs, strict=True))
        return io.NodeOutput(pictures, masks)


@lru_cache(maxsize=1)
def _networks(model: str) -> Networks:
    """Loaded once: execute is called for every picture of a queue."""
    return Networks.load(RestoreOptions(model=model, upscale=1))


def _restored(restorer: Restorer, networks: Networks, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # Other nodes overstep 0..1 a little; 16 bits, as 8 would show in a chain of nodes.
    result = restorer.restore(Picture.from_array(np.clip(picture, 0, 1), np.uint16))
    if not result.faces:
        return picture, np.zeros(picture.shape[:2], np.float32)
    return (result.to_array() / np.float32(65535)).astype(np.float32), _mask(result, networks, picture.shape)


def _mask(result: RestoreResult, networks: Networks, shape: tuple[int, ...]) -> np.ndarray:
    """White faces pasted onto black."""
    canvas = np.zeros((*shape[:2], 3), np.float32)
    for face in result.faces:
        mask = networks.masker.mask(face.restored)
        paste(canvas, np.ones_like(face.restored), face.matrix, mask)
    return canvas[..., 0].copy()


class FacemendExtension(ComfyExtension):
    """What ComfyUI asks for the nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """The one node."""
        return [FacemendRestore]


async def comfy_entrypoint() -> FacemendExtension:
    """Called by ComfyUI when it loads the folder."""
    return FacemendExtension()
