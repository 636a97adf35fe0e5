"""What the three stages share around their loops: folder, log, updates, resume, progress.

Everything random in a run is a function of its seed and the step, so the state to restore is the weights, the
optimisers and the step. With several processes the first one writes; all of them read.
"""

from __future__ import annotations

import json
import logging
import math
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import cv2
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch._functorch import config as functorch
from torch.utils.tensorboard import SummaryWriter

import facemend
from facemend.errors import ConfigError, FacemendError, InputError
from facemend.files import unwritable, whole_file
from facemend.networks.codeformer.checkpoint import save_checkpoint
from facemend.training.config import RunConfig
from facemend.training.engine import Engine
from facemend.training.health import Health
from facemend.training.same_run import check_origin, check_processes, other_settings, read_state
from facemend.training.schedule import P, faces_seen, learning_rate, remaining, total_steps
from facemend.training.settings import OptimConfig, Phase

logger = logging.getLogger(__name__)


class Stateful(Protocol):
    """Anything that a run saves and restores."""

    def state_dict(self) -> dict[str, Any]:
        """What has to be kept."""

    def load_state_dict(self, state: dict[str, Any]) -> object:
        """Take it back."""


@dataclass(frozen=True)
class StepReport:
    """Progress for whoever shows it: `values` are the metrics of the last log line."""

    step: int
    steps: int
    images_per_second: float
    seconds_left: float
    values: Mapping[str, float]


Net = TypeVar("Net", bound=nn.Module)
Batch = dict[str, Tensor]
OnStep = Callable[[StepReport], None]


