import numpy as np
import pytest

from facemend.errors import ConfigError
from facemend.photo.options import RestoreOptions, make_options


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("w", -0.01),
        ("w", 1.01),
        ("w", float("nan")),
        ("w", "0.5"),
        ("w", True),
        ("upscale", 3),
        ("upscale", 2.0),
        ("upscale", 0),
        ("upscale", "2"),
        ("strength", -1),
        ("strength", 2),
        ("strength", float("nan")),
        ("background", "cleaned"),
        ("grain", True),
        ("faces", "every"),
        ("faces", ()),
        ("faces", (1, -1)),
        ("faces", (0.5,)),
        ("aligned", 1),
        ("model", ""),
        ("threads", -1),
        ("min_face", -1),
        ("max_faces", 0),
        ("max_pixels", -1),
    ],
)
def test_wrong_values_are_named(name, value):
    with pytest.raises(ConfigError, match=f"^{name} must be"):
        RestoreOptions(**{name: value})


def test_right_values_pass():
    options = RestoreOptions(w=np.float32(0.25), upscale=4, faces="center", threads=2)
    assert options.w == 0.25
    for value in (0, 1):
        assert RestoreOptions(w=value).w == value


def test_unknown_names_are_rejected_with_a_hint():
    with pytest.raises(ConfigError, match="did you mean 'upscale'"):
        make_options(None, {"upscal": 2})
    with pytest.raises(ConfigError, match=r"unknown option 'weight'; there are: w, "):
        make_options(None, {"weight": 0.5})


def test_settings_win_over_options():
    base = RestoreOptions(w=0.1, upscale=2)
    assert make_options(base, {"w": 0.9}) == RestoreOptions(w=0.9, upscale=2)
    assert make_options(None, {}) == RestoreOptions()
