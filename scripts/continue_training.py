"""Turn a shipped model (ONNX) back into checkpoints that training can start from.

    python scripts/continue_training.py MODEL_FOLDER -o runs/warm
        writes autoencoder.safetensors (`init` of a stage I config) and full.safetensors
    python scripts/continue_training.py MODEL_FOLDER -o runs/warm --stage1 runs/stage1/model.safetensors
        writes stage2.safetensors too (`stage2` of a stage III config): the model's encoder, transformer and
        fusion over the codebook and decoder of a newer stage I

The encoder of the shipped graphs is that of stage III. What the network has today and the shipped model did
not have starts fresh, and is named. Needs the train and export extras.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from facemend.export.recover import recover_checkpoint
from facemend.models.checkpoint import load_checkpoint, save_checkpoint
from facemend.models.codeformer import CodeFormer
from facemend.models.config import preset

AUTOENCODER = ("encoder.", "codebook.", "decoder.")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="folder with model.json and the graphs")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--stage1", type=Path, help="checkpoint of a newer stage I")
    parser.add_argument("--network", default="compact-256", help="preset whose sizes training goes on with")
    args = parser.parse_args()

    model = recover_checkpoint(args.model)
    sizes = preset(args.network)
    torch.manual_seed(0)
    fresh = CodeFormer(sizes).state_dict()
    state = {name: model.state.get(name, value) for name, value in fresh.items()}
    if added := sorted(set(state) - set(model.state)):
        print("starts fresh:", ", ".join(added))
    origin = {"from": args.model.name, **model.info}
    save_checkpoint(args.out / "full.safetensors", state, sizes, origin)
    autoencoder = {k: v for k, v in state.items() if k.startswith(AUTOENCODER)}
    info = {**origin, "stage": "stage1"}
    save_checkpoint(args.out / "autoencoder.safetensors", autoencoder, sizes, info)
    if args.stage1:
        newer = load_checkpoint(args.stage1)
        taken = {k: v for k, v in newer.state.items() if k.startswith(AUTOENCODER[1:])}
        info = {"stage": "stage2", "from": args.model.name, "stage1": newer.sha256}
        save_checkpoint(args.out / "stage2.safetensors", {**state, **taken}, sizes, info)
    for path in sorted(args.out.glob("*.safetensors")):
        print(path)


if __name__ == "__main__":
    main()
