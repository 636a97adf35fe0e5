#!/usr/bin/env python3
"""Give a model its diagnosis head: labels from degraded faces, then a small perceptron in a minute.

    scripts/train_diagnosis.py --faces FACES                 labels, head, and what held-out faces say
    scripts/train_diagnosis.py --faces FACES --minutes 10    labels for ten minutes; the same command goes on
    scripts/train_diagnosis.py --faces FACES --export MODEL  the model folder with the head, too

A label is what a degradation was (`degradations.severity`) and how far the model's face is from the truth at
each w; an engraving is no damaged photograph, its truth is itself. Labels lie in parts under OUT, with what
the head sees of each face: a stopped run goes on, and other heads cost seconds. One face in seven is held
out, by its name. OUT/model.safetensors is the network with its head; no other weight changes. Needs the
train, export and eval extras.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facemend.convert.recover import model_checkpoint
from facemend.data.faces import pictures_in
from facemend.degradations import Plan, apply, preset
from facemend.degradations.severity import severity
from facemend.errors import ConfigError, FacemendError
from facemend.files import whole_file
from facemend.imaging import Picture, from_float, in_srgb, read_picture, resize, to_float
from facemend.imaging.color import luma
from facemend.metrics.learned import identity_embeddings, lpips
from facemend.networks.codeformer.checkpoint import load_checkpoint, load_into, save_checkpoint
from facemend.networks.codeformer.codeformer import CodeFormer
from facemend.networks.codeformer.diagnosis import OFFSETS, DiagnosisHead, statistics
from facemend.networks.codeformer.halves import encode_names
from facemend.photo.find import is_monochrome
from facemend.photo.options import DEFAULT_MODEL
from facemend.photo.restore import true_colours
from facemend.predictors.restorer import EncodedFaces, FaceRestorer
from facemend.types import Diagnosis
from facemend.weights.models import ModelInfo, find_model

PRESETS = (
    *("heavy", "medium", "light", "clean", "scan", "clean", "light", "mixed", "gfpgan", "clean"),
    *("scan", "light", "medium", "clean", "difface", "engraved", "heavy", "daefr", "restoreformer", "scan"),
)
PART = 25  # faces a file of labels
MEASURED = 1  # of the w, for faces that are not held out: their time goes into more faces
HELD_OUT = 7
N = len(Diagnosis.WS)
LPIPS, IDENTITY, CHANGE = slice(4, 5 + N), slice(5 + N, 6 + 2 * N), slice(6 + 2 * N, Diagnosis.COUNT)
WEIGHTS = np.repeat((1.0, 3.0, 2.0), (4, 2 * N + 2, N))  # of the errors, each in standard deviations
Floats = NDArray[np.float32]


class Labeller:
    """Degrades faces, restores them, and measures.

    Args:
        model: that gets the head.
        net: its network.
    """

    def __init__(self, model: ModelInfo, net: CodeFormer) -> None:
        self._net = net
        self._restorer = FaceRestorer.open(model, threads=torch.get_num_threads(), device="cpu")

    @torch.inference_mode()
    def label(self, face: NDArray[np.uint8], plan: Plan, ws: Sequence[float]) -> tuple[Floats, Floats]:
        """What the head sees of a degraded face, and what it should say of it.

        Args:
            face: (S, S, 3) uint8 RGB, of the model's size.
            plan: its degradation.
            ws: those of `Diagnosis.WS` that are measured; for the others the label is NaN.

        Returns:
            (F,) of `statistics`, and (`Diagnosis.COUNT`,).
        """
        worse = apply(face, plan)
        crop = to_float(worse)
        image = _batch([worse]) * 2 - 1
        z, taps = self._net.encoder(image)
        fine = self._net.encoder.fine_latents(taps)
        logits = self._net.transformer(z, fine)
        seen = statistics(taps, z, logits)[0].numpy()
        kept = {size: taps.get(size, image) for size in self._net.config.kept_sizes}
        outputs = [logits.argmax(2), z, *kept.values()]
        names = [name for name in encode_names(self._net) if name != "diagnosis"]
        known = EncodedFaces({name: value.numpy() for name, value in zip(names, outputs, strict=True)})
        mono = is_monochrome(Picture.from_array(worse), crop)
        faces = [true_colours(self._restorer.decode(known, w)[0], crop, mono) for w in ws]
        pictures = _batch([*(from_float(each) for each in faces), worse])
        return seen, _row(severity(plan, face), ws, pictures, _batch([face]))


def _row(damage: object, ws: Sequence[float], pictures: Tensor, truth: Tensor) -> Floats:
    """The label; the last of the pictures is the degraded face itself."""
    n = len(Diagnosis.WS)
    row = np.full(Diagnosis.COUNT, np.nan, np.float32)
    row[:4] = astuple(damage)  # type: ignore[call-overload]  # a dataclass of floats
    who, original = identity_embeddings(pictures), identity_embeddings(truth)
    places = [*(Diagnosis.WS.index(w) for w in ws), n]
    row[LPIPS][places] = lpips(pictures, truth).numpy()
    row[IDENTITY][places] = (who - original).norm(dim=1).numpy()
    row[CHANGE][places[:-1]] = (who[:-1] - who[-1]).norm(dim=1).numpy()
    return row


def _batch(faces: Sequence[NDArray[np.uint8]]) -> Tensor:
    return torch.from_numpy(np.stack([to_float(face) for face in faces]).transpose(0, 3, 1, 2).copy())


def engraved(face: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A face, (S, S, 3), as an engraving: up to three layers of lines that swell with the darkness."""
    side = len(face)
    dark = 1 - luma(to_float(face))
    dark = np.clip((dark - dark.min()) / max(1e-3, float(np.ptp(dark))) * rng.uniform(0.7, 1.1), 0, 1)
    form = cv2.GaussianBlur(dark, (0, 0), side / 40) * rng.uniform(0, 4)  # lines bend around what they show
    y, x = np.mgrid[:side, :side] / side
    pitch, angle = rng.uniform(2, 6) / 256, rng.uniform(0, np.pi)
    ink = np.zeros((side, side))
    for from_dark in (0, rng.uniform(0.3, 0.5), rng.uniform(0.5, 0.8)):
        way = (x * np.cos(angle) + y * np.sin(angle)) / pitch + form
        share = np.clip((dark - from_dark) / (1 - from_dark), 0, 1)  # of the paper that this layer covers
        ink = np.maximum(ink, np.clip((share - np.abs((2 * way) % 2 - 1)) * 512 * pitch + 0.5, 0, 1))
        angle += rng.uniform(0.6, 1.6)
    yellow = rng.uniform(0, 0.25) * np.array((0, 0.3, 1))
    paper, black = rng.uniform(0.85, 1) - yellow, rng.uniform(0, 0.25)
    drawn = cv2.GaussianBlur(
        paper * (1 - ink[..., None]) + black * ink[..., None], (0, 0), rng.uniform(0.4, 1)
    )
    return from_float(drawn.astype(np.float32))


