#!/usr/bin/env python3
"""Run an ablation: the same short training in several forms, and one table of what held-out faces say.

    python scripts/ablate.py muon                 every arm of configs/ablations/muon.toml
    python scripts/ablate.py muon --arm "Muon 1e-3"
    python scripts/ablate.py muon --table         the table of what was run so far

An arm is a list of trainings (`run`, each with a config and settings to change), or the file's `config` with
the arm's `set`. "{arm}" in a setting is the arm's folder. What is finished is not run again; what was stopped
goes on. Needs the train and export extras, and the pictures that the configs name.
"""

from __future__ import annotations

import argparse
import json
import re
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemend.errors import ConfigError
from facemend.training import train
from facemend.training.config import load_config

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
    if not file.is_file():
        known = sorted(p.stem for p in FOLDER.glob("*.toml") if "[[arm]]" in p.read_text())
        raise SystemExit(f"no ablation '{name}': one of {', '.join(known)}")
    values: dict[str, Any] = tomllib.loads(file.read_text())
    arms = []
    for row in values["arm"]:
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


def figures(arm: Arm) -> dict[str, str]:
    """Held-out figures of the last training's last step, and the minutes of all."""
    times = [arm.folder / f"{number}.minutes" for number in range(len(arm.trainings))]
    if not all(path.exists() for path in times):
        return {}
    lines = (arm.folder / str(len(times) - 1) / "log.jsonl").read_text().splitlines()
    last = [line for line in map(json.loads, lines) if any(k.startswith("held_out/") for k in line)][-1]
    row = {k.removeprefix("held_out/"): f"{v:.4g}" for k, v in last.items() if k.startswith("held_out/")}
    return {**row, "minutes": f"{sum(float(path.read_text()) for path in times):.0f}"}


def table(arms: list[Arm]) -> str:
    rows = {arm.name: figures(arm) for arm in arms}
    columns = list(dict.fromkeys(name for row in rows.values() for name in row if not name.endswith("_lq")))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [
        f"| {name} | " + " | ".join(row.get(column, "") for column in columns) + " |"
        for name, row in rows.items()
        if row
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name")
    parser.add_argument("--arm", action="append", help="only this one; repeatable")
    parser.add_argument("--table", action="store_true", help="only print the table")
    args = parser.parse_args()
    arms = read_arms(args.name)
    if unknown := set(args.arm or ()) - {arm.name for arm in arms}:
        raise SystemExit(f"no arm {', '.join(sorted(unknown))}: one of {', '.join(arm.name for arm in arms)}")
    if not args.table:
        for arm in arms:
            if not args.arm or arm.name in args.arm:
                try:
                    run(arm)
                except ConfigError as error:
                    raise SystemExit(str(error)) from None
    print(table(arms))


if __name__ == "__main__":
    main()
