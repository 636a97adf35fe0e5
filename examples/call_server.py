"""Restore a photo by a server: python call_server.py http://127.0.0.1:8000 OLD NEW [w]."""

import json
import sys
import time
import uuid
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

server, old, new = sys.argv[1:4]
w = sys.argv[4] if len(sys.argv) > 4 else "0.5"


def form(fields: dict[str, str], name: str, photo: bytes) -> Request:
    """A multipart upload; with the package `requests` it is requests.post(url, data=..., files=...)."""
    mark = uuid.uuid4().hex
    head = 'Content-Disposition: form-data; name="'
    parts = [f'--{mark}\r\n{head}{key}"\r\n\r\n{value}\r\n'.encode() for key, value in fields.items()]
    parts.append(f'--{mark}\r\n{head}photo"; filename="{name}"\r\n\r\n'.encode() + photo + b"\r\n")
    body = b"".join(parts) + f"--{mark}--\r\n".encode()
    # With a token: "Authorization": "Bearer TOKEN", here and in the requests below.
    headers = {"Content-Type": f"multipart/form-data; boundary={mark}"}
    return Request(f"{server}/api/jobs", body, headers)


try:
    job = json.load(urlopen(form({"w": w}, Path(old).name, Path(old).read_bytes())))
    while job["status"] in ("queued", "running"):
        time.sleep(0.2)
        job = json.load(urlopen(f"{server}/api/jobs/{job['id']}"))
    if job["status"] == "failed":
        sys.exit(job["error"])
    Path(new).write_bytes(urlopen(f"{server}/api/jobs/{job['id']}/result").read())
    urlopen(Request(f"{server}/api/jobs/{job['id']}", method="DELETE"))  # else it is deleted after an hour
except HTTPError as error:  # a line for people, also of 429, "come back later"
    sys.exit(json.load(error)["detail"])
found = f"{len(job['faces'])} faces"
if job["frames"]:  # a film
    found = f"{job['frames']} frames, {job['faces_a_frame']} faces in each on average"
print(f"{new}: {found}")