def is_held_out(name: str) -> bool:
    """Whether a face is kept from training, by its name alone."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % HELD_OUT == 0


def draw(
    name: str, number: int, face: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], Plan, tuple[float, ...]]:
    """The number-th case: what is the truth of a face, its degradation, and the w that are measured."""
    rng = np.random.default_rng((7, number))
    how = PRESETS[number % len(PRESETS)]
    if how == "engraved":
        face, how = engraved(face, rng), "light"
    plan = Plan(size=len(face)) if how == "clean" else preset(how).draw(rng, len(face))
    if rng.random() < 0.2:
        plan = replace(plan, gray=True)
    if is_held_out(name):
        return face, plan, Diagnosis.WS
    return face, plan, tuple(np.sort(rng.choice(Diagnosis.WS, MEASURED, replace=False)).tolist())


def faces_of(folder: Path, count: int) -> list[Path]:
    """So many faces in an order by name alone; after the last comes the first again."""
    files = in_order(folder)
    return [files[number % len(files)] for number in range(count)]


def in_order(folder: Path) -> list[Path]:
    """All faces of a folder in an order by name alone.

    Raises:
        InputError: there are none.
    """
    return sorted(pictures_in(folder), key=lambda path: hashlib.sha256(path.name.encode()).digest())


def claim(out: Path, model: ModelInfo, files: Sequence[Path], size: int) -> None:
    """Note what the labels in a folder are of.

    Raises:
        ConfigError: they are of another model, or of other faces.
    """
    made_of = {
        "model": dict(model.sha256),
        "faces": hashlib.sha256("/".join(file.name for file in files).encode()).hexdigest(),
        "size": size,
    }
    record = out / "labels.json"
    before = json.loads(record.read_text()) if record.exists() else None
    if before != made_of and any(out.glob("labels-*.npz")):
        raise ConfigError(f"{out}: holds labels of another model, or of other faces; choose another --out")
    record.write_text(json.dumps(made_of, indent=1))


def make_labels(labeller: Labeller, faces: Sequence[Path], size: int, out: Path, seconds: float) -> bool:
    """Write the labels that are missing, part by part; whether all are there."""
    began = time.monotonic()
    for start in range(0, len(faces), PART):
        path = out / f"labels-{start:06d}.npz"
        wanted = len(faces[start : start + PART])
        if path.is_file() and len(np.load(path)["held_out"]) >= wanted:
            continue
        if time.monotonic() - began > seconds:
            return False
        rows = []
        for number, file in enumerate(faces[start : start + PART], start):
            whole = in_srgb(read_picture(file)).as_float()
            face = from_float(resize(whole, (size, size), "area")).astype(np.uint8)
            rows.append((*labeller.label(*draw(file.name, number, face)), is_held_out(file.name)))
        seen, labels, held_out = (np.stack(column) for column in zip(*rows, strict=True))
        with whole_file(path) as part, part.open("wb") as file:
            np.savez(file, seen=seen, labels=labels, held_out=held_out)
        print(f"{start + len(rows)}/{len(faces)} faces  {time.monotonic() - began:.0f} s", flush=True)
    return True


def read_labels(out: Path) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """All labels of a folder: (M, F) statistics, (M, `Diagnosis.COUNT`) labels, (M,) held out."""
    parts = [np.load(path) for path in sorted(out.glob("labels-*.npz"))]
    seen, labels, held_out = (np.concatenate([p[k] for p in parts]) for k in ("seen", "labels", "held_out"))
    return seen, labels, held_out


def in_logs(labels: Floats) -> Floats:
    """Labels as the head's last layer gives them."""
    logs = labels.copy()
    logs[:, : len(OFFSETS)] = np.log(labels[:, : len(OFFSETS)] + np.float32(OFFSETS))
    return logs


