#!/usr/bin/env python3
"""Run an ablation: the same short training in several forms, and one table of what held-out faces say.

    python scripts/ablate.py muon                 every arm of configs/ablations/muon.toml
    python scripts/ablate.py muon targets         two ablations, one after the other
    python scripts/ablate.py muon --arm "Muon 1e-3"
    python scripts/ablate.py muon --table         the table of what was run so far

An arm is a list of trainings (`run`, each with a config and settings to change), or the file's `config` with
the arm's `set`; one with `like` is an arm of another ablation, shown again. "{arm}" in a setting is the arm's
folder. Arms run beside each other, one thread each: on two cores that made 1.6 times the faces of one arm
with two threads. What is finished is not run again; what was stopped goes on. Needs the train and export
extras, and the pictures that the configs name.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from facemend.data.faces import to_unit
from facemend.degradations import PRESETS
from facemend.errors import FacemendError
from facemend.metrics import dists, niqe
from facemend.networks.codeformer.autoencoder import VQAutoencoder
from facemend.networks.codeformer.checkpoint import load_checkpoint, load_into
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.scales import look_up
from facemend.networks.perceptual.lpips import LPIPS
from facemend.training import train
from facemend.training.config import Stage1Config, Stage2Config, Stage3Config, load_config
from facemend.training.engine import Engine
from facemend.training.pictures import open_faces
from facemend.training.validate import compare, in_batches, reconstruction

DAMAGES = [name for name in ("heavy", "medium", "scan") if name in PRESETS]
FOLDER = Path("configs/ablations")
OUT = Path("runs/ablate")


@dataclass(frozen=True)
class Arm:
    """One form of the training: (config, settings to change) of each stage, and where it lies."""

    name: str
    trainings: tuple[tuple[Path, tuple[str, ...]], ...]
    folder: Path


def read_arms(name: str) -> list[Arm]:
    file = FOLDER / f"{name}.toml"
    known = sorted(p.stem for p in FOLDER.glob("*.toml") if "[[arm]]" in p.read_text())
    if name not in known:
        if not known:
            raise SystemExit(f"{FOLDER}: no ablations there: run this in the folder of the repository")
        raise SystemExit(f"no ablation '{name}': one of {', '.join(known)}")
    values: dict[str, Any] = tomllib.loads(file.read_text())
    arms = []
    for row in values["arm"]:
        if "like" in row:
            other, arm = row["like"].split("/")
            twin = next(twin for twin in read_arms(other) if twin.name == arm)
            arms.append(replace(twin, name=row["name"]))
            continue
        folder = OUT / name / re.sub(r"[^A-Za-z0-9.]+", "-", row["name"]).strip("-")
        runs = row.get("run", [{"config": values.get("config"), "set": row.get("set", [])}])
        trainings = tuple(
            (
                Path(run["config"]),
                (
                    *(
                        change.replace("{arm}", str(folder))
                        for change in (*values.get("set", []), *run.get("set", []))
                    ),
                    f"out={folder / str(number)}",
                ),
            )
            for number, run in enumerate(runs)
        )
        arms.append(Arm(row["name"], trainings, folder))
    return arms


def run(arm: Arm) -> None:
    for number, (config, changes) in enumerate(arm.trainings):
        done = arm.folder / f"{number}.minutes"
        if done.exists():
            continue
        start = time.monotonic()
        train(load_config(config, changes), lambda r: print(f"{arm.name}: {r.step}/{r.steps}", flush=True))
        done.write_text(f"{(time.monotonic() - start) / 60:.1f}")


def judge(arm: Arm) -> dict[str, str]:
    """Figures of the last training's product on its held-out faces, and the minutes of all trainings."""
    times = [arm.folder / f"{number}.minutes" for number in range(len(arm.trainings))]
    if not all(path.exists() for path in times):
        return {}
    kept = arm.folder / "figures.json"
    if not kept.exists():
        config = load_config(*arm.trainings[-1])
        found = held_out_stage1(config) if config.stage == "stage1" else held_out_codes(config)
        kept.write_text(json.dumps(found))
    row = {name: f"{value:.4g}" for name, value in json.loads(kept.read_text()).items()}
    return {**row, "minutes": f"{sum(float(path.read_text()) for path in times):.0f}"}


