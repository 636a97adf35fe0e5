#!/usr/bin/env python3
"""Load for `facemend serve`: clients who have photos restored, beside others who only hold connections.

Starts a server on a free port. For the given time each client sends a photo, waits for it, fetches the result
and previews with other w; where it is refused, it comes back when it was told to. Silent sockets, and uploads
that stop after their header, are opened again whenever the server closes them. A process beside asks
/api/health ten times a second. Limits go by address: each client has one of its own, the sockets have a few,
all of them addresses of loopback that Linux has without further setup.

Options that are not known here go to `facemend serve`. The exit status is 1 if a photo was lost.

Example: scripts/load_server.py --seconds 60 --workers 2
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2 as httpx
import numpy as np
import psutil

from facemend.imaging import encode_picture, read_picture

ROOT = Path(__file__).resolve().parents[1]
PHOTOS = [ROOT / "tests/data/portrait.jpg", ROOT / "src/facemend/assets/demo/portrait.jpg"]
SIDE = 400  # longer side of the photos, pixels
HOLDERS = 4  # addresses of the silent sockets
LOOK, PROBE, MEASURE, AGAIN = 0.5, 0.1, 1.0, 1.0  # seconds from one to the next
PATIENCE = 300.0  # seconds after the end until which photos that were sent may still be done
UPLOAD = (
    b"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
    b"Content-Type: multipart/form-data; boundary=B\r\n\r\n"
)
HEALTH = b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class LostError(Exception):
    """Why a photo was not restored."""


@dataclass
class Seen:
    """What was seen of the server.

    Attributes:
        counts: how often what happened; "photo 429" and the like are refusals.
        lost: photos that were, by why.
        memory: MB of all processes, first before the load, then one a second.
        health: seconds until the whole answer of each probe; None where it was not 200.
    """

    counts: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    memory: list[float] = field(default_factory=list)
    health: Sequence[float | None] = ()


class Client:
    """One who has photos restored, one after the other."""

    def __init__(self, url: str, number: int, seen: Seen) -> None:
        self._rng, self._counts, self._lost = random.Random(number), seen.counts, seen.lost
        self._refusals = 0
        transport = httpx.AsyncHTTPTransport(local_address=f"127.0.1.{number}")
        self._http = httpx.AsyncClient(base_url=url, transport=transport, timeout=120)

    async def run(self, photos: Sequence[bytes], end: float) -> None:
        """Begin with photos until `end`, by the clock of the loop, and see each of them through."""
        async with self._http:
            while asyncio.get_running_loop().time() < end:
                try:
                    async with asyncio.timeout_at(end + PATIENCE):
                        await self._restore(self._rng.choice(photos))
                except LostError as error:
                    self._lost[str(error)] += 1
                except TimeoutError:
                    self._lost[f"not done {PATIENCE:g} s after the end"] += 1

    async def _restore(self, photo: bytes) -> None:
        self._counts["sent"] += 1
        self._refusals = 0
        answer = await self._ask("photo", "", 202, files={"photo": photo}, data={"w": self._rng.random()})
        path, refused = f"/{answer.json()['id']}", self._refusals > 0
        while (job := (await self._ask("job", path)).json())["status"] in ("queued", "running"):
            await asyncio.sleep(LOOK)
        if job["status"] != "done":
            raise LostError(job["error"])
        await self._ask("result", f"{path}/result")
        for _ in range(2):
            await self._ask("preview", f"{path}/preview", params={"w": self._rng.random()})
            self._counts["previews"] += 1
        self._counts["done"] += 1
        self._counts["late"] += refused

    async def _ask(self, what: str, path: str, status: int = 200, **rest) -> httpx.Response:
        """The answer, once the server has room for this."""
        method = "POST" if "files" in rest else "GET"
        while True:
            try:
                answer = await self._http.request(method, f"/api/jobs{path}", **rest)
            except httpx.TransportError as error:
                raise LostError(f"{what}: {type(error).__name__} {error}") from None
            if answer.status_code not in (429, 503):
                break
            self._refusals += 1
            self._counts[f"{what} {answer.status_code}"] += 1
            await asyncio.sleep(int(answer.headers.get("retry-after", 1)) * self._rng.uniform(1, 1.5))
        if answer.status_code != status or not answer.content:
            raise LostError(f"{what}: {answer.status_code}: {answer.text[:200]}")
        return answer


async def hold(port: int, address: str, sent: bytes, what: str, counts: Counter[str]) -> None:
    """A connection on which nothing comes after `sent`, and another one whenever the server has ended it."""
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
            counts[f"{what} opened"] += 1
            writer.write(sent)
            try:
                answer = await reader.read()
                counts[f"{what} refused"] += b" 429 " in answer[:16]
            finally:
                writer.close()
        await asyncio.sleep(AGAIN)


def probe(port: int, seconds: float) -> list[float | None]:
    """Ask /api/health on a fixed beat, whether or not the last answer is there; see `Seen.health`."""

    async def one(after: float) -> float | None:
        await asyncio.sleep(after)
        begun = time.perf_counter()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEALTH)
            answer = await reader.read()
            writer.close()
        except OSError:
            return None
        return time.perf_counter() - begun if b" 200 " in answer[:16] else None

    async def every() -> list[float | None]:
        return await asyncio.gather(*(one(PROBE * number) for number in range(round(seconds / PROBE))))

    return asyncio.run(every())


def memory(process: int) -> float:
    """MB that a process and all below it hold."""
    parent, total = psutil.Process(process), 0
    for each in (parent, *parent.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            total += each.memory_info().rss
    return total / 1e6


async def measure(process: int, sizes: list[float]) -> None:
    """Take the memory every now and then."""
    while True:
        await asyncio.sleep(MEASURE)
        sizes.append(memory(process))


async def load(url: str, process: int, photos: Sequence[bytes], options: argparse.Namespace) -> Seen:
    """All at once, until the time is over and the photos are done."""
    seen, port = Seen(memory=[memory(process)]), port_of(url)
    end = asyncio.get_running_loop().time() + options.seconds
    beside = [
        asyncio.create_task(hold(port, address.format(n % HOLDERS + 1), sent, what, seen.counts))
        for what, number, sent, address in (
            ("silent", options.silent, b"", "127.0.2.{}"),
            ("uploads", options.uploads, UPLOAD, "127.0.3.1"),
        )
        for n in range(number)
    ]
    beside.append(asyncio.create_task(measure(process, seen.memory)))
    clients = [Client(url, number + 1, seen) for number in range(options.clients)]
    await asyncio.gather(*(client.run(photos, end) for client in clients))
    for task in beside:
        task.cancel()
    await asyncio.gather(*beside, return_exceptions=True)
    return seen


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


@contextmanager
def serving(options: Sequence[str]) -> Iterator[tuple[str, int]]:
    """A server whose networks are loaded: its URL and process. What it warns of is told at the end."""
    command = [sys.executable, "-m", "facemend", "serve", "--port", "0", *options]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        try:
            url = next((line.split()[1] for line in process.stdout if line.startswith("facemend: http")), "")
            if not url:
                raise SystemExit("facemend serve did not start; the lines above say why")
            while not is_up(url):
                time.sleep(0.1)
            yield url, process.pid
        finally:
            process.terminate()
            process.wait()
            log.seek(0)
            sys.stderr.writelines(line for line in log if " INFO " not in line)


def is_up(url: str) -> bool:
    """Whether its networks are loaded."""
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/api/health").json()["status"] == "ok"
    return False


def report(seen: Seen) -> str:
    """What was seen, in lines."""
    counts, lost = seen.counts, seen.lost

    def listed(*ends: str) -> str:
        found = (f"{what} {counts[what]}" for what in sorted(counts) if what.endswith(ends))
        return ", ".join(found) or "none"

    times = [1000 * each for each in seen.health if each is not None] or [np.nan]
    p50, p99, longest = np.percentile(times, (50, 99, 100))
    unanswered = sum(each is None for each in seen.health)
    sizes = ", ".join(f"{size:.0f}" for size in (*seen.memory[:: round(10 / MEASURE)], seen.memory[-1]))
    # By the second third, networks and caches are as large as they get.
    second, last = (part.max(initial=0) for part in np.array_split(seen.memory, 3)[1:])
    flat = "flat" if last < 1.1 * second + 20 else "it grows"
    lines = (
        f"photos: {counts['sent']} sent, {counts['done']} done, {counts['late']} of them refused at first; "
        f"{lost.total()} lost",
        f"refusals: {listed(' 429', ' 503')}",
        f"previews: {counts['previews']}",
        f"health: {len(seen.health)} probes, {unanswered} without a 200; "
        f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, longest {longest:.0f} ms",
        f"memory, MB, every 10 s and at the end: {sizes}: {flat}",
        f"connections held: {listed(' opened', ' refused')}",
    )
    return "\n".join((*lines, *(f"lost {number}: {why}" for why, number in lost.items())))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="during which photos are sent")
    parser.add_argument("--clients", type=int, default=50, help="that have photos restored")
    parser.add_argument("--silent", type=int, default=520, help="connections on which nothing comes")
    parser.add_argument("--uploads", type=int, default=40, help="connections with the header of an upload")
    parser.add_argument("--photos", type=Path, nargs="+", default=PHOTOS, help="pictures; they are shrunk")
    options, server = parser.parse_known_args(arguments)
    pictures = [read_picture(path) for path in options.photos]
    shrunk = [picture.resized(min(1, SIDE / max(picture.pixels.shape))) for picture in pictures]
    photos = [encode_picture(picture, "jpeg") for picture in shrunk]
    with serving(server) as (url, process), ProcessPoolExecutor(1) as pool:
        probing = pool.submit(probe, port_of(url), options.seconds)
        seen = asyncio.run(load(url, process, photos, options))
        seen.health = probing.result()
    print(report(seen))
    return 1 if seen.lost else 0


if __name__ == "__main__":
    sys.exit(main())