def off_group(values: Tensor, known: Tensor) -> Tensor:
    """The distances of each face less their mean over what is known of them: what a choice hangs on."""
    parts = []
    for part in (LPIPS, IDENTITY, CHANGE):
        there = known[:, part]
        mean = (values[:, part] * there).sum(1, keepdim=True) / there.sum(1, keepdim=True).clamp(min=1)
        parts.append((values[:, part] - mean) * there)
    return torch.cat(parts, 1)


def fit(
    head: DiagnosisHead, seen: Floats, labels: Floats, *, steps: int = 1500, seed: int = 0
) -> Iterator[tuple[int, float]]:
    """Train a head, in place; tells step and loss now and then.

    Inputs and targets are brought to mean 0 and deviation 1 for the training, and the scales then folded into
    the weights: what is stored takes the statistics as they are. Distances are learned by themselves, and
    against each other within a face, where they differ little and a choice is made.
    """
    torch.manual_seed(seed)
    wanted = in_logs(labels)
    x_mean, x_scale = seen.mean(0), seen.std(0) + 1e-3
    y_mean, y_scale = np.nanmean(wanted, 0), np.nanstd(wanted, 0)
    x = torch.from_numpy((seen - x_mean) / x_scale)
    y = torch.from_numpy(np.nan_to_num((wanted - y_mean) / y_scale))
    known = torch.from_numpy((~np.isnan(wanted)).astype(np.float32))
    weight = known * torch.from_numpy(WEIGHTS.astype(np.float32))
    scale = torch.from_numpy(y_scale.astype(np.float32))
    spread = off_group(y * scale, known).square().sum(0).div(known[:, 4:].sum(0)).sqrt() + 1e-3
    inner, outer = head.inner, head.outer
    for layer in (inner, outer):
        layer.reset_parameters()
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.5e-3, total_steps=steps)
    for step in range(1, steps + 1):
        chosen = torch.randint(len(x), (128,))
        given = x[chosen] + 0.05 * torch.randn(len(chosen), x.shape[1])
        hidden = torch.nn.functional.dropout(torch.nn.functional.silu(inner(given)), 0.3)
        off = outer(hidden) - y[chosen]
        among = off_group(off * scale, known[chosen]) / spread
        loss = (weight[chosen] * _huber(off)).sum() / weight[chosen].sum() + _huber(among).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 500 == 0:
            yield step, float(loss.detach())
    with torch.no_grad():
        inner.weight /= torch.from_numpy(x_scale)
        inner.bias -= inner.weight @ torch.from_numpy(x_mean)
        outer.weight *= torch.from_numpy(y_scale.astype(np.float32))[:, None]
        outer.bias *= torch.from_numpy(y_scale.astype(np.float32))
        outer.bias += torch.from_numpy(y_mean.astype(np.float32))


