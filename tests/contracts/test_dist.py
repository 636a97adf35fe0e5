"""scripts/check_dist.py finds what is missing or too much in a release, and a tag that does not fit."""

import importlib.util
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = ["LICENSE", "NOTICE", "README.md", "tests/test_a.py", "src/facemend/__init__.py"]
FILES += ["src/facemend/assets/licenses/Apache-2.0.txt", "src/facemend/assets/models/a.onnx"]


@pytest.fixture
def check_dist(monkeypatch, tmp_path):
    """The script, in a folder whose dist/ holds a good release of version 1.0."""
    spec = importlib.util.spec_from_file_location("check_dist", ROOT / "scripts/check_dist.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(script, "tracked", lambda: FILES)
    monkeypatch.setattr(script.sys, "argv", ["check_dist.py"])
    monkeypatch.setitem(script.PROJECT["project"], "version", "1.0")
    (tmp_path / "dist").mkdir()
    (tmp_path / "CHANGELOG.md").write_text("## [1.0] - 2026-12-01\n")
    put(script, tmp_path / "dist")
    return script


def put(script, dist, *, without="", extra=()):
    with zipfile.ZipFile(dist / "facemend-1.0-py3-none-any.whl", "w") as wheel:
        for name in {*script.wanted_wheel(FILES, "facemend-1.0.dist-info"), *extra}:
            if not name.endswith(without or "?"):
                wheel.writestr(name, "")
    with tarfile.open(dist / "facemend-1.0.tar.gz", "w:gz") as sdist:
        for name in script.wanted_sdist(FILES, "facemend-1.0"):
            sdist.addfile(tarfile.TarInfo(name))


def test_a_good_release_passes(check_dist, capsys, monkeypatch):
    monkeypatch.setattr(check_dist.sys, "argv", ["check_dist.py", "v1.0"])
    check_dist.main()
    assert "hold what they should" in capsys.readouterr().out
    assert "facemend/assets/models/a.onnx" in check_dist.wanted_wheel(FILES, "i")
    assert "i/licenses/src/facemend/assets/licenses/Apache-2.0.txt" in check_dist.wanted_wheel(FILES, "i")
    assert not any("tests" in name for name in check_dist.wanted_sdist(FILES, "t"))


@pytest.mark.parametrize("lost", ["models/a.onnx", "licenses/NOTICE", "entry_points.txt"])
def test_what_is_lost_is_named(check_dist, tmp_path, lost):
    put(check_dist, tmp_path / "dist", without=lost)
    with pytest.raises(SystemExit, match=f"whl lacks .*{lost}$"):
        check_dist.main()


@pytest.mark.parametrize("extra", ["facemend/weights/big.pth", "tests/test_a.py"])
def test_what_is_too_much_is_named(check_dist, tmp_path, extra):
    put(check_dist, tmp_path / "dist", extra=[extra])
    with pytest.raises(SystemExit, match=f"whl should not hold {extra}$"):
        check_dist.main()


def test_old_files_in_dist_are_named(check_dist, tmp_path):
    (tmp_path / "dist/facemend-0.9.tar.gz").touch()
    with pytest.raises(SystemExit, match=r"dist should not hold facemend-0\.9\.tar\.gz"):
        check_dist.main()


@pytest.mark.parametrize(("tag", "version"), [("v1.1", "1.0"), ("1.0", "1.0"), ("v1.0", "1x0")])
def test_a_tag_fits_version_and_changelog(check_dist, tag, version):
    wrong = check_dist.wrong_tag(tag, "1.0", f"## [{version}]\n")
    assert len(wrong) == 1
