"""A folder run over a Ray cluster: photos and results on shared disks or in object stores, by their URLs.

The driver lists the photos and hands them out; it reads and writes none of them. Each worker loads the
networks once and does a batch at a time, all its faces together. Every photo has its record (see `records`),
which is looked at before the work: a batch that is tried again because its worker died, and a whole run that
is started again, leave out what is done.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from time import perf_counter
from typing import Any, TypeVar

from facemend.errors import (
    BackendError,
    ConfigError,
    ExistsError,
    FacemendError,
    InputError,
    require_extra,
)
from facemend.files import is_of_system, unwritable
from facemend.folder.plan import REPORT, output_name
from facemend.folder.records import RECORDS, Records, Stamp, digest, pixel_options
from facemend.folder.run import (
    FileReport,
    failure,
    made_otherwise,
    make_record,
    make_report,
    report_line,
    settled,
    told_before,
)
from facemend.folder.urls import UrlStore
from facemend.imaging import SUFFIXES, Picture, encode_for, largest_file, read_picture
from facemend.photo.networks import find_named
from facemend.photo.options import RestoreOptions
from facemend.photo.restore import Restorer, RestoreResult
from facemend.weights.models import ModelInfo

logger = logging.getLogger(__name__)

BATCH, GPU_BATCH = 4, 16
"""Photos that a worker takes at a time."""
MOST_BLOCKS = 4096
"""Parts that a run is cut into for Ray: each is a number of batches."""
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Cluster:
    """How a run is spread.

    Attributes:
        workers: processes that restore; 0: as many as the cluster has room for.
        device: where their networks run: with cuda or tensorrt each has a GPU of its own.
    """

    workers: int = 0
    device: str = "cpu"

    @property
    def on_gpu(self) -> bool:
        """Whether each worker needs one."""
        return self.device in ("cuda", "tensorrt")


def plan_cluster(photos: str, output: str) -> tuple[list[dict[str, str]], list[str]]:
    """List the photos of a run, and name their outputs; the tree is kept. Reads no photo.

    Args:
        photos: folder, path or URL.
        output: folder, path or URL.

    Returns:
        The photos as `source` and `output`, relative to the two folders; and the files that are no pictures.

    Raises:
        InputError: the folder of photos cannot be listed.
        ConfigError: the outputs would lie among the photos, or two photos have one output.
    """
    source, target = UrlStore(photos), UrlStore(output)
    if source.holds(target):
        raise ConfigError(f"{output}: lies in the folder of photos; choose another")
    rows: dict[str, str] = {}
    ignored = []
    for name in source.names():
        path = PurePosixPath(name)
        if path.parts[0] == RECORDS or name == REPORT:  # photos that an earlier run has made
            continue
        if any(map(is_of_system, path.parts)):
            continue
        if path.suffix.lower() not in SUFFIXES:
            ignored.append(name)
            continue
        made = output_name(path).as_posix()
        if made in rows:
            raise ConfigError(f"{photos}: {rows[made]} and {name} would both become {made}; rename one")
        rows[made] = name
    inputs = {source.identity(name) for name in rows.values()}
    if clash := next((made for made in rows if target.identity(made) in inputs), None):
        raise ConfigError(
            f"{target.full_url(clash)}: is an input and would be overwritten; choose another output"
        )
    return [{"source": name, "output": made} for made, name in rows.items()], ignored


@dataclass(frozen=True)
class _Begun:
    """A photo that is to be restored."""

    source: str
    output: str
    stamp: Stamp
    content: bytes
    picture: Picture


class PhotoWorker:
    """One process of a run: restores batches of photos. Ray makes it, and makes it again if it dies.

    Args:
        photos: folder, path or URL.
        output: folder, path or URL.
        options: how to restore.
        pixels: what of them decides the pixels, see `pixel_options`.
        overwrite: whether outputs that no record explains may be replaced.

    Raises:
        FacemendError: as from `Restorer`.
    """

    def __init__(
        self,
        photos: str,
        output: str,
        options: RestoreOptions,
        pixels: Mapping[str, Any],
        *,
        overwrite: bool,
    ) -> None:
        self._photos, self._outputs = UrlStore(photos), UrlStore(output)
        self._restorer = Restorer(options)
        self._records = Records(self._outputs, pixels)
        self._overwrite = overwrite

    def __call__(self, rows: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Restore the photos of a batch.

        Args:
            rows: columns `source` and `output` as from `plan_cluster`.

        Returns:
            The column `report`, see `report_line`.
        """
        start = perf_counter()
        reports: list[FileReport] = []
        begun: list[_Begun] = []
        for source, output in zip(rows["source"], rows["output"], strict=True):
            told = self._tried(str(source), str(output), self._begin)
            (reports if isinstance(told, FileReport) else begun).append(told)  # type: ignore[arg-type]
        results = self._restored(begun)
        for each, result in zip(begun, results, strict=True):
            share = (perf_counter() - start) / len(begun)
            reports.append(self._tried(each.source, each.output, partial(self._end, each, result, share)))
        return {"report": [report_line(report) for report in reports]}

    def _tried(self, source: str, output: str, work: Callable[[str, str], _Result]) -> _Result | FileReport:
        try:
            return work(source, output)
        except Exception as error:  # of this photo only, whatever it is
            return failure(self._photos.full_url(source), self._outputs.full_url(output), error)

    def _begin(self, source: str, output: str) -> FileReport | _Begun:
        name = self._photos.full_url(source)
        read = partial(self._read, source)
        stamp = self._photos.stamp(source)
        if stamp is None:
            raise InputError(f"{name}: no such file")
        record = self._records.find(output, stamp, lambda: digest(read()))
        made = self._outputs.full_url(output)
        if record is not None and self._records.is_whole(record.outputs[:1]):
            others = self._records.other_options(record)
            if not others:
                return told_before(name, made, record)
            if not self._overwrite:
                return made_otherwise(name, made, others)
        if not self._overwrite and self._outputs.stamp(output) is not None:
            raise ExistsError(made)
        content = read()
        return _Begun(source, output, stamp, content, read_picture(content, name=name))

    def _read(self, source: str) -> bytes:
        try:
            return self._photos.read(source, largest_file())
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"{self._photos.full_url(source)}: cannot be read ({reason})") from error

    def _restored(self, begun: Sequence[_Begun]) -> Sequence[RestoreResult | None]:
        """The results of a batch; None for all if there is something wrong with one of the photos."""
        try:
            return self._restorer.restore_many([each.picture for each in begun])
        except Exception:
            logger.debug("a batch failed: its photos are tried one by one", exc_info=True)
            return [None] * len(begun)

    def _end(
        self, begun: _Begun, result: RestoreResult | None, total: float, source: str, output: str
    ) -> FileReport:
        name, made = self._photos.full_url(source), self._outputs.full_url(output)
        if result is None:
            try:
                result = self._restorer.restore(begun.picture)
            except FacemendError as error:
                raise InputError(f"{name}: {error}") from error
        told, copied = settled(begun.picture, result, output)
        report = make_report(name, made, told, total)
        data = begun.content if copied else encode_for(output, told.picture)
        options = self._records.options
        record = make_record(report, source, begun.stamp, begun.content, {output: data}, options)
        # Without leave to overwrite nothing is there; an object store need not be asked then.
        replaces = self._overwrite and self._outputs.stamp(output) is not None
        with self._records.noted(record, replaces=replaces):
            try:
                self._outputs.write(output, data)
            except OSError as error:
                raise unwritable(made, error) from error
        return report


