"""`facemend models` and `--model`: bring weights, list, use and remove them."""

import hashlib
import json
import shutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from subprocess import CompletedProcess

import pytest
from typer.testing import CliRunner

import facemend
from facemend.cli._shared import weights
from facemend.cli.app import app
from facemend.convert import import_file as imports
from facemend.convert import import_onnx as foreign
from facemend.errors import ConfigError, OutputError, install_line
from facemend.photo.options import DEFAULT_MODEL, RestoreOptions
from facemend.weights.catalog import Published
from facemend.weights.models import cached_models, find_model, models_dir
from facemend.weights.published import accept_licence, licence_accepted


def run(*words, answer=None):
    return CliRunner().invoke(app, [str(word) for word in words], input=answer)


def problem(result):
    """The one line that an error is."""
    assert result.exit_code == 1, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("facemend: ")]
    assert "Traceback" not in result.output
    return line


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache; graphs are probed in this process, which is quicker."""
    monkeypatch.setenv("FACEMEND_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FACEMEND_MIRROR", raising=False)
    monkeypatch.delenv("FACEMEND_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(
        foreign, "_run_apart", lambda path: CompletedProcess("", 0, json.dumps(foreign._answer(path)), "")
    )
    return tmp_path / "cache"


@pytest.fixture
def graph(tmp_path, whole_graph):
    return whole_graph(tmp_path / "net.onnx")


def left_over(cache):
    return sorted(path.relative_to(cache).as_posix() for path in cache.rglob("*") if path.is_file())


KEPT = ["models/net/model.json", "models/net/model.onnx"]


def test_of_several_names_none_is_removed_where_one_is_wrong(graph, cache):
    for name in ("a", "b"):
        assert run("models", "import", graph, "--name", name, "--licence", "MIT").exit_code == 0
    assert run("models", "remove", "a", "nope", "b").exit_code == 1
    assert sorted(path.name for path in models_dir().iterdir()) == ["a", "b"]
    assert run("models", "remove", "a", "b").exit_code == 0


def test_import_list_use_remove(graph, cache, photo, tmp_path):
    got = run("models", "import", graph, "--licence", "CC0-1.0")
    assert got.exit_code == 0, got.output
    assert "net: imported from net.onnx" in got.stdout
    assert "facemend restore PHOTO --model net" in got.stdout
    assert left_over(cache) == KEPT

    listed = run("models")
    assert listed.exit_code == 0
    assert f"{DEFAULT_MODEL} (default)" in listed.stdout
    assert "restoration, 64 px, 0.0 MB, CC0-1.0; in the cache:" in listed.stdout
    assert "facemend models get codeformer" in listed.stdout
    assert "non-commercial" in listed.stdout

    for model in ("net", graph, models_dir() / "net"):
        done = run("restore", photo, "-o", tmp_path / "out.png", "--overwrite", "--model", model)
        assert done.exit_code == 0, done.output
        assert "importing" not in done.stderr

    assert run("models", "remove", "net").stdout == "net: removed\n"
    assert left_over(cache) == []
    assert "no model in the cache" in problem(run("models", "remove", "net"))
    assert "ships with facemend" in problem(run("models", "remove", DEFAULT_MODEL))


def test_restore_imports_a_file_once_and_says_so(graph, photo, tmp_path, monkeypatch):
    first = run("restore", photo, "-o", tmp_path / "a.png", "--model", graph)
    assert first.exit_code == 0, first.output
    assert first.stderr.count(f"importing {graph} into the cache (once)") == 1
    monkeypatch.setattr(foreign, "_run_apart", lambda path: pytest.fail("probed again"))
    graph = graph.rename(tmp_path / "other.onnx")  # known by its content
    for words in (
        ("restore", photo, "-o", tmp_path / "b.png", "--model", graph),
        ("models", "import", graph),
    ):
        again = run(*words)
        assert again.exit_code == 0
        assert "importing" not in again.stderr
    assert [model.name for model in cached_models()[0]] == ["net"]
    assert "there is a model of that name" in problem(
        run("models", "import", graph, "--name", "net", "--task", "inpainting")
    )


def test_a_name_goes_before_a_file(photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / DEFAULT_MODEL).write_bytes(b"not weights")
    options, model = weights.resolve_model(RestoreOptions())
    assert options.model == model.name == DEFAULT_MODEL


@pytest.mark.parametrize("task", ["colorization", "inpainting"])
def test_restore_refuses_another_task(graph, photo, tmp_path, task):
    got = run("models", "import", graph, "--task", task)
    assert got.exit_code == 0
    command = {"colorization": "colorize PHOTO", "inpainting": "inpaint PHOTO --mask MASK"}[task]
    assert f"use it: facemend {command} --model net" in got.stdout
    for model in ("net", graph):
        line = problem(run("restore", photo, "-o", tmp_path / "a.png", "--model", model))
        assert line.startswith(f"facemend: net: is for {task}, and a model for restoration is needed")
    assert not (tmp_path / "a.png").exists()


def test_a_fixed_w_is_said(whole_graph, photo, tmp_path):
    file = whole_graph(tmp_path / "fixed.onnx", w=None)
    done = run("restore", photo, "-o", tmp_path / "a.png", "--model", file, "-w", "0.2")
    assert done.exit_code == 0, done.output
    assert "fixed: -w has no effect, it is fixed inside this model" in done.stderr
    assert "w is fixed" in run("models").stdout


def test_a_broken_model_in_the_cache_is_told(graph):
    run("models", "import", graph)
    (models_dir() / "net/model.json").write_text("{")
    listed = run("models")
    assert listed.exit_code == 0
    assert "model.json: not valid JSON" in listed.stderr


@pytest.mark.parametrize("package", ["torch", "onnx", "onnxscript", "safetensors"])
def test_torch_files_need_the_extra(tmp_path, monkeypatch, package, photo, cache):
    (tmp_path / "net.pth").write_bytes(b"PK\x03\x04")
    monkeypatch.setitem(sys.modules, package, None)
    for words in (
        ("models", "import", tmp_path / "net.pth"),
        ("restore", photo, "--model", tmp_path / "net.pth"),
        ("models", "get", "--url", "http://h/net.pth", "--sha256", "0" * 64, "--licence", "x"),
        ("models", "get", "codeformer", "--accept-licence"),
    ):
        assert install_line("export") in problem(run(*words))
    assert left_over(cache) == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("net.pth", b"PK\x03\x04 and no more", "damaged or cut off"),
        ("net.pth", b"\x80\x02}q\x00.", "a plain pickle"),
        ("net.safetensors", b"\x02" + bytes(7) + b"{}", "holds no table of tensors"),
        ("net.onnx", b"\x08\x09", "damaged or no ONNX file"),
        ("net.onnx", b"<html>", "not a whole"),
    ],
)
def test_bad_files_are_one_line_and_leave_nothing(tmp_path, cache, photo, name, content, message):
    file = tmp_path / name
    file.write_bytes(content)
    for words in (("models", "import", file), ("restore", photo, "--model", file)):
        line = problem(run(*words))
        assert line.startswith(f"facemend: {file}: ")
        assert message in line
    assert left_over(cache) == []


@pytest.mark.parametrize(
    "words",
    [
        ("import", "x.onnx", "--task", "enhance"),
        ("import", "x.onnx", "--precision", "int8"),
        ("get",),
        ("get", "codeformer", "--url", "http://h/x"),
        ("get", "--url", "http://h/x"),
        ("get", "--url", "http://h/x", "--sha256", "0" * 64),
        ("get", "--sha256", "0" * 64, "--licence", "x"),
        ("import",),
        ("remove",),
    ],
)
def test_wrong_usage(words):
    assert run("models", *words).exit_code == 2


class Server(ThreadingHTTPServer):
    """Serves one file, cut off after `cut` bytes."""

    daemon_threads = True

    def __init__(self, body):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.cut, self.asked = body, None, []

    def url(self, path):
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body[: self.server.cut])

    def log_message(self, *args):
        """Be silent."""


@pytest.fixture
def server(graph):
    with Server(graph.read_bytes()) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def toy(server, monkeypatch):
    """A catalogue with that file."""
    digest = hashlib.sha256(server.body).hexdigest()
    item = Published(
        "toy",
        server.url("/v1/net.onnx"),
        len(server.body),
        digest,
        "Toy licence",
        "https://l",
        "restoration",
        "a toy",
    )
    monkeypatch.setattr("facemend.weights.catalog.PUBLISHED", {"toy": item})
    monkeypatch.setattr("facemend.weights.models.PUBLISHED", {"toy": item})
    return item


def test_a_model_of_the_catalogue_that_is_not_here_can_be_got(toy, photo):
    line = problem(run("restore", photo, "--model", "toy"))
    assert line == "facemend: toy: not here yet; fetch it with `facemend models get toy`"


def test_get_asks_for_the_licence_once(toy, server, cache):
    assert "toy: read its licence (https://" in problem(run("models", "get", "toy"))
    assert server.asked == []
    got = run("models", "get", "toy", "--accept-licence")
    assert got.exit_code == 0, got.output
    assert "licence: Toy licence, https://l" in got.stderr
    assert "toy: a toy" in got.stdout
    assert "Toy licence" in run("models").stdout
    assert left_over(cache) == ["accepted_licences.json", "models/toy/model.json", "models/toy/model.onnx"]
    assert server.asked == ["/v1/net.onnx"]
    # What is there is not fetched again, and what was accepted is not asked again.
    assert run("models", "get", "toy").exit_code == 0
    assert server.asked == ["/v1/net.onnx"]
    run("models", "remove", "toy")
    again = run("models", "get", "toy")
    assert again.exit_code == 0, again.output
    assert "licence:" not in again.stderr


@pytest.mark.parametrize(("answer", "accepted"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_a_person_is_asked(toy, monkeypatch, answer, accepted):
    monkeypatch.setattr(weights, "_at_terminal", lambda: True)
    got = run("models", "get", "toy", answer=answer)
    assert "Do you accept this licence?" in got.stderr
    assert licence_accepted(toy) == accepted
    if accepted:
        assert got.exit_code == 0
    else:
        assert got.exit_code == 1
        assert "facemend: toy: its licence was not accepted, so it is not used" in got.stderr


def test_a_file_of_the_catalogue_has_its_licence(toy, graph, photo, tmp_path):
    """Also where the user has brought it."""
    assert "read its licence" in problem(run("models", "import", graph))
    assert "read its licence" in problem(run("restore", photo, "-o", tmp_path / "a.png", "--model", graph))
    accept_licence(toy)
    assert run("models", "import", graph).exit_code == 0
    assert [(model.name, model.licence) for model in cached_models()[0]] == [("net", "Toy licence")]
    got = run("models", "get", "toy")  # here already, by another name
    assert got.exit_code == 0
    assert "net: a toy" in got.stdout


def test_import_from_python(toy, graph, cache):
    with pytest.raises(
        ConfigError, match=r"toy: read its licence \(Toy licence, https://l\); accept_licence=True"
    ):
        facemend.import_weights(graph)
    assert left_over(cache) == []
    for wrong in ({"task": "enhance"}, {"precision": "int8"}):
        with pytest.raises(ConfigError, match="is"):
            facemend.import_weights(graph, **wrong)
    model = facemend.import_weights(str(graph), name="mine", task="inpainting", accept_licence=True)
    assert (model.name, model.task, model.licence) == ("mine", "inpainting", "Toy licence")
    assert facemend.import_weights(graph) == model  # known by its content; the licence is accepted
    assert licence_accepted(toy)


def test_get_from_a_mirror(toy, server, monkeypatch, cache):
    monkeypatch.setenv("FACEMEND_MIRROR", server.url("/mirror/of/weights/"))
    accept_licence(toy)
    assert run("models", "get", "toy").exit_code == 0
    assert server.asked == ["/mirror/of/weights/net.onnx"]
    assert run("models", "remove", "toy").exit_code == 0
    server.body = server.body[:-1] + b"x"
    assert "it is not used" in problem(run("models", "get", "toy"))
    assert left_over(cache) == ["accepted_licences.json"]


def test_offline(toy, server, monkeypatch):
    accept_licence(toy)
    for words, offline in ((("--offline",), ""), ((), "1")):
        monkeypatch.setenv("FACEMEND_OFFLINE", offline)
        assert "not in the cache, and this is offline" in problem(run("models", "get", "toy", *words))
    assert server.asked == []
    monkeypatch.delenv("FACEMEND_OFFLINE")
    assert run("models", "get", "toy").exit_code == 0
    assert run("models", "get", "toy", "--offline").exit_code == 0


def test_get_from_an_address(server, cache):
    words = ["models", "get", "--url", server.url("/net.onnx?token=secret"), "--licence", "CC0-1.0"]
    digest = hashlib.sha256(server.body).hexdigest()
    server.cut = 100
    line = problem(run(*words, "--sha256", digest))
    assert "cut off after 100 of" in line
    assert "secret" not in line
    assert [path.rpartition("/")[2] for path in left_over(cache)] == ["net.onnx.part", "net.onnx.part.json"]
    server.cut = None
    got = run(*words, "--sha256", digest.upper())
    assert got.exit_code == 0, got.output
    assert left_over(cache) == KEPT
    assert not (cache / "downloads" / digest).exists()
    assert cached_models()[0][0].licence == "CC0-1.0"
    for bad in ("http://h:x/", "file:///etc/passwd", "net.onnx"):
        problem(run("models", "get", "--url", bad, "--sha256", digest, "--licence", "x"))
    assert "not a sha256" in problem(run(*words, "--sha256", "12"))


def test_a_download_that_is_no_model_is_not_kept(server, cache):
    server.body = b"\x08\x09 no graph"
    digest = hashlib.sha256(server.body).hexdigest()
    line = problem(
        run("models", "get", "--url", server.url("/x.onnx"), "--sha256", digest, "--licence", "CC0-1.0")
    )
    assert "x.onnx: damaged or no ONNX file" in line
    assert left_over(cache) == []


def test_a_taken_name_is_refused_before_the_download(graph, server, cache, tmp_path, whole_graph):
    run("models", "import", whole_graph(tmp_path / "mine.onnx", factor=0.4))
    digest = hashlib.sha256(server.body).hexdigest()
    words = ["models", "get", "--url", server.url("/net.onnx"), "--sha256", digest, "--licence", "x"]
    assert "there is a model of that name" in problem(run(*words, "--name", "mine"))
    assert server.asked == []


def test_options_that_would_change_nothing_are_refused(graph, cache):
    assert "precision goes with weights" in problem(run("models", "import", graph, "--precision", "fp16"))
    assert "licence must not be empty" in problem(run("models", "import", graph, "--licence", " "))
    assert left_over(cache) == []
    assert run("models", "import", graph).exit_code == 0
    again = problem(run("models", "import", graph, "--licence", "CC0-1.0"))
    assert "net: is" in again
    assert "already, with the licence not stated; remove it first (`facemend models remove net`)" in again
    assert run("models", "import", graph, "--licence", "not stated").exit_code == 0
    assert "precision goes with weights" in problem(run("models", "import", graph, "--precision", "fp16"))


def test_two_first_uses_at_once(graph, monkeypatch):
    """The other process is quicker: its model is taken."""
    original = imports._import

    def fails(*arguments):
        raise OutputError("net: cannot be written (Directory not empty)")

    def late(*arguments):
        original(*arguments)
        fails()

    monkeypatch.setattr(imports, "_import", late)
    assert weights.import_file(graph).name == "net"
    monkeypatch.setattr(imports, "_import", fails)
    other = graph.with_name("net2.onnx")
    other.write_bytes(graph.read_bytes())
    with pytest.raises(OutputError, match="cannot be written"):
        weights.import_file(other, name="mine")


def test_a_source_that_is_no_table(cache):
    folder = cache / "models/odd"
    shutil.copytree(find_model(DEFAULT_MODEL).folder, folder)
    said = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**said, "name": "odd", "source": "a web address"}))
    assert run("models").exit_code == 0


def test_paths_that_cannot_be_looked_at(photo, tmp_path):
    assert "no model" in problem(run("restore", photo, "-o", tmp_path / "a.png", "--model", "a" * 300))
