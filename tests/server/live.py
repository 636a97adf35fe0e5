"""A server of this process that real sockets reach."""

import socket
import threading
import time
from contextlib import contextmanager

import uvicorn

from facemend.server.app import create_app
from facemend.server.run import configured
from facemend.server.settings import ServerSettings


class Live:
    """Its application, and its port on 127.0.0.1."""

    def __init__(self, app, port: int) -> None:
        self.app, self.port = app, port

    def connect(self, data: bytes = b"", read: int | None = None) -> socket.socket:
        """A connection that has sent `data`, with `read` bytes of buffer for what comes back."""
        made = socket.socket()
        if read is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, read)
        made.settimeout(20)
        made.connect(("127.0.0.1", self.port))
        made.sendall(data)
        return made

    def ask(self, data: bytes) -> bytes:
        """All that comes back."""
        with self.connect(data) as made:
            return rest(made)

    def status(self, path: str = "/api/health", headers: str = "") -> int:
        answer = self.ask(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n".encode()
        )
        return int(answer.split()[1])


def rest(made: socket.socket) -> bytes:
    """What comes until the server ends the connection, by whatever means."""
    parts = []
    try:
        while part := made.recv(65_536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


@contextmanager
def living(settings: ServerSettings):
    app = create_app(settings)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        config = configured(settings)
        config.app, config.factory = app, False
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield Live(app, listening.getsockname()[1])
        server.should_exit = True
        thread.join(30)
