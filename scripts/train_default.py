#!/usr/bin/env python3
"""From the face pictures to the default model, compact-512, in as many minutes as there are.

    scripts/train_default                          the steps that the configs say
    scripts/train_default --minutes 600            ten hours in all, on whatever machine this is
    scripts/train_default OUT --from runs/a/stage3/model.safetensors --minutes 60
    scripts/train_default --try                    two steps a stage: does all of it run here?
    scripts/train_default --pack FACES.zip --pack-mib 60     pictures for another machine: --data FACES.zip
    scripts/train_default --join MILESTONES -o weights.safetensors

The network starts as that of --from, grown. With --minutes the three stages share what a reserve for export
and evaluation leaves; before each a probe tries batch sizes and layouts on real steps, and the quickest is
taken. A batch n times as large gets learning rates times sqrt(n) (arXiv 2205.10287). OUT is the model folder
to write; OUT-work beside it holds the stages, plan.json and recipe.jsonl: all choices with their times.
Stopped and started again, the same command goes on where it was, in the minutes that are left. One process.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

BEGAN = time.monotonic()  # torch is imported later: it counts

import torch  # noqa: E402

import train_minutes as budget  # noqa: E402 - beside this file, as the next
import travel  # noqa: E402
from facemend.data.faces import pictures_in  # noqa: E402
from facemend.errors import ConfigError, FacemendError, InputError, OutputError, WeightsError  # noqa: E402
from facemend.files import whole_file  # noqa: E402
from facemend.networks.codeformer.checkpoint import (  # noqa: E402
    load_checkpoint,
    save_checkpoint,
)
from facemend.networks.codeformer.grow import grow  # noqa: E402
from facemend.training import train  # noqa: E402
from facemend.training.config import load_config  # noqa: E402
from facemend.weights.models import find_model  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
PICTURES = Path("../shared/faces")  # what --data takes the place of
TEST_FACES = 48
NOISE = 0.02
Config = Any  # of one of the three stages
Recipe = argparse.Namespace  # what the command line asks for; `work` is the folder of all before the model


class Plan:
    """What was decided and how many seconds were spent, in files: the same command goes on from them."""

    def __init__(self, recipe: Recipe, began: float) -> None:
        self._file, self._log = recipe.work / "plan.json", recipe.work / "recipe.jsonl"
        origin = {"from": recipe.start, "try": recipe.attempt}
        self.values: dict[str, Any] = {**origin, "spent": 0.0, "ending": 0.0, "stages": {}}
        if self._file.is_file():
            self.values = json.loads(self._file.read_text())
        if any(self.values[name] != value for name, value in origin.items()):
            raise ConfigError(
                f"{recipe.work}: was begun --from {self.values['from']}; choose another OUT or delete it"
            )
        if recipe.out.exists() and not self.values.get("exporting"):
            raise OutputError(f"{recipe.out}: exists and is not of this recipe; choose another OUT")
        recipe.work.mkdir(parents=True, exist_ok=True)
        self._began = began - self.values["spent"]

    @property
    def spent(self) -> float:
        """Seconds of this and of stopped calls."""
        return float(time.monotonic() - self._began)

    def save(self, **values: Any) -> None:
        """Keep values, and the seconds."""
        self.values |= {**values, "spent": self.spent}
        with whole_file(self._file) as part:
            part.write_text(json.dumps(self.values, indent=1))

    def note(self, what: str, **values: Any) -> None:
        """Say something and keep it, with the time."""
        shown = "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())
        print(f"{self.spent:7.0f} s  {what}  {shown}", flush=True)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        line = {"time": now, "spent": round(self.spent, 1), "what": what, **values}
        with self._log.open("a") as file:
            file.write(json.dumps(line, default=str) + "\n")


def read_configs(recipe: Recipe) -> dict[str, Config]:
    """Configs of the stages, with their files in the work folder and their pictures where they lie."""
    found = {stage: load_config(recipe.configs / f"compact-512-{stage}.toml") for stage in budget.SHARES}
    init = getattr(found["stage1"], "init", None)
    if init is None:
        raise ConfigError(f"{recipe.configs}/compact-512-stage1.toml: needs init, the grown weights")
    places = {config.out: recipe.work / stage for stage, config in found.items()}
    places |= {PICTURES: recipe.data, init: recipe.work / "grown.safetensors"}
    configs = {
        stage: type(config).model_validate(budget.moved(config.model_dump(), places))
        for stage, config in found.items()
    }
    for folder in {folder.path for config in configs.values() for folder in config.data.folders}:
        if not folder.is_dir():
            raise InputError(f"{folder}: no training pictures there; name their folder with --data")
    return configs


def grow_start(recipe: Recipe, plan: Plan, config: Config) -> None:
    """Write the weights that training starts from."""
    target = recipe.work / "grown.safetensors"
    if target.is_file():
        return
    if recipe.start.endswith(".safetensors"):
        source = load_checkpoint(Path(recipe.start))
    else:
        from facemend.convert.recover import recover_checkpoint

        began = plan.spent
        source = recover_checkpoint(find_model(recipe.start).folder)
        plan.save(recovery=plan.spent - began)  # it exports a network, as the end will
    if not any(name.startswith("transformer.") for name in source.state):
        raise WeightsError(f"{recipe.start}: holds stage I only; --from needs one of stage II or III")
    state = grow(source.state, source.config, config.network_sizes, NOISE)
    travel.count_parts(2 * sum(value.numel() for value in state.values()), recipe.part_mib)
    info = {"stage": "stage3", "grown_from": Path(recipe.start).name, "noise": NOISE, "seed": 0}
    save_checkpoint(target, state, config.network_sizes, source.kept | info)
    plan.note("grown", source=recipe.start, network=config.network)


def run_stage(recipe: Recipe, plan: Plan, config: Config, ends: Mapping[str, float]) -> Path:
    """Train a stage, or go on with it; returns its checkpoint."""
    stage, held = config.stage, plan.values["stages"].setdefault(config.stage, {})
    product = Path(config.out / "model.safetensors")
    if held.get("done"):
        return product
    ending = plan.values["ending"] * (2 if stage == "stage3" else 1)  # its last preview shows three w
    if held:
        config = type(config).model_validate(held["config"])
    elif recipe.attempt:
        config = budget.shortened(config)
    elif recipe.minutes:
        few = {"holdout": min(config.data.holdout, max(4, int(2 * recipe.minutes)))}  # previews cost time
        config = budget.changed(config, few)
        trial = budget.Probe(config, ends[stage] - plan.spent, plan.note, recipe.work / "probe").search()
        config = budget.fill(config, trial, ends[stage] - plan.spent - ending)
    held["config"] = config.model_dump(mode="json")
    plan.save()
    if recipe.minutes:
        left = max(1.0, ends[stage] - plan.spent - ending)
        config = budget.changed(config, minutes=(seconds_done(config.out) + left) / 60)
    chosen = {name: getattr(config, name) for name in ("precision", "channels_last", "compile", "minutes")}
    chosen |= {"lr": config.optim.lr, "workers": config.data.workers}
    plan.note(f"begin {stage}", steps_and_batches=[(p.steps, p.batch) for p in config.phases], **chosen)
    milestone = travel.Milestones(product, recipe.milestones, recipe.part_mib, plan.note)
    last = [plan.spent]

    def report(step: Any) -> None:
        done = f"{stage}  {step.step}/{step.steps}  {step.images_per_second:.1f} faces/s"
        print(f"{plan.spent:7.0f} s  {done}", flush=True)
        plan.save()
        milestone.write(budget.SAVE_SECONDS / 2)
        last[0] = plan.spent

    train(config, report)
    held["done"] = True
    plan.save(ending=max(plan.values["ending"], plan.spent - last[0]))
    plan.note(f"end {stage}")
    milestone.write(0)
    return product


def seconds_done(folder: Path) -> float:
    """How long the run there had been going on when it was last saved."""
    state = folder / "state.pt"
    if not state.exists():
        return 0.0
    return float(torch.load(state, mmap=True, weights_only=True).get("seconds", 0.0))


def export(recipe: Recipe, plan: Plan, product: Path, network: str) -> None:
    """Write the model folder, with float16 weights where these agree with the network."""
    from facemend.convert.export import ExportOptions, export_model

    if plan.values.get("exported"):
        return
    plan.save(exporting=True)
    options = ExportOptions(network, overwrite=recipe.out.exists())
    try:
        export_model(product, recipe.out, options)
    except WeightsError as error:  # weights that learned nothing are too wild for float16
        plan.note("export as float32", reason=str(error))
        export_model(product, recipe.out, replace(options, precision="fp32"))
    plan.save(exported=True)
    plan.note("exported", model=recipe.out)


def test_faces(folder: Path) -> list[Path]:
    """The faces that are evaluated, in an order by name alone: fewer are always the first of more."""
    by_name = sorted(pictures_in(folder), key=lambda path: hashlib.sha256(path.name.encode()).digest())
    return by_name[:TEST_FACES]


class OutOfTimeError(Exception):
    """An evaluation would last longer than there is time."""


def evaluate(recipe: Recipe, plan: Plan) -> None:
    """Score the model on as many test faces as the time allows: two first, which say how long one takes."""
    try:
        faces = test_faces(recipe.data / "test")
        if recipe.end - plan.spent < budget.LEAST_STAGE:
            raise OutOfTimeError("no time is left for it")
        began, count = plan.spent, len(faces)
        each = plan.values.get("face_seconds") or score(recipe, plan, faces[:2])
        plan.save(face_seconds=each)
        if recipe.minutes:
            fixed = max(0.0, plan.spent - began - 2 * each)
            count = min(count, int((0.9 * (recipe.end - plan.spent) - fixed) / (1.2 * each)))
        if count > 2 and not recipe.attempt:
            score(recipe, plan, faces[:count])
    except (ModuleNotFoundError, OutOfTimeError, FacemendError) as error:
        plan.note("evaluation ended", reason=str(error))
    results = recipe.work / "evaluation/results.json"
    if results.is_file():
        shutil.copyfile(results, recipe.out.with_name(f"{recipe.out.name}-results.json"))


def score(recipe: Recipe, plan: Plan, faces: Sequence[Path]) -> float:
    """Evaluate some faces at w = 0, 0.5 and 1, heavily degraded; returns the seconds that one takes."""
    from facemend.evaluation.options import EvaluationOptions
    from facemend.evaluation.suite import evaluate as run

    copies, table = recipe.work / "test", recipe.data / "test.csv"
    shutil.rmtree(copies, ignore_errors=True)
    copies.mkdir()
    for face in faces:
        shutil.copyfile(face, copies / face.name)
    options = EvaluationOptions(
        faces=copies,
        out=recipe.work / "evaluation",
        title=recipe.out.name,
        models=(str(recipe.out),),
        ws=(0.0, 0.5, 1.0),
        size=min(256, find_model(recipe.out).image_size),
        table=table if table.is_file() else None,
        device="cuda" if torch.cuda.is_available() else "cpu",
        speed=False,
    )
    times = [plan.spent]

    def done() -> None:
        times.append(plan.spent)
        if plan.spent > recipe.end:
            raise OutOfTimeError(f"{len(times) - 1} of {len(faces)} faces when the time was over")

    for method in run(options, overwrite=True, on_start=lambda *_: done)["methods"]:
        means = {k: row["mean"] for k, row in method["means"].items() if k in ("psnr", "lpips", "niqe")}
        plan.note(f"evaluated {method['name']}", faces=len(faces), **means)
    return times[-1] - times[-2]


def train_default(recipe: Recipe, began: float) -> None:
    """The whole recipe, or what is left of it."""
    least = budget.LEAST_RESERVE["cuda" if torch.cuda.is_available() else "cpu"]
    if recipe.minutes:
        budget.stage_ends(recipe.minutes, least)  # too few are said at once
    recipe.end = 60 * recipe.minutes if recipe.minutes else float("inf")
    plan = Plan(recipe, began)
    if plan.values.get("finished"):
        plan.note("finished already", model=recipe.out)
        return
    if recipe.data.is_file():
        recipe.data = travel.unpack(recipe.data, recipe.work / "faces")
    configs = read_configs(recipe)
    grow_start(recipe, plan, configs["stage1"])
    plan.save(start=plan.values.get("start", plan.spent))
    least = max(least, 4 * plan.values.get("recovery", 0))
    ends = budget.stage_ends(recipe.minutes, least, plan.values["start"]) if recipe.minutes else {}
    for config in configs.values():
        product = run_stage(recipe, plan, config, ends)
    export(recipe, plan, product, configs["stage3"].network)
    evaluate(recipe, plan)
    plan.save(finished=True)
    plan.note("finished", model=recipe.out)


def pack_faces(recipe: Recipe) -> None:
    """Write the pictures that the configs draw from into one file."""
    data = [config.data for config in read_configs(recipe).values()]
    folders, test = [folder for settings in data for folder in settings.folders], recipe.data / "test"
    faces = travel.drawn(folders)
    others = {settings.table for settings in data if settings.table}
    others |= set(test_faces(test)) if test.is_dir() else set()
    # A manifest says that the faces are in `faces`.
    tables = [path / "manifest.csv" for path in (test, *(folder.path for folder in folders))]
    others |= {table for table in (*tables, test.with_suffix(".csv")) if table.is_file()}
    limit = None if recipe.pack_mib is None else int(recipe.pack_mib * travel.MIB)
    most = travel.pack(recipe.pack, recipe.data, faces, others, limit)
    size = f"{recipe.pack.stat().st_size / travel.MIB:.1f} MiB"
    print(f"{recipe.pack}: {most or 'all'} faces of each source, {size}")


def parse(argv: Sequence[str]) -> Recipe:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("out", nargs="?", type=Path, default=Path("runs/compact-512"), help="model folder to write")
    add("--minutes", type=float, help="in all; without, the steps of the configs")
    add("--from", dest="start", default="compact-512", help="model, its folder, or a checkpoint")
    add("--data", type=Path, default=PICTURES, help="folder of faces, or a file of --pack")
    add("--configs", type=Path, default=ROOT / "configs", help="folder of compact-512-stage*.toml")
    add("--milestones", type=Path, help="folder for the newest weights, in parts, every 90 s")
    add("--part-mib", type=float, default=16, help="size of a part at most")
    add("--try", dest="attempt", action="store_true", help="two steps a stage, in try/")
    add("--pack", type=Path, metavar="FILE", help="write the pictures into a zip, and end")
    add("--pack-mib", type=float, help="its size at most: fewer faces of each source")
    add("--join", type=Path, metavar="FOLDER", help="join the milestone there, and end")
    add("-o", "--output", type=Path, help="file that --join writes")
    recipe = parser.parse_args(argv)
    if recipe.join and not recipe.output:
        parser.error("--join needs -o FILE")
    if recipe.output and not recipe.join:
        parser.error("-o is of --join: the folder to train in goes without it")
    if recipe.pack_mib is not None and not recipe.pack:
        parser.error("--pack-mib is of --pack")
    if recipe.part_mib < 1 / 1024 or (recipe.minutes is not None and recipe.minutes <= 0):
        parser.error("--minutes and --part-mib are above 0")
    if recipe.attempt:
        recipe.out, recipe.minutes = recipe.out.parent / "try" / recipe.out.name, None
    recipe.work = recipe.out.with_name(recipe.out.name + "-work")
    return recipe


def main(argv: Sequence[str], began: float) -> int:
    recipe = parse(argv)
    try:
        if recipe.join:
            travel.join_parts(recipe.join, recipe.output)
        elif recipe.pack:
            pack_faces(recipe)
        else:
            train_default(recipe, began)
    except FacemendError as error:
        print(f"train_default: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last saved state", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], BEGAN))
