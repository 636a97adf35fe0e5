import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from facemend.errors import ConfigError, WeightsError
from facemend.metrics import plugins as room
from facemend.metrics.plugins import extra_metrics, musiq_metric, plugin_metrics

CODE = """
from facemend.metrics.table import Metric

BRIGHTNESS = Metric(
    "Brightness", lambda pictures: pictures.mean((1, 2, 3)), higher_is_better=True,
    explain="How bright it is. For tests.", range="0 to 1", reference=False,
)
NUMBER = 3
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Function that puts a package with entry points on the path, as pip lays it out."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "brightness_for_tests.py").write_text(CODE)

    def put(package: str, points: str) -> None:
        folder = tmp_path / f"{package.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[{room.GROUP}]\n{points}\n")

    yield put
    sys.modules.pop("brightness_for_tests", None)


@pytest.fixture(autouse=True)
def _fresh():
    room._musiq_net.cache_clear()
    yield
    room._musiq_net.cache_clear()


def test_a_plug_in_is_found_and_measures(install):
    install("bright-metrics", "brightness = brightness_for_tests:BRIGHTNESS")
    found = extra_metrics(["brightness", "brightness"])
    assert list(found) == ["brightness"]
    values = found["brightness"](torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)]))
    assert values.tolist() == [0, 1]
    assert plugin_metrics()["brightness"] is found["brightness"]


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ("brightness = brightness_for_tests:NUMBER", r"bright-metrics: .*'brightness' is a int, not a"),
        ("brightness = brightness_for_tests:GONE", r"bright-metrics: .*cannot be loaded \(.*GONE"),
        ("brightness = no_such_module_for_tests:X", r"bright-metrics: .*cannot be loaded"),
        (
            "lpips = brightness_for_tests:BRIGHTNESS",
            r"bright-metrics: .*'lpips' has the name of one of facemend",
        ),
        (
            "musiq = brightness_for_tests:BRIGHTNESS",
            r"bright-metrics: .*'musiq' has the name of one of facemend",
        ),
    ],
)
def test_unusable_plug_ins_are_named(install, points, message):
    install("bright-metrics", points)
    with pytest.raises(ConfigError, match=message) as caught:
        extra_metrics(["brightness"])
    assert "\n" not in str(caught.value)
    assert extra_metrics([]) == {}  # a run that asks for nothing further is not stopped


def test_two_plug_ins_of_one_name_are_refused(install):
    install("bright-metrics", "brightness = brightness_for_tests:BRIGHTNESS")
    install("other-metrics", "brightness = brightness_for_tests:BRIGHTNESS")
    with pytest.raises(ConfigError, match=r"(bright|other)-metrics: .*one of (bright|other)-metrics"):
        plugin_metrics()


def test_unknown_names_get_the_list(install):
    install("bright-metrics", "brightness = brightness_for_tests:BRIGHTNESS")
    with pytest.raises(ConfigError, match=r"beauty: .*there are: musiq, brightness"):
        extra_metrics(["beauty"])
    with pytest.raises(ConfigError, match=r"psnr: .*facemend's own"):
        extra_metrics(["psnr"])


def stand_in(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A module in place of pyiqa: its network gives 100 times the mean, (1, 1), for one picture at a time."""
    made: list[Any] = []

    class Net:
        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            assert x.dtype == torch.float32
            assert len(x) == 1
            return 100 * x.requires_grad_().mean((1, 2, 3))[:, None]

    def create_metric(name: str, *, device: torch.device) -> Net:
        made.append((name, device))
        return Net()

    module = ModuleType("pyiqa")
    module.create_metric = create_metric  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyiqa", module)
    return made


def test_musiq_calls_its_package_once_per_device(monkeypatch):
    made = stand_in(monkeypatch)
    metric = extra_metrics(["musiq"])["musiq"]
    assert metric.higher_is_better
    assert not metric.reference
    assert metric.range == "0 to 100"
    assert made == []  # nothing is loaded before it is needed
    pictures = torch.stack([torch.full((3, 40, 40), value) for value in (0.25, 0.5)])
    values = metric(pictures)
    assert values.tolist() == [25, 50]
    assert values.dtype == torch.float64
    assert not values.requires_grad
    metric(pictures[:1])
    assert made == [("musiq", torch.device("cpu"))]
    with pytest.raises(ValueError, match="takes no original"):
        metric(pictures, pictures)
    with pytest.raises(ValueError, match="metrics take"):
        metric(pictures[0])


def test_musiq_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(ConfigError, match=r"pip install pyiqa .*PolyForm Noncommercial"):
        musiq_metric()


def test_musiq_weights_that_cannot_be_loaded_are_one_line(monkeypatch):
    stand_in(monkeypatch)

    def offline(name: str, **options: object) -> None:
        raise OSError("no\nnetwork")

    monkeypatch.setattr(sys.modules["pyiqa"], "create_metric", offline)
    with pytest.raises(WeightsError, match=r"musiq: pyiqa cannot load its network \(no network\)"):
        musiq_metric()(torch.zeros(1, 3, 40, 40))
