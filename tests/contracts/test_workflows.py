"""The workflows hold no logic of their own, and nobody else can change what they run."""

import os
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
JOBS = [
    pytest.param(job, id=f"{path.stem}-{name}")
    for path in WORKFLOWS
    for name, job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].items()
]


def test_there_are_workflows():
    assert {path.stem for path in WORKFLOWS} == {"checks", "nightly", "release"}


def scripts_of(job):
    """Names of the scripts that the steps of a job run; a step is one line."""
    for step in job.get("steps", []):
        line = step.get("run", "gh release create")
        called = re.fullmatch(
            r"(?:[A-Z]+=\S+ )*(?:scripts/(\$\{\{ matrix\.script \}\}|\S+)|gh release create).*", line
        )
        assert called, line
        if called[1]:
            yield from job["strategy"]["matrix"]["script"] if "matrix" in called[1] else [called[1]]


def test_every_check_is_run_and_nothing_else():
    files = (path for path in (ROOT / "scripts").iterdir() if path.is_file() and not path.suffix)
    scripts = {path.name for path in files if os.access(path, os.X_OK)}
    called = {script for job in JOBS for script in scripts_of(job.values[0])}
    of_people = {"demo", "install", "lock", "train_default"}
    assert called == scripts - of_people - {"check", "environment", "uv"}  # the last are run by others


@pytest.mark.parametrize("job", JOBS)
def test_a_job_ends_and_takes_actions_by_their_hash(job):
    local = job.get("uses", "").startswith("./")
    assert local or job["timeout-minutes"] <= 300
    for step in job.get("steps", []):
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step.get("uses", f"a/b@{0:040}")), step


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_secret_and_hardly_a_right(path):
    text = path.read_text(encoding="utf-8")
    assert "secrets." not in text
    rights = yaml.safe_load(text)["permissions"]
    assert rights in ({}, {"contents": "read"})
    written = re.findall(r"^ +([\w-]+): write", text, re.MULTILINE)
    assert written == (["id-token", "contents"] if path.stem == "release" else [])


def test_workflows_that_are_called_do_not_wait_for_their_caller():
    called = [path for path in WORKFLOWS if "workflow_call" in path.read_text(encoding="utf-8")]
    assert called
    assert all(
        "github.workflow" not in str(yaml.safe_load(path.read_text(encoding="utf-8"))["concurrency"])
        for path in called
    )