def _huber(error: Tensor) -> Tensor:
    return torch.nn.functional.huber_loss(error, torch.zeros_like(error), reduction="none")


def report(said: Floats, labels: Floats) -> list[str]:
    """What held-out faces say of a head."""
    lines = []
    for place, name in enumerate(("resolution", "blur", "noise", "jpeg")):
        truth, error = labels[:, place], np.abs(said[:, place] - labels[:, place])
        some = truth >= (1.0 if name in ("blur", "noise") else 0.0)  # a share of nothing says nothing
        lines.append(f"{name:12} median error {np.median(error[some] / truth[some]):.1%} of the truth")
    for part, name in ((LPIPS, "LPIPS"), (IDENTITY, "identity"), (CHANGE, "change")):
        error = np.nanmean(np.abs(said[:, part] - labels[:, part]))
        alone = np.nanmean(np.abs(labels[:, part] - np.nanmean(labels[:, part], 0)))
        lines.append(f"{name:12} mean error {error:.4f}, of the mean alone {alone:.4f}")
    return lines


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--faces", type=Path, required=True, help="folder of clean aligned faces")
    add("--model", default=DEFAULT_MODEL, help="name or folder of the model that gets the head")
    add("-o", "--out", type=Path, default=Path("runs/diagnosis"), help="labels and checkpoint")
    add("--count", type=int, default=3500, help="how many degraded faces")
    add("--minutes", type=float, default=float("inf"), help="for labels; then the command ends")
    add("--hidden", type=int, default=96, help="width of the head")
    add("--threads", type=int, default=1)
    add("--export", type=Path, help="model folder to write, with the head")
    recipe = parser.parse_args(argv)
    torch.set_num_threads(recipe.threads)
    try:
        train(recipe)
    except FacemendError as error:
        print(f"train_diagnosis: {error}", file=sys.stderr)
        return 1
    return 0


def train(recipe: argparse.Namespace) -> None:
    """All of it."""
    model = find_model(recipe.model)
    found = load_checkpoint(model_checkpoint(model))
    config = replace(found.config, diagnosis=recipe.hidden)
    net = CodeFormer(replace(config, diagnosis=0))
    load_into(net, found.state, model.name)
    faces = faces_of(recipe.faces, recipe.count)
    recipe.out.mkdir(parents=True, exist_ok=True)
    side = config.autoencoder.image_size
    claim(recipe.out, model, in_order(recipe.faces), side)
    if not make_labels(Labeller(model, net.eval()), faces, side, recipe.out, 60 * recipe.minutes):
        return
    seen, labels, held_out = read_labels(recipe.out)
    # Of each w at least one, too.
    if held_out.all() or not held_out.any() or np.isnan(labels[~held_out]).all(0).any():
        raise ConfigError(f"{recipe.out}: too few labels: give more with --count")
    head = DiagnosisHead(config.autoencoder, recipe.hidden)
    for step, loss in fit(head, seen[~held_out], labels[~held_out]):
        print(f"step {step}  loss {loss:.4f}", flush=True)
    with torch.no_grad():
        said = head.diagnose(torch.from_numpy(seen[held_out])).numpy()
    print(f"{held_out.sum()} held-out faces:", *report(said, labels[held_out]), sep="\n")
    state = found.state | {f"diagnosis.{name}": value for name, value in head.state_dict().items()}
    path = recipe.out / "model.safetensors"
    save_checkpoint(path, state, config, found.info)
    if recipe.export:
        export(path, model, recipe.export)


def export(path: Path, model: ModelInfo, out: Path) -> None:
    """A model folder like the model's, with the head."""
    from facemend.convert.export import ExportOptions, export_model

    details = model.details
    options = ExportOptions(
        name=model.name,
        precision=str(details["precision"]),
        adain=bool(details["adain"]),
        description=model.description,
        licence=model.licence,
        default_w=model.default_w,
    )
    print(export_model(path, out, options, card=model.card if model.card.is_file() else None))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
