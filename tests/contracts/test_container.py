"""What makes the image small, repeatable and harmless; the compose file keeps what it promises."""

import re
from pathlib import Path

import pytest
import yaml

from facemend.server.settings import ServerSettings

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
STEPS = re.findall(
    r"^([A-Z]+) (.*)", re.sub(r"^#.*\n", "", DOCKERFILE.replace("\\\n", ""), flags=re.MULTILINE), re.MULTILINE
)
LAST = STEPS[max(number for number, (step, _) in enumerate(STEPS) if step == "FROM") :]
SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]


def test_the_base_is_a_release_of_a_release():
    bases = {words.split()[0] for step, words in STEPS if step == "FROM"}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+-slim-[a-z]+", bases.pop())


def test_the_image_runs_as_nobody_and_says_whether_it_is_well():
    steps = dict(LAST)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", steps["USER"])
    assert "/api/health" in steps["HEALTHCHECK"]
    assert steps["ENTRYPOINT"] == '["facemend"]'


def test_nothing_is_fetched_but_what_the_lock_names():
    assert "ADD" not in {step for step, _ in STEPS}
    runs = " ".join(words for step, words in STEPS if step == "RUN")
    assert not re.search(r"\b(pip|curl|wget|apt-get|sudo)\b", runs)
    assert "scripts/environment" in runs


def test_the_context_holds_only_what_is_named():
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    missing = [line for line in lines if line.startswith("!") and not (ROOT / line[1:]).exists()]
    assert missing == []


@pytest.mark.parametrize("name", ["facemend", "proxy"])
def test_a_service_writes_only_where_it_must(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert not re.search(r":latest$|^[^:]+$", service.get("image", "of:ours"))


def test_only_the_proxy_can_be_reached():
    assert "ports" not in SERVICES["facemend"]
    assert SERVICES["facemend"]["networks"] == ["inside"]


def test_the_settings_of_compose_are_the_servers():
    told = dict(SERVICES["facemend"]["environment"])
    told["FACEMEND_NAMES"] = re.fullmatch(r"\$\{SITE:-(.+)\}", told["FACEMEND_NAMES"])[1]
    changed = ServerSettings.from_env({**told, "FACEMEND_TOKEN": "t" * 16}).to_env()
    ours = {name: value for name, value in told.items() if name.startswith("FACEMEND_")}
    assert ours.items() <= {**changed, "FACEMEND_TOKEN": ours["FACEMEND_TOKEN"]}.items()
    assert changed["FACEMEND_CLIENT_CONNECTIONS"] == "512"


def test_the_proxy_lets_the_largest_upload_through():
    limit = re.search(r"max_size (\d+)MB", (ROOT / "Caddyfile").read_text(encoding="utf-8"))
    settings = ServerSettings()
    assert int(limit[1]) > max(settings.film_mb, settings.max_mb)
