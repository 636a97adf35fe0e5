"""A plain static host for the site."""

import contextlib
import functools
import os
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

PATIENCE = 240_000  # ms; the machine may have much to do


class Handler(SimpleHTTPRequestHandler):
    """A plain static host that counts, and breaks off where a test wants it."""

    def log_message(self, *said):
        pass

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.server.wrong and self.path.endswith(self.server.wrong):
            self.server.wrong, self.path = "", "/index.html"
        if self.server.broken and self.path.endswith(self.server.broken):
            path = self.translate_path(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(os.path.getsize(path)))
            self.end_headers()
            with open(path, "rb") as file:
                self.wfile.write(file.read(1000))
            self.close_connection = True
            return
        with contextlib.suppress(ConnectionError):  # the page was closed meanwhile
            super().do_GET()


class Host:
    """Serves a folder.

    `asked` are the paths that were asked for, `broken` the end of one that breaks off, `wrong` that of one
    that is answered with the page, once.
    """

    def __init__(self, folder):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
        self.server.asked, self.server.broken, self.server.wrong = [], "", ""
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