def run_cluster(
    rows: Sequence[Mapping[str, str]],
    photos: str,
    output: str,
    options: RestoreOptions,
    cluster: Cluster,
    *,
    model: ModelInfo | None = None,
    overwrite: bool = False,
) -> Generator[FileReport, None, None]:
    """Restore photos over a cluster; a failure is reported, and the run goes on.

    A worker that dies is replaced, and what it had in hand is done by another.

    Args:
        rows: the photos, see `plan_cluster`.
        photos: their folder, path or URL; every worker must see it there.
        output: folder for the results, likewise.
        options: how to restore; `threads` of 0 is one a worker.
        cluster: how the work is spread.
        model: the one that the options name, if it was looked up already.
        overwrite: whether outputs that no record explains may be replaced.

    Yields:
        A report for each photo, in the order in which they are done.

    Raises:
        MissingExtraError: Ray is not installed.
        BackendError: the cluster cannot be reached, or has no room for a worker; or no worker can start.
    """
    if not rows:
        return
    ray = _open_ray()
    try:
        threads = options.threads or 1
        batch = GPU_BATCH if cluster.on_gpu else BATCH
        needs = {"num_cpus": threads, "num_gpus": int(cluster.on_gpu)}
        worker = {
            "photos": photos,
            "output": output,
            "options": replace(options, threads=threads, device=cluster.device),
            "pixels": pixel_options(options, model or find_named(options)),
            "overwrite": overwrite,
        }
        # Few blocks, as each costs the driver something; many, so that the last ones are short.
        block = batch * math.ceil(len(rows) / (batch * MOST_BLOCKS))
        workers = min(cluster.workers or _room(ray, needs), math.ceil(len(rows) / block))
        data = ray.data.from_items(list(rows), override_num_blocks=math.ceil(len(rows) / block))
        done = data.map_batches(
            PhotoWorker,
            fn_constructor_kwargs=worker,
            batch_size=batch,
            compute=ray.data.ActorPoolStrategy(size=workers),
            **needs,
        )
        for row in done.iter_rows():
            yield FileReport(**json.loads(row["report"]))
    except ray.exceptions.RayError as error:
        raise BackendError(f"the cluster could not go on: {_reason(error)}") from error
    finally:
        ray.shutdown()


def _open_ray() -> Any:
    """Ray, connected to the cluster that RAY_ADDRESS names, or to one that is started here for this run."""
    require_extra("--engine ray", "ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told of anybody's photos
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # a dead worker is no news: it is replaced
    import ray
    import ray.data

    address = os.environ.get("RAY_ADDRESS")
    own = {} if address else {"include_dashboard": False}
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise BackendError(f"no cluster at {address or 'this machine'}: {_reason(error)}") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray


def _room(ray: Any, needs: Mapping[str, int]) -> int:
    """How many workers with such needs the cluster has room for.

    Raises:
        BackendError: for none.
    """
    has = ray.cluster_resources()
    room = min(
        int(has.get(kind, 0)) // needs[name]
        for kind, name in (("CPU", "num_cpus"), ("GPU", "num_gpus"))
        if needs[name]
    )
    if room < 1:
        there = f"{has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs"
        raise BackendError(f"the cluster has {there}: no room for a worker that needs {dict(needs)}")
    return room


def _reason(error: BaseException) -> str:
    """The root of an error that Ray wraps in others and in a trace, in one line."""
    while (cause := getattr(error, "cause", None) or error.__cause__) is not None:
        error = cause
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
