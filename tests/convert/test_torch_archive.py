"""Torch files that torch has not written, and tensors that claim more than there is."""

import struct
import zipfile
from pathlib import Path

import pytest
import torch

from facemend.convert import torch_archive
from facemend.convert.published_layout import read_official
from facemend.convert.torch_archive import check_archive
from facemend.errors import WeightsError


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net.pth"
    torch.save({"params_ema": {"a": torch.rand(50, 40), "b": torch.rand(7)}}, path)
    return path


def refuse(path, match):
    for check in (check_archive, read_official):
        with pytest.raises(WeightsError, match=match) as caught:
            check(path)
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(f"{path}: ")


def entries(path):
    with zipfile.ZipFile(path) as archive:
        return {entry.filename: entry for entry in archive.infolist()}


def patched(path: Path, name: str, offset: int, value: int, size: str = "<I") -> None:
    """Change a number in the entry's row of the list at the end of the archive."""
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    while data[at + 46 : at + 46 + len(name)] != name.encode():
        at = data.index(b"PK\x01\x02", at + 4)
    struct.pack_into(size, data, at + offset, value)
    path.write_bytes(data)


def test_what_torch_writes_passes(file):
    check_archive(file)


def test_compressed(tmp_path):
    """A bomb: a thousandth of its contents on the disk."""
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data.pkl", bytes(10 << 20))
    assert path.stat().st_size < 20_000
    refuse(path, "a compressed archive, not a weight file")


def test_declared_sizes(file):
    patched(file, "net/data/0", 24, 0x7FFFFFFF)  # the size once unpacked
    refuse(file, "sizes in it are not true")
    patched(file, "net/data/0", 20, 0x7FFFFFFF)  # and the size as stored
    refuse(file, "files in it overlap")


def test_overlapping_entries(file):
    patched(file, "net/data/1", 42, entries(file)["net/data/0"].header_offset)
    refuse(file, "files in it overlap|damaged")


def test_the_same_name_twice(tmp_path):
    with zipfile.ZipFile(tmp_path / "net.pth", "w") as archive:
        archive.writestr("net/data.pkl", b"x")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("net/data.pkl", b"y")
    refuse(tmp_path / "net.pth", "overlap")


def test_many_entries(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "net.pth", "w") as archive:
        for number in range(101):
            archive.writestr(f"net/{number}", b"")
    refuse(tmp_path / "net.pth", "no table of contents")
    monkeypatch.setattr(torch_archive, "MAX_ENTRIES", 100)
    refuse(tmp_path / "net.pth", "more than 100 files in it")


def test_a_giant_table_of_contents(file, monkeypatch):
    monkeypatch.setattr(torch_archive, "MAX_PICKLE", 10)
    refuse(file, "table of contents is too large")


def test_other_archives(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a.jpg", b"x")
    refuse(tmp_path / "photos.zip", r"no table of contents \(data.pkl\)")


def test_shapes_larger_than_the_file(tmp_path):
    """Two numbers, seen as a picture of 10^12."""
    path = tmp_path / "net.pth"
    torch.save({"params_ema": {"a": torch.zeros(2).as_strided((10**6, 10**6), (0, 0))}}, path)
    assert path.stat().st_size < 2000
    with pytest.raises(
        WeightsError, match=r"net\.pth: refused: its tensors claim more numbers than the file holds"
    ):
        read_official(path)


def test_one_storage_under_many_names(tmp_path):
    shared = torch.rand(1000)
    torch.save({f"t{number}": shared for number in range(1000)}, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="claim more numbers than the file holds"):
        read_official(tmp_path / "net.pth")


@pytest.mark.parametrize("what", [(b"K\x07tq",), (b"K\x07\x85",), (b"K\x07tq", b"K\x07\x85")])
def test_a_table_of_contents_that_claims_more(file, tmp_path, what):
    """It gives the storage of b, its shape, or both, 2^30 numbers instead of 7."""
    with zipfile.ZipFile(file) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    table = contents["net/data.pkl"]
    for seven in what:
        assert table.count(seven) == 1
        table = table.replace(seven, b"J\0\0\0\x40" + seven[2:])
    path = tmp_path / "lies.pth"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**contents, "net/data.pkl": table}.items():
            archive.writestr(name, content)
    if what != (b"K\x07tq",):
        with pytest.raises(WeightsError, match=r"lies\.pth: refused: "):
            read_official(path)
        return
    # The storage alone is cut to what the file has, so that nothing beyond it can be read.
    state = read_official(path)
    assert state["b"].shape == (7,)
    assert state["b"].untyped_storage().nbytes() <= path.stat().st_size


class Room:
    """Unpickled, it makes room for many bytes of nothing; torch lets it pass."""

    def __reduce__(self):
        return bytearray, (1 << 40,)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_table_of_contents_that_makes_room(tmp_path, protocol):
    path = tmp_path / "bomb.pth"
    torch.save({"params_ema": {"a": Room()}}, path, pickle_protocol=protocol)
    assert path.stat().st_size < 2000
    refuse(path, "its table of contents names")


def test_kinds_of_numbers_pass(tmp_path):
    path = tmp_path / "net.pth"
    kinds = (torch.float16, torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool)
    tensors = {str(kind): torch.ones(3, dtype=kind) for kind in kinds}
    torch.save(
        {**tensors, "p": torch.nn.Parameter(torch.ones(2)), "size": torch.Size([1]), "kinds": kinds}, path
    )
    check_archive(path)


def test_a_damaged_table_of_contents(tmp_path):
    path = tmp_path / "bad.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", b"\x80\x02}q\x00X\xff\xff\xff\x7f")
    refuse(path, "damaged")
