"""A server over a temporary store, with a network that runs in a millisecond."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from server_helpers import Server, ThreadProcess

from facemend.imaging import Picture, encode_picture
from facemend.server.app import create_app
from facemend.server.restorer import JobRestorer
from facemend.server.settings import ServerSettings
from facemend.server.store import JobStore

NAMES = "testserver,test,example.org"
"""What clients within the process call the server."""


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory, tiny_model) -> Iterator[Path]:
    """The user's cache, with the model "tiny" and nothing else."""
    folder = tmp_path_factory.mktemp("cache")
    shutil.copytree(tiny_model, folder / "models/tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACEMEND_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def threads(monkeypatch) -> None:
    """Servers that a test makes in this process have their networks here too; that of `client` has not."""

    def spawn(settings):
        return ThreadProcess(JobRestorer(settings, JobStore(settings.folder())))

    monkeypatch.setattr("facemend.server.supervisor.spawn", spawn)


@pytest.fixture
def settings(tmp_path) -> ServerSettings:
    return ServerSettings(store=str(tmp_path / "store"), threads=1, names=NAMES)


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[TestClient]:
    """One server for all tests of a module that leave it usable, with its networks in another process."""
    folder = tmp_path_factory.mktemp("store")
    settings = ServerSettings(store=str(folder), threads=1, queue=200, names=NAMES)
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.fixture(scope="session")
def jpeg(portrait: Picture) -> bytes:
    """A photo of 320 x 400 with one face."""
    return encode_picture(portrait, "jpeg")


@pytest.fixture(scope="session")
def blank() -> bytes:
    """A photo without faces, quickly done."""
    buffer = io.BytesIO()
    Image.new("RGB", (48, 32), (90, 120, 60)).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture
def serve(tmp_path, cache):
    """Starts servers; what still runs at the end is killed."""
    started: list[Server] = []

    def start(*options: str, **environment: str) -> Server:
        server = Server(tmp_path, environment, *options)
        started.append(server)
        return server

    yield start
    for server in started:
        server.close()
