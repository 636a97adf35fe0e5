"""What is written: whole, small, and with one copy of what both pages share."""

import base64
import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from facemend import __version__
from facemend.cli.app import app
from facemend.errors import ConfigError, ExistsError, OutputError
from facemend.photo.options import DEFAULT_MODEL
from facemend.server.app import STATIC
from facemend.web.site import POLICY, write_site
from facemend.weights.models import find_model

MOST = 22_000_000


def test_files_are_whole_and_few_bytes(site):
    models = site / "facemend-web/models"
    told = json.loads((models / "models.json").read_text())
    assert told["side"] == find_model(DEFAULT_MODEL).image_size
    for file in told["files"].values():
        content = (models / file["file"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])
    assert sum(file["bytes"] for file in told["files"].values()) < MOST - 1_000_000
    assert "ort-gpu" not in told["files"]
    assert (models / told["gpu"]["file"]).stat().st_size == told["gpu"]["bytes"]
    assert json.loads((site / "facemend-web/package.json").read_text())["version"] == __version__


def test_the_page_is_that_of_the_server(site):
    own = {"api.js", "site.js"}
    shared = {path.name for path in STATIC.glob("*.js")} - own
    assert shared
    assert all((site / "static" / name).read_bytes() == (STATIC / name).read_bytes() for name in shared)
    exported = [
        set(re.findall(r"export (?:async )?(?:const|function) (\w+)", (folder / "api.js").read_text()))
        for folder in (STATIC, site / "static")
    ]
    assert exported[0] == exported[1]  # what the shared modules may import


def test_the_policy_names_no_other_place(site):
    page, worker = (site / "index.html").read_text(), (site / "sw.js").read_text()
    assert POLICY in page
    assert POLICY in worker
    assert "connect-src 'self';" in POLICY
    assert not re.search(r"https?:|\*|unsafe-inline|'unsafe-eval'", POLICY)
    kept = json.loads(re.search(r"FILES = (\[.*?\]);", worker)[1])
    assert {"./", "index.html", "static/app.js", "facemend-web/worker.js"} <= set(kept)
    assert all((site / name).exists() for name in kept)


def test_only_a_site_is_replaced(site, runtime, tmp_path):
    info = find_model(DEFAULT_MODEL)
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(OutputError, match="no site of facemend"):
        write_site(tmp_path, info, runtime, overwrite=True)
    with pytest.raises(ExistsError):
        write_site(site, info, runtime)
    assert (site / "sw.js").is_file()


def test_of_a_folder_that_is_more_than_a_site_only_the_site_is_replaced(
    site, runtime, tiny_model, tmp_path, monkeypatch
):
    shutil.copytree(site, tmp_path / "docs")
    (tmp_path / "docs/CNAME").write_text("faces.example")
    (tmp_path / "docs/.git").mkdir()
    (tmp_path / "docs/static/old.js").touch()
    monkeypatch.chdir(tmp_path / "docs")
    write_site(Path(), find_model(str(tiny_model)), runtime, overwrite=True)
    assert (tmp_path / "docs/CNAME").read_text() == "faces.example"
    assert (tmp_path / "docs/.git").is_dir()
    assert not (tmp_path / "docs/static/old.js").exists()
    assert json.loads((tmp_path / "docs/facemend-web/models/models.json").read_text())["side"] == 64
    assert not list(tmp_path.glob("**/.site-*"))


def test_the_package_says_the_licence_of_its_network(site, runtime, tiny_model, tmp_path):
    info = find_model(str(tiny_model))
    object.__setattr__(info, "licence", "S-Lab License 1.0")
    write_site(tmp_path / "site", info, runtime)
    package = tmp_path / "site/facemend-web"
    assert json.loads((package / "package.json").read_text())["license"] == "SEE LICENSE IN README.md"
    assert f"the network {info.name} (S-Lab License 1.0)" in " ".join(
        (package / "README.md").read_text().split()
    )
    ours = site / "facemend-web"
    assert json.loads((ours / "package.json").read_text())["license"] == "Apache-2.0"
    told = (ours / "README.md").read_text()
    assert "the network compact-512 (Apache-2.0)" in told
    assert re.search(r"// \d+ MB, once", told)


def test_other_models_are_refused(tiny_model, runtime, tmp_path):
    info = find_model(str(tiny_model))
    object.__setattr__(info, "task", "colorization")
    with pytest.raises(ConfigError, match="restoration models"):
        write_site(tmp_path / "site", info, runtime)
    assert not (tmp_path / "site").exists()


def test_the_command_writes_it(tiny_model, runtime, tmp_path):
    done = CliRunner().invoke(app, ["web", "-o", str(tmp_path / "site"), "--model", str(tiny_model)])
    assert done.exit_code == 0, done.output
    megabytes = float(re.search(r"a first visit loads ([\d.]+) MB", done.output)[1])
    assert 3.5 < megabytes < 7  # the runtime, helpers and page; the tiny model weighs nothing
    assert json.loads((tmp_path / "site/facemend-web/models/models.json").read_text())["side"] == 64


def test_the_bytes_of_the_sums_over_pixels_are_those_of_their_source():
    wasmtime = pytest.importorskip("wasmtime", reason="no wheel for this system")
    imaging = STATIC.parents[1] / "web/package/imaging"
    module = (imaging / "simd.js").read_text(encoding="utf-8")
    program = wasmtime.wat2wasm((imaging / "simd.wat").read_text(encoding="utf-8"))
    held = "".join(re.findall(r'^  "(.*)"', module, re.MULTILINE))
    assert base64.b64decode(held) == program, "run scripts/write_simd.py"
