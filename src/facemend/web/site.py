"""Write the static site: the page of the server, with a worker in the place of the server."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import onnx
from onnx import ModelProto

from facemend import __version__
from facemend.errors import ConfigError, ExistsError, OutputError
from facemend.files import unwritable
from facemend.web.graphs import in_bytes, in_halves
from facemend.weights.catalog import asset_path, assets_folder
from facemend.weights.models import ModelInfo

PACKAGE = "facemend-web"
"""Folder of the site that is an npm package by itself."""
RUNTIME = "onnxruntime-web"
"""Name of the browser's runtime among `facemend.weights.packages`."""
_PROGRAM, _GPU_PROGRAM = "ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.asyncify.wasm"
_LATER = ("ort-gpu.packed", "ort.webgpu.min.js", "ort-wasm-simd-threaded.asyncify.js")
"""Fetched only where there is a graphics card, after the first photo."""
_NETS = {"mesh": "face_mesh", "person": "selfie_segmenter", "pnet": "pnet", "rnet": "rnet", "onet": "onet"}
_MARK = "sw.js"  # what a folder must have to be taken for an older site

POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob:; "
    "worker-src 'self'; manifest-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'"
)
"""Content security policy of page and worker: nothing but files of the site itself can be asked for."""


def write_site(out: Path, info: ModelInfo, runtime: Mapping[str, Path], *, overwrite: bool = False) -> int:
    """Write the site into a folder that any static host can serve.

    Args:
        out: the folder; it appears whole or not at all. Of an older site what is not the site's stays.
        info: a restoration model of two graphs.
        runtime: files of `RUNTIME` by name, as `facemend.weights.packages.fetch` gives them.
        overwrite: whether an older site may be replaced.

    Returns:
        What a first visit loads, bytes; of page and programs as hosts send them (compressed).

    Raises:
        ConfigError: the model cannot be used in a page.
        WeightsError: a graph is missing or damaged.
        OutputError: `out` exists and may not be replaced, or cannot be written.
    """
    if info.io is not None or info.task != "restoration":
        raise ConfigError(f"{info.name}: the page runs restoration models that facemend exported as a pair")
    info.verify()
    with _new_folder(out, overwrite) as folder:
        _copy_page(folder)
        package = folder / PACKAGE
        _write_networks(package / "models", info, runtime)
        _describe_package(package, info)
        for text in ("Apache-2.0", "facenet-pytorch", RUNTIME):
            (package / "licenses").mkdir(exist_ok=True)
            shutil.copyfile(assets_folder() / f"licenses/{text}.txt", package / f"licenses/{text}.txt")
        _write_worker(folder)
        files = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "licenses"]
        return sum(_sent(path) for path in files if path.name not in _LATER)


def _describe_package(package: Path, info: ModelInfo) -> None:
    """Fill in version and network, which may be another's, under a licence of its own."""
    files = [path for path in (package / "models").iterdir() if path.name not in _LATER]
    licence = info.licence if info.licence == "Apache-2.0" else "SEE LICENSE IN README.md"
    for name, values in (
        ("package.json", {"0.0.0": __version__, "Apache-2.0": licence}),
        (
            "README.md",
            {
                "{network}": f"the network {info.name} ({info.licence})",
                "{megabytes}": f"{sum(map(_sent, files)) / 1e6:.0f}",
            },
        ),
    ):
        text = (package / name).read_text(encoding="utf-8")
        for mark, value in values.items():
            text = text.replace(mark, value)
        (package / name).write_text(text, "utf-8")


def _sent(path: Path) -> int:
    data = path.read_bytes()
    return len(data) if path.suffix == ".packed" else len(gzip.compress(data))


