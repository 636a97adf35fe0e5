"""What the messages and the docs tell to type works in the way facemend was installed."""

import json
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from facemend.errors import MissingExtraError, install_line

ROOT = Path(__file__).parents[2]


@pytest.fixture
def installed(monkeypatch):
    """Makes up where facemend was installed from; None: an index."""

    class Installed:
        requires = (
            "numpy>=2.0",
            "av>=18; extra == 'video'",
            'fastapi>=0.163; extra == "serve"',
            "x ; extra == 'serve'",
        )

        def __init__(self, origin):
            self.origin = origin

        def read_text(self, name):
            return json.dumps(self.origin) if name == "direct_url.json" and self.origin else None

    def pretend(origin):
        monkeypatch.setattr(metadata, "distribution", lambda name: Installed(origin))

    return pretend


def test_from_an_index_or_without_metadata(installed, monkeypatch):
    installed(None)
    assert install_line("serve") == 'pip install "facemend[serve]"'
    assert str(MissingExtraError("x", "serve")) == 'x needs extra packages: pip install "facemend[serve]"'

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    assert install_line("serve") == 'pip install "facemend[serve]"'


@pytest.mark.parametrize(
    ("info", "option"),
    [
        ({"dir_info": {"editable": True}}, "-e "),
        ({"dir_info": {}}, ""),
        ({"dir_info": {"editable": False}}, ""),
        ({"archive_info": {"hashes": {}}}, ""),
    ],
    ids=["editable", "folder", "not editable", "wheel"],
)
def test_from_a_folder_or_a_wheel(installed, tmp_path, info, option):
    path = tmp_path / ("facemend-0.1.0-py3-none-any.whl" if "archive_info" in info else "a clone")
    path.mkdir()
    installed({"url": path.as_uri(), **info})
    assert install_line("serve") == f'pip install {option}"{path}[serve]"'
    path.rmdir()  # then the packages of the extra are named
    assert install_line("serve") == 'pip install "fastapi>=0.163" "x"'


@pytest.mark.parametrize(
    ("origin", "where"),
    [
        ({"url": "https://h/f-1.whl", "archive_info": {}}, "https://h/f-1.whl"),
        (
            {"url": "https://h/f.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            "git+https://h/f.git@abc",
        ),
        (
            {"url": "file:///h/f", "vcs_info": {"vcs": "git", "commit_id": "abc"}, "subdirectory": "s"},
            "git+file:///h/f@abc#subdirectory=s",
        ),
    ],
)
def test_from_an_address(installed, origin, where):
    installed(origin)
    assert install_line("video") == f'pip install "facemend[video] @ {where}"'


def test_install_lines_of_the_docs_work_in_a_clone():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    lines = 0
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for named in re.findall(r"pip install\s+(?:-e )?([^\s`&]*)", page.read_text(encoding="utf-8")):
            if "facemend" in named or "." in named[:2]:
                known = re.fullmatch(
                    r'\.|"(?:\.|facemend-[\w.-]+\.whl)\[([\w,]+)\]"|facemend-[\w.-]+\.whl', named
                )
                assert known, f"{page.name}: {named}"
                assert set((known[1] or "serve").split(",")) <= extras.keys(), f"{page.name}: {named}"
                lines += 1
    assert lines > 5


def test_everything_named_has_a_lowest_version():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, groups = pyproject["project"], pyproject["dependency-groups"]
    lists = [project["dependencies"], *project["optional-dependencies"].values(), *groups.values()]
    named = [line for lines in lists for line in lines if isinstance(line, str)]  # the rest are other groups
    (everything,) = (line for line in named if line.startswith("facemend["))  # extra "all"
    converters = {"litert", "coreml"}  # they bring frameworks of their own
    assert set(everything[9:-1].split(",")) | {"all"} | converters == project["optional-dependencies"].keys()
    named.remove(everything)
    assert [line for line in named if not re.match(r"[\w\[\]-]+>=\d", line)] == []
    assert len(named) > 30