@torch.no_grad()
def held_out_stage1(config: Stage1Config) -> dict[str, float]:
    """What the codebook and decoder can hold, with measures that no loss uses."""
    loaded = load_checkpoint(config.out / "model.safetensors")
    net = VQAutoencoder(loaded.config.autoencoder).eval()
    load_into(net, loaded.state, config.out)
    faces = open_faces(config, loaded.config.autoencoder.image_size, None, Engine())
    figures, restored = reconstruction(net, faces.probe["hq"], LPIPS("alex"))
    pairs = [
        (to_unit(a), to_unit(b)) for a, b in zip(restored.split(1), faces.probe["hq"].split(1), strict=True)
    ]
    figures["dists"] = sum(float(dists(a, b)) for a, b in pairs) / len(pairs)
    figures["niqe"] = sum(float(niqe(a)) for a, _ in pairs) / len(pairs)
    return figures


@torch.no_grad()
def held_out_codes(config: Stage2Config | Stage3Config) -> dict[str, float]:
    """Restorations of each kind of damage: of stage II from all codes alone, of stage III at three w."""
    loaded = load_checkpoint(config.out / "model.safetensors")
    net = CodeFormer(loaded.config).eval()
    load_into(net, loaded.state, config.out)
    ws = (None,) if config.stage == "stage2" else (0.0, 0.5, 1.0)
    lpips, figures = LPIPS("alex"), {}
    for damage in DAMAGES:
        probe = open_faces(config, loaded.config.autoencoder.image_size, damage, Engine()).probe
        for w in ws:
            made = in_batches(lambda x, w=w: restored(net, x, w).float(), probe["lq"])
            for name, value in compare(made, probe["hq"], lpips).items():
                column = f"{damage} {name.removesuffix('_alex')}"
                figures[column if w is None else f"{column} w={w:g}"] = value
    return figures


def restored(net: CodeFormer, image: Tensor, w: float | None) -> Tensor:
    """Faces with one w; None: from the codes of all scales, with nothing let in from the photo."""
    if w is not None:
        made: Tensor = net(image, torch.full((len(image),), w), adain=False)
        return made
    vectors, fine = look_up(net.codebook, net.config.autoencoder, net.encode(image).codes)
    from_codes: Tensor = net.decoder(vectors, fine=fine)
    return from_codes


def table(arms: list[Arm]) -> str:
    rows = {arm.name: judge(arm) for arm in arms}
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [
        f"| {name} | " + " | ".join(row.get(column, "") for column in columns) + " |"
        for name, row in rows.items()
        if row
    ]
    return "\n".join(lines)


def beside(tasks: list[tuple[str, str]], jobs: int) -> None:
    """Run (ablation, arm) each as a process of one thread, `jobs` at a time."""

    def one(task: tuple[str, str]) -> int:
        name, arm = task
        command = [sys.executable, __file__, name, "--arm", arm, "--jobs", "1"]
        return subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False).returncode

    with ThreadPoolExecutor(jobs) as pool:
        codes = list(pool.map(one, tasks))
    if failed := [f"{name}: {arm}" for (name, arm), code in zip(tasks, codes, strict=True) if code]:
        raise SystemExit(f"not finished: {', '.join(failed)}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="+")
    parser.add_argument("--arm", action="append", help="only this one; repeatable")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="arms beside each other")
    parser.add_argument("--table", action="store_true", help="only print the tables")
    args = parser.parse_args()
    files = {name: read_arms(name) for name in args.name}
    chosen = {
        arm.folder: (name, arm)
        for name, arms in files.items()
        for arm in arms
        if not args.arm or arm.name in args.arm
    }
    if unknown := set(args.arm or ()) - {arm.name for arms in files.values() for arm in arms}:
        raise SystemExit(f"no arm {', '.join(sorted(unknown))} in {', '.join(args.name)}")
    if not args.table and len(chosen) > 1:
        beside([(name, arm.name) for name, arm in chosen.values()], args.jobs)
    elif not args.table:
        for _, arm in chosen.values():
            try:
                run(arm)
            except FacemendError as error:
                raise SystemExit(str(error)) from None
            judge(arm)
    if args.table or args.jobs > 1:
        for name, arms in files.items():
            print(f"\n{name}\n\n{table(arms)}")


if __name__ == "__main__":
    main()