class Run:
    """A run's processes, folder and log.

    The folder holds config.json, environment.json, data.json, log.jsonl, warnings.jsonl, tensorboard/,
    previews/, state.pt (to resume), model.safetensors (the product) and, of a whole run, ended.json.
    """

    def __init__(self, config: RunConfig, phases: Sequence[Phase], on_step: OnStep | None = None) -> None:
        self.config = config
        self.phases = phases
        self.steps = total_steps(phases)
        self.folder = config.out
        self.on_step = on_step
        self.engine = Engine()
        self.device = self.engine.device
        cv2.setNumThreads(1)  # the network needs the cores
        if config.threads:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self._bf16 = config.precision == "bf16" and self.engine.has_bf16
        self._claim_folder()
        if config.precision == "bf16" and not self._bf16 and self.engine.main:
            logger.warning(
                "this CPU has no instructions for bf16: the run uses float32, which is quicker here"
            )
        self.board = SummaryWriter(str(self.folder / "tensorboard")) if self.engine.main else None
        self.health = Health(config)
        self._start = self._clock = time.monotonic()
        self._images = 0
        self._decided = (0, False)
        self._seen: dict[str, list[float]] = {}
        self.kept: dict[str, Any] = {}  # of the weights that the run begins with

    def _claim_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(self.folder, error) from error
        record = self.folder / "config.json"
        text = self.config.model_dump_json(indent=1)
        began = (self.folder / "state.pt").exists() and record.exists()  # else nothing is learned there yet
        if began and (other := other_settings(record.read_text(), self.config)):
            raise ConfigError(
                f"{self.folder}: holds a run that was begun with another {', '.join(other)}; "
                "choose another 'out' or delete it"
            )
        check_processes(self.folder, self.engine.processes)
        self.engine.wait()
        if not self.engine.main:
            return
        record.write_text(text)
        environment = {
            "facemend": facemend.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "device": torch.cuda.get_device_name()
            if self.device.type == "cuda"
            else f"{self.device.type} x{torch.get_num_threads()}",
            "processes": self.engine.processes,
            "precision": "bf16" if self._bf16 else "fp32",
        }
        self.note("environment.json", environment)

    def note(self, name: str, values: Mapping[str, Any]) -> None:
        """Keep facts about the run as a JSON file of its folder."""
        if self.engine.main:
            (self.folder / name).write_text(json.dumps(values, indent=1))

    def note_faces(self, facts: Mapping[str, Any]) -> None:
        """Keep what is learned from in data.json, by its "digest".

        Raises:
            InputError: the run goes on, and began with other pictures.
        """
        record = self.folder / "data.json"
        began = (self.folder / "state.pt").exists() and record.exists()
        before = json.loads(record.read_text()) if began else facts
        self.engine.wait()
        if before["digest"] != facts["digest"]:
            raise InputError(
                f"{self.folder}: began with other pictures ({before['faces']} faces; now {facts['faces']}); "
                "put them back as they were, or start a new run in another 'out'"
            )
        self.note(record.name, facts)

    def autocast(self) -> torch.autocast:
        """Half precision where the config asks for it and the device can do it."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16)

    def generator(self, step: int) -> torch.Generator:
        """A CPU generator for the draws of one step."""
        return torch.Generator().manual_seed(self.config.seed * 1_000_003 + step)

    def draw_w(self, between: tuple[float, float], batch: int, generator: torch.Generator) -> Tensor:
        """(batch,) fidelity weights of this process's faces, drawn for the faces of all processes."""
        everyone = torch.empty(batch * self.engine.processes).uniform_(*between, generator=generator)
        return everyone[self.engine.rank * batch :][:batch].to(self.device)

    def resume(self, parts: Mapping[str, Stateful], **origin: str) -> int:
        """Restore the parts from state.pt; returns the steps that are done (0 for a new run).

        Args:
            parts: see `save`.
            origin: checksums of the networks that the run stands on.

        Raises:
            ConfigError: more are done than the config plans, or the run began with another network.
            WeightsError: state.pt is damaged.
        """
        path = self.folder / "state.pt"
        if not path.exists():
            return 0
        state = read_state(path, self.device)
        if state["step"] > self.steps:
            raise ConfigError(
                f"{self.folder}: {state['step']} steps are done, more than the config's {self.steps};"
                " plan no fewer, so that the rate can fall to its end"
            )
        check_origin(self.folder, state.get("origin", {}), origin)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        self._start -= state.get("seconds", 0.0)
        logger.info("resumed %s at step %d", self.folder, state["step"])
        return int(state["step"])

    def through(self, step: int) -> float:
        """Share of the run that is done after `step` steps, by steps or by time, whichever is further."""
        time_share = 0.0
        if self.config.minutes is not None:
            own = torch.tensor((time.monotonic() - self._start) / (60 * self.config.minutes))
            time_share = float(self.engine.mean(own.to(self.device)))  # all processes end together
        return min(1.0, max(step / self.steps, time_share))

    def over(self, step: int) -> bool:
        """Whether the step was the last one; decided once for each step, at its end."""
        if step != self._decided[0]:
            self._decided = (step, self.through(step) >= 1)
        return self._decided[1]

    def due(self, step: int, every: int) -> bool:
        """Whether something that the first process does every so many steps, and at the end, is due."""
        last = self.over(step)
        return self.engine.main and (step % every == 0 or last)

    def steps_left(
        self, phases: Sequence[P], done: int, batches: Callable[[P, int, int], Iterator[Batch]]
    ) -> Iterator[tuple[int, P, Batch]]:
        """Steps after the first `done`, each with its number from 0, phase and batch, until the run is over.

        Args:
            phases: of the run.
            done: steps before.
            batches: of a phase, from its first sample on, so many.
        """
        step = done
        if done and self.over(done):
            return
        for phase, first_sample, count in remaining(phases, done):
            for batch in batches(phase, first_sample, count):
                yield step, phase, batch
                step += 1
                if self.over(step):
                    return

    @property
    def product(self) -> Path:
        """The checkpoint that comes out of the run."""
        return self.folder / "model.safetensors"

    def info(self, step: int) -> dict[str, Any]:
        """What every checkpoint says of the run after so many steps."""
        faces = faces_seen(self.phases, step) * self.engine.processes
        return {"stage": self.config.stage, "step": step, "faces": faces} | self.kept

    def save(
        self, step: int, parts: Mapping[str, Stateful], weights: Mapping[str, Tensor], **info: Any
    ) -> None:
        """Write the product and state.pt, each whole; a run stopped between the two does a step again.

        Args:
            step: steps that are done.
            parts: what `resume` restores.
            weights: of the product.
            info: what it says besides.

        Raises:
            OutputError: one cannot be written.
        """
        save_checkpoint(self.product, weights, self.config.network_sizes, self.info(step) | info)
        state: dict[str, Any] = {"step": step, "seconds": time.monotonic() - self._start, "origin": info}
        state |= {name: part.state_dict() for name, part in parts.items()}
        with whole_file(self.folder / "state.pt", RuntimeError) as file:  # by which torch tells a full disk
            torch.save(state, file)
        if self.over(step):
            self.note("ended.json", {"step": step})

    def place(self, net: Net) -> Net:
        """Put a network on the device, laid out and compiled as the config asks."""
        net.to(self.device)
        if self.config.channels_last:
            net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.config.compile:
            # Part by part and in place: the networks are called by their parts, and names stay as they are.
            # The adaptive weight goes back through the graph twice, so its buffers stay its own.
            functorch.donated_buffer = False
            for part in net.children():
                part.compile()
        return net

    def update(
        self, optimizer: torch.optim.Optimizer, config: OptimConfig, step: int, rate: float | None = None
    ) -> float:
        """One update by the gradients of all processes; returns their norm and clears them.

        Args:
            optimizer: over the weights to change.
            config: schedule and clipping.
            step: from 0.
            rate: a constant learning rate instead of the schedule.
        """
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        self.engine.average_gradients(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, config.clip or math.inf)
        for group in optimizer.param_groups:
            scheduled = self._rate(config, step) if rate is None else rate
            group["lr"] = scheduled * group.get("share", 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def _rate(self, optim: OptimConfig, step: int) -> float:
        """The learning rate of a step, from 0; of a run by time that of the place where it stands."""
        if self.config.minutes is not None and step >= optim.warmup:
            step = max(step, int(self.through(step) * self.steps))
        return learning_rate(optim, optim.lr, step, self.steps)

    def after_step(
        self,
        step: int,
        batch: Mapping[str, Tensor],
        values: Mapping[str, Tensor | float],
    ) -> None:
        """Count a finished step (1-based); every `log_every` steps write the mean of the metrics.

        Args:
            step: number of the step.
            batch: what it was trained on, (B, ...) each; kept in a file if a metric is not a number.
            values: metrics by name, those of this process.

        Raises:
            FacemendError: a metric is NaN or infinite.
        """
        self._images += len(next(iter(batch.values()))) * self.engine.processes
        own = torch.stack([torch.as_tensor(value, dtype=torch.float32).cpu() for value in values.values()])
        everyone = self.engine.mean(own.to(self.device)).tolist()
        for name, number in zip(values, everyone, strict=True):
            # At every step, not only at log lines: a state with NaN in it must never be saved.
            if not math.isfinite(number):
                raise FacemendError(
                    f"{self.folder}: {name} is not finite at step {step}; lower optim.lr or set optim.clip, "
                    "then start again: the run resumes from its last saved state. The batch is in "
                    f"{self._keep(step, batch).name}"
                )
            self._seen.setdefault(name, []).append(number)
        if step % self.config.log_every and not self.over(step):
            return
        # Not all metrics belong to every step: phases differ, revival is rare.
        means = {name: sum(numbers) / len(numbers) for name, numbers in self._seen.items()}
        seconds = max(1e-9, time.monotonic() - self._clock)
        rate = self._images / seconds
        faces = faces_seen(self.phases, self.steps) - faces_seen(self.phases, step)
        self.log(step, {**means, "images_per_second": rate})
        self.warn(step, self.health.look(step, means))
        if self.on_step is not None and self.engine.main:
            self.on_step(
                StepReport(step, self.steps, rate, self._left(faces * self.engine.processes / rate), means)
            )
        self._clock, self._images, self._seen = time.monotonic(), 0, {}

    def _left(self, seconds: float) -> float:
        """Seconds until the run ends, where its steps would take so many."""
        if self.config.minutes is None:
            return seconds
        return max(0.0, min(seconds, self._start + 60 * self.config.minutes - time.monotonic()))

    def _keep(self, step: int, batch: Mapping[str, Tensor]) -> Path:
        """Write the batch of a step that went wrong, for whoever looks into it."""
        path = self.folder / f"diverged_step{step:06d}_process{self.engine.rank}.safetensors"
        save_file({name: value.detach().cpu().contiguous() for name, value in batch.items()}, path)
        return path

    def warn(self, step: int, warnings: Mapping[str, str]) -> None:
        """Say what looks wrong, and note it in warnings.jsonl."""
        if not self.engine.main:
            return
        for name, text in warnings.items():
            logger.warning("step %d: %s", step, text)
            with (self.folder / "warnings.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, "name": name, "text": text}) + "\n")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append one line to log.jsonl and to tensorboard."""
        if self.board is None:
            return
        line = {"step": step, **{name: round(float(value), 6) for name, value in values.items()}}
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        for name, value in values.items():
            self.board.add_scalar(name, value, step)
        self.board.flush()


def freeze(*modules: nn.Module) -> None:
    """Take modules out of training."""
    for module in modules:
        module.requires_grad_(False)
        module.eval()


def require(path: Path, what: str) -> Path:
    """A file that a stage needs.

    Raises:
        InputError: it is not there.
    """
    if not path.is_file():
        raise InputError(f"{path}: {what} is not there; train the stage before, or correct the config")
    return path