def _copy_page(folder: Path) -> None:
    """The server's page, and in the place of what talks to the server what stands for it."""
    root = Path(str(resources.files("facemend")))
    page = root / "web/page"
    shutil.copytree(root / "server/static", folder / "static")
    shutil.copytree(root / "web/package", folder / PACKAGE, ignore=shutil.ignore_patterns("*.wat"))
    for name in ("api.js", "site.js"):
        shutil.copyfile(page / name, folder / "static" / name)
    shutil.copyfile(page / "manifest.webmanifest", folder / "manifest.webmanifest")
    html = (folder / "static/index.html").read_text(encoding="utf-8")
    (folder / "static/index.html").unlink()
    charset = '<meta charset="utf-8">'
    head = (
        charset,
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        f'<meta name="version" content="{__version__}">',
        '<link rel="manifest" href="manifest.webmanifest">',
    )
    (folder / "index.html").write_text(html.replace(charset, "\n  ".join(head)), "utf-8")


def _write_networks(folder: Path, info: ModelInfo, runtime: Mapping[str, Path]) -> None:
    """The graphs, the runtime, and the list of them with sizes and checksums."""
    graphs: dict[str, ModelProto] = {name: in_bytes(onnx.load(path)) for name, path in info.graphs.items()}
    graphs |= {name: in_halves(onnx.load(asset_path(asset))) for name, asset in _NETS.items()}
    contents = {name: graph.SerializeToString() for name, graph in graphs.items()}
    contents |= {"ort": runtime[_PROGRAM].read_bytes(), "ort-gpu": runtime[_GPU_PROGRAM].read_bytes()}
    folder.mkdir()
    files = {name: _packed(folder, name, content) for name, content in contents.items()}
    gpu = files.pop("ort-gpu")
    for name, path in runtime.items():
        if path.suffix == ".mjs":  # hosts know .js as a script
            shutil.copyfile(path, folder / Path(name).with_suffix(".js"))
    told = {"model": info.name, "licence": info.licence, "side": info.image_size, "files": files, "gpu": gpu}
    (folder / "models.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")


def _packed(folder: Path, name: str, content: bytes) -> dict[str, str | int]:
    """Write a file and give its row of the list."""
    data = gzip.compress(content, 9, mtime=0)
    file = f"{name}.packed"  # not .gz, which some hosts would unpack on their way
    (folder / file).write_bytes(data)
    return {"file": file, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _write_worker(folder: Path) -> None:
    """The service worker: which files there are, and names that change with them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    networks = [path for path in files if path.parent.name == "models"]
    page = [
        path
        for path in files
        if path not in networks and path.suffix in (".html", ".js", ".css", ".svg", ".jpg", ".webmanifest")
    ]
    text = (Path(str(resources.files("facemend"))) / "web/page/sw.js").read_text(encoding="utf-8")
    names = ["./", *(path.relative_to(folder).as_posix() for path in page)]
    for name, value in (
        ("{page}", _digest(page)),
        ("{models}", _digest(networks)),
        ("{files}", json.dumps(names)),
        ("{policy}", f"{POLICY}; frame-ancestors 'none'"),
    ):
        text = text.replace(name, value)
    (folder / _MARK).write_text(text, "utf-8")


def _digest(files: list[Path]) -> str:
    whole = hashlib.sha256()
    for path in files:
        whole.update(path.name.encode() + path.read_bytes())
    return whole.hexdigest()[:16]


@contextmanager
def _new_folder(out: Path, overwrite: bool) -> Iterator[Path]:
    """An empty folder beside `out` that takes its place when the block ends without an error."""
    there = os.path.lexists(out)
    if there and not overwrite:
        raise ExistsError(out)
    if there and not (out / _MARK).is_file():
        raise OutputError(f"{out}: is no site of facemend, so it is not replaced; choose another folder")
    out = Path(os.path.realpath(out))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".site-") as temporary:
            folder = Path(temporary) / "site"
            folder.mkdir()
            yield folder
            if there:
                _replace(out, folder)
            else:
                folder.rename(out)
    except OSError as error:
        raise unwritable(out, error) from error


def _replace(out: Path, folder: Path) -> None:
    """Bring the new site into the old one, what keeps it last; whatever else is there stays."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == _MARK):
        old = out / path.name
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        os.replace(path, old)
