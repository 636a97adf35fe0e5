import re
from dataclasses import fields, replace

import pytest

from facemend.cli.serve import app
from facemend.errors import ConfigError
from facemend.server.settings import PREFIX, ServerSettings


def test_the_environment_says_the_same_as_the_fields():
    settings = ServerSettings(
        host="::1",
        port=1,
        names="a.example, B.example",
        workers=3,
        token="a-b" * 6,
        store="/x",
        keep=0.5,
        lease_seconds=2.5,
        device="cpu",
    )
    assert ServerSettings.from_env(settings.to_env()) == settings
    assert set(settings.to_env()) == {PREFIX + field.name.upper() for field in fields(ServerSettings)}


def test_what_is_not_set_has_its_default():
    assert ServerSettings.from_env({}) == ServerSettings()
    assert ServerSettings.from_env({"FACEMEND_PORT": "", "HOME": "/x"}) == ServerSettings()
    assert ServerSettings.from_env({"FACEMEND_QUEUE": "7"}) == ServerSettings(queue=7)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("PORT", "tcp://10.0.0.1:80", "FACEMEND_PORT must be a whole number"),
        ("KEEP", "an hour", "FACEMEND_KEEP must be a number"),
        ("PORT", "70000", "port must be from 0 to 65535"),
        ("WORKERS", "0", "workers must be from 1 to 64"),
        ("KEEP", "nan", "keep must be from"),
        ("DEVICE", "toaster", "device must be one of"),
        ("TOKEN", "fifteen-letters", "token must have at least 16 characters"),
        ("LOG_FORMAT", "xml", "log_format must be one of text, json"),
        ("TOKEN", "with space", "token must be printable ASCII"),
        ("TOKEN", "schlüssel", "token must be printable ASCII"),
        ("NAMES", "http://x.org", "names are bare host names"),
        ("NAMES", "a.org,x.org:80", "bare host names such as photos.example.org, got 'x.org:80'"),
        ("NAMES", "*.x.org", "names are bare host names"),
    ],
)
def test_wrong_values_are_named(name, text, message):
    with pytest.raises(ConfigError, match=message):
        ServerSettings.from_env({PREFIX + name: text})


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.4", False),
        ("example.org", False),
    ],
)
def test_which_addresses_only_this_machine_reaches(host, local):
    assert ServerSettings(host=host).is_local is local


def test_threads_are_split_between_the_workers(monkeypatch):
    monkeypatch.setattr("facemend.server.settings.usable_cores", lambda: 8)
    assert ServerSettings().thread_count() == 8
    assert ServerSettings(workers=3).thread_count() == 2
    assert ServerSettings(workers=20).thread_count() == 1
    assert ServerSettings(workers=3, threads=5).thread_count() == 5


def test_a_server_needs_a_store():
    with pytest.raises(ConfigError, match="FACEMEND_STORE"):
        ServerSettings().folder()
    assert replace(ServerSettings(), store="x").folder().name == "x"


def test_the_token_of_the_command_s_example_is_taken():
    (command,) = app.registered_commands
    token = re.search(r"FACEMEND_TOKEN=(\S+)", command.epilog)[1]
    assert ServerSettings(token=token).token == token
