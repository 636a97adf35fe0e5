"""Compare folders of pictures with their originals: LPIPS, PSNR, identity, and how many improved.

    facemend degrade HQ -o LQ --preset heavy --seed 0
    facemend restore --aligned LQ -o W05 -w 0.5
    python scripts/measure.py HQ LQ W05=path/to/W05 ...

Pictures are matched by file name without suffix. Needs the train extra (torch) and the metric weights, which
are fetched on the first use (`facemend assets get lpips identity`).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from facemend.imaging import SUFFIXES, read_picture
from facemend.metrics import identity_distance, lpips, psnr


def pictures(folder: Path) -> dict[str, Path]:
    return {p.stem: p for p in sorted(folder.rglob("*")) if p.suffix.lower() in SUFFIXES}


def tensor(path: Path) -> torch.Tensor:
    return torch.from_numpy(read_picture(path).as_float()).permute(2, 0, 1)[None]


@torch.no_grad()
def score(hq: torch.Tensor, other: torch.Tensor, vgg: bool) -> dict[str, float]:
    values = {
        "lpips_alex": lpips(other, hq).item(),
        "psnr": psnr(other, hq).item(),
        "identity": identity_distance(other, hq).item(),
    }
    if vgg:
        values["lpips_vgg"] = lpips(other, hq, net="vgg").item()
    return values


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("hq", type=Path)
    parser.add_argument("lq", type=Path)
    parser.add_argument("restored", nargs="*", help="LABEL=FOLDER")
    parser.add_argument("--vgg", action="store_true", help="LPIPS-VGG too (slow on a CPU)")
    parser.add_argument("--json", type=Path, help="write the values of every picture")
    parser.add_argument("--every", type=int, default=1, help="take every n-th picture only")
    args = parser.parse_args()

    folders = {"input": args.lq} | {
        label: Path(path) for label, path in (r.split("=", 1) for r in args.restored)
    }
    files = {label: pictures(folder) for label, folder in folders.items()}
    originals = dict(list(pictures(args.hq).items())[:: args.every])
    rows: dict[str, list[dict[str, float]]] = {label: [] for label in folders}
    for name, path in originals.items():
        hq = tensor(path)
        for label in folders:
            rows[label].append(score(hq, tensor(files[label][name]), args.vgg))
    if args.json:
        args.json.write_text(json.dumps({"names": list(originals), "rows": rows}))

    names = list(rows["input"][0])
    print("| | " + " | ".join(names) + " | lpips_alex better than the input |")
    print("|" + "---|" * (len(names) + 2))
    for label, values in rows.items():
        means = " | ".join(f"{sum(v[name] for v in values) / len(values):.3f}" for name in names)
        wins = sum(v["lpips_alex"] < i["lpips_alex"] for v, i in zip(values, rows["input"], strict=True))
        print(f"| {label} | {means} | {wins}/{len(values)} |")


if __name__ == "__main__":
    main()
