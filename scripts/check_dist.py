#!/usr/bin/env python3
"""Check what dist/ holds: of the package all that git knows, and nothing else.

    python scripts/check_dist.py [TAG]

A tag must be "v" and the version, and CHANGELOG.md must have a section of that version.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LICENCES = ("LICENSE", "NOTICE", "src/facemend/assets/licenses/")


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name]


def wanted_wheel(files: Iterable[str], info: str) -> set[str]:
    """What a wheel must hold, its description in the folder `info`."""
    wanted = {f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt")}
    for name in files:
        if name.startswith("src/facemend/"):
            wanted.add(name.removeprefix("src/"))
        if name.startswith(LICENCES):
            wanted.add(f"{info}/licenses/{name}")
    return wanted


def wanted_sdist(files: Iterable[str], top: str) -> set[str]:
    """What an sdist must hold, all in the folder `top`."""
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    own = {name for name in files if any(f"/{name}/".startswith(f"{part}/") for part in included)}
    return {f"{top}/{name}" for name in own | {".gitignore", "pyproject.toml", "PKG-INFO"}}


def differences(where: str, held: set[str], wanted: set[str]) -> list[str]:
    return [
        *(f"{where} lacks {name}" for name in sorted(wanted - held)),
        *(f"{where} should not hold {name}" for name in sorted(held - wanted)),
    ]


def wrong_tag(tag: str, version: str, changelog: str) -> list[str]:
    wrong = [] if tag == f"v{version}" else [f"tag {tag} is not v{version}, the version of pyproject.toml"]
    if not re.search(rf"^## \[{re.escape(version)}\]", changelog, re.MULTILINE):
        wrong.append(f"CHANGELOG.md has no section [{version}]")
    return wrong


def main() -> None:
    version = PROJECT["project"]["version"]
    name = f"facemend-{version}"
    wheel, sdist = ROOT / f"dist/{name}-py3-none-any.whl", ROOT / f"dist/{name}.tar.gz"
    wrong = differences("dist", {path.name for path in ROOT.glob("dist/*")}, {wheel.name, sdist.name})
    if not wrong:
        files = tracked()
        with zipfile.ZipFile(wheel) as archive:
            wrong = differences(wheel.name, set(archive.namelist()), wanted_wheel(files, f"{name}.dist-info"))
        with tarfile.open(sdist) as archive:
            held = {member.name for member in archive if not member.isdir()}
        wrong += differences(sdist.name, held, wanted_sdist(files, name))
    for tag in sys.argv[1:]:
        wrong += wrong_tag(tag, version, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    if wrong:
        raise SystemExit("\n".join(wrong))
    print(f"{wheel.name} ({wheel.stat().st_size / 1e6:.1f} MB) and {sdist.name} hold what they should")


if __name__ == "__main__":
    main()
