"""What docs/server.md says is so: its programs run, and its tables are complete."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from server_helpers import ROOT

from facemend.imaging import read_picture
from facemend.photo.options import DEFAULT_MODEL
from facemend.server.settings import PREFIX, ServerSettings
from facemend.weights.models import find_model

TEXT = (ROOT / "docs/server.md").read_text(encoding="utf-8")


def block(language: str, containing: str) -> str:
    """The one block of code that holds that."""
    found = [code for code in re.findall(rf"```{language}\n(.*?)```", TEXT, re.S) if containing in code]
    assert len(found) == 1
    return found[0]


NO_CURL = pytest.mark.skipif(
    shutil.which("curl") is None, reason="there is no curl, which the program in bash calls"
)


@pytest.mark.parametrize("language", [pytest.param("bash", marks=NO_CURL), "python"])
def test_the_programs_restore_a_photo(serve, jpeg, tmp_path, language):
    server = serve()
    (tmp_path / "old.jpg").write_bytes(jpeg)
    code = block(language, "old.jpg").replace("localhost:8000", server.address.removeprefix("http://"))
    command = (
        [sys.executable, "-c", code] if language == "python" else ["bash", "-euo", "pipefail", "-c", code]
    )
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # for its python3
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    auto = find_model(DEFAULT_MODEL).image_size // 128  # the face is written nearly as large as drawn
    assert read_picture(tmp_path / "new.jpg").width == 320 * (2 if language == "bash" else auto)
    if language == "bash":
        assert read_picture(tmp_path / "closer.jpg").width == 640


def test_every_variable_is_listed_with_its_default():
    for field in fields(ServerSettings):
        name = PREFIX + field.name.upper()
        (row,) = [line for line in TEXT.splitlines() if line.startswith("|") and f"`{name}`" in line]
        if isinstance(field.default, int | float) and field.name != "threads":
            assert str(field.default).removesuffix(".0") in row


def test_every_route_and_status_is_listed(client):
    paths = client.get("/api/openapi.json").json()["paths"]
    routes = {path.replace("{id}", "ID").replace("{face}/{when}", "0/before") for path in paths}
    for route in routes - {"/api/openapi.json"}:
        assert route in TEXT, route
    codes = {code for methods in paths.values() for route in methods.values() for code in route["responses"]}
    for code in codes:
        if int(code) >= 401:
            assert f"| {code} |" in TEXT, code
