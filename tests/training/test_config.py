"""Training settings: what is unknown or impossible is an error that names it."""

import re
from pathlib import Path

import pytest

from facemend.errors import ConfigError
from facemend.networks.codeformer.config import changed, preset
from facemend.training.config import Stage1Config, load_config

STAGE1 = """
stage = "stage1"
out = "runs/x"
[data]
folders = [{ path = "faces" }, { path = "more", weight = 0.5 }]
[[phases]]
steps = 10
size = 256
batch = 2
"""

STAGE3 = """
stage = "stage3"
out = "runs/x"
stage1 = "a.safetensors"
stage2 = "b.safetensors"
data = { folders = [{ path = "faces" }] }
[[phases]]
steps = 10
batch = 2
degradation = "mixed"
"""

PROJECTED = '[[adversary]]\nkind = "projected"\n'

CACHED = """
stage = "stage2"
out = "runs/x"
stage1 = "a.safetensors"
cache_codes = true
phases = [{ steps = 1, batch = 2, degradation = "medium" }]
[data]
folders = [{ path = "faces" }]
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "run.toml"
        path.write_text(text)
        return path

    return write


def test_values_and_defaults(write):
    config = load_config(write(STAGE1))
    assert isinstance(config, Stage1Config)
    assert config.network == "compact-256"
    assert [folder.weight for folder in config.data.folders] == [1.0, 0.5]
    assert config.phases[0].size == 256
    assert config.adversary[0].weight == 0.8
    assert load_config(write(STAGE3)).adversary[0].weight == 0.1
    assert load_config(write(STAGE3 + "w = [0.0, 0.0]\nimage_losses = false")).phases[0].w == (0.0, 0.0)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (STAGE1 + "[optim]\nlearning_rate = 1", r"optim\.learning_rate: there is no such setting"),
        ("sede = 1" + STAGE1, "sede: there is no such setting"),
        (STAGE1 + "w = 1", r"phases\.0\.w: there is no such setting"),
        (STAGE1 + "[optim]\nlr = -1", r"optim\.lr"),
        (STAGE1.replace("steps = 10", "steps = 0"), r"phases\.0\.steps"),
        (STAGE1.replace("batch = 2", ""), r"phases\.0\.batch: Field required"),
        ('network = "huge"' + STAGE1, "no network 'huge': one of .*compact-256"),
        (STAGE3.replace("mixed", "nasty"), "degradation: .*preset 'nasty': choose one of .*mixed"),
        (STAGE3.replace('"mixed"', "{ mixed = 0.5, nasty = 1 }"), "degradation: .*preset 'nasty'"),
        (STAGE3.replace('"mixed"', "{ mixed = 0.5, scan = -1 }"), "degradation: .*above 0, got -1"),
        (STAGE3.replace('"mixed"', "{ mixed = nan }"), "degradation: .*above 0, got nan"),
        (STAGE3.replace('"mixed"', '{ mixed = "a" }'), "degradation: .*above 0, got a;"),
        (STAGE3.replace('"mixed"', "{}"), "degradation: .*no recipe in it"),
        (STAGE3.replace('"mixed"', "3"), "degradation: .*name of a preset, or a table"),
        (STAGE1 + '[perceptual]\nnet = "resnet"', r"perceptual\.0\.net"),
        ("sede = 1" + STAGE1 + "[optim]\nlr = -1", r"sede.*optim\.lr|optim\.lr.*sede"),  # all at once
        (STAGE1.replace("stage1", "stage9"), "stage"),
        (STAGE1.replace('stage = "stage1"', ""), "stage"),
        # With image losses w = 0 trains no fusion layer.
        (STAGE3 + "w = [0.0, 0.0]", "image_losses with w = 0"),
        (STAGE3 + "adversary = true\nimage_losses = false", "adversary needs image_losses"),
        ("freeze_prediction = true" + STAGE3 + "image_losses = false", "leaves nothing to train"),
        *((STAGE3 + f"w = {w}", "not a range") for w in ("[1.0, 0.5]", "[-0.5, 1.0]", "[0.0, 2.5]")),
        (STAGE1 + '[[adversary]]\nkind = "wavelet"', r"adversary\.0\.kind: .*'patch' or 'projected'"),
        (STAGE1 + "[[adversary]]\n[[adversary]]", "two with the name 'patch'"),
        (STAGE1 + PROJECTED + '[[adversary]]\nname = "projected"', "two with the name 'projected'"),
        (STAGE1 + '[[adversary]]\nviews = ["nose"]', r"adversary\.0\.views\.0"),
        (STAGE1 + "[[adversary]]\nviews = []", "cannot be empty"),
        (STAGE1 + PROJECTED + "width = 8\nnorm = 'none'", "width, norm: for kind = 'patch' only"),
        (STAGE1 + "[[adversary]]\nname = 'a.b'", r"adversary\.0\.name"),
        (
            STAGE1 + PROJECTED + "[[phases]]\nsteps = 1\nsize = 48\nbatch = 1\nadversary = true",
            "size >= 64",
        ),
        (re.sub(r"size = \d+", "size = 100", STAGE1), r"phases: size = 100 is not a multiple of \d+"),
        (STAGE1.replace("[data]", "[data]\nturned = 3"), r"turned and sources need data\.table"),
        *(
            (STAGE1.replace("weight = 0.5", f"weight = {weight}"), r"^[^\n]*data\.folders\.1\.weight: ")
            for weight in ("-1", '"often"', "nan", "inf")
        ),
        (
            STAGE1.replace("[data]", '[data]\ntable = "a.csv"\nsources = { web = nan }'),
            r"data\.sources\.web",
        ),
        *(
            (CACHED.replace("[data]", f"[data]\n{view}"), "cache_codes needs faces as they are")
            for view in ("rotate = 3.0", "occlude = 0.1", "crop = [0.9, 1.0]", "light = 0.1", "shift = 0.1")
        ),
    ],
)
def test_mistakes_are_named(write, text, match):
    with pytest.raises(ConfigError, match=match) as caught:
        load_config(write(text))
    assert "run.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_degradation_is_a_name_or_weights(write):
    assert load_config(write(STAGE3)).phases[0].degradation == "mixed"
    mixture = STAGE3.replace('"mixed"', "{ mixed = 0.6, scan = 1 }")
    assert load_config(write(mixture)).phases[0].degradation == {"mixed": 0.6, "scan": 1}
    override = "phases=[{steps=1, batch=1, degradation={scan=1, heavy=2}}]"
    assert load_config(write(STAGE3), [override]).phases[0].degradation == {"scan": 1, "heavy": 2}


def test_unreadable_files(write, tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(write("stage = "))


@pytest.mark.parametrize(
    ("override", "read", "wanted"),
    [
        ("optim.lr=2e-3", lambda c: c.optim.lr, 2e-3),
        ("seed = 5", lambda c: c.seed, 5),
        ("network=codeformer-512", lambda c: c.network, "codeformer-512"),
        ('network="tiny"', lambda c: c.network, "tiny"),
        ("codebook.kmeans=false", lambda c: c.codebook.kmeans, False),
        ("data.crop=[0.5, 1]", lambda c: c.data.crop, (0.5, 1.0)),
        ("phases=[{steps=3, size=64, batch=1}]", lambda c: c.phases[0].steps, 3),
    ],
)
def test_overrides(write, override, read, wanted):
    assert read(load_config(write(STAGE1), [override])) == wanted


@pytest.mark.parametrize(
    ("override", "match"),
    [
        ("optim.lr", "write KEY=VALUE"),
        ("optim.speed=3", r"optim\.speed: there is no such setting"),
        ("seed=often", "seed"),
        ("network.size=3", "network: Input should be a valid string"),
        ("out.x=3", "'out' is not a table"),
    ],
)
def test_wrong_overrides(write, override, match):
    with pytest.raises(ConfigError, match=match):
        load_config(write(STAGE1), [override])


CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))


def test_the_released_schedules_have_the_published_length():
    steps = [
        sum(phase.steps for phase in load_config(path).phases)
        for path in CONFIGS
        if path.stem.startswith("codeformer-512-released")
    ]
    assert steps == [1_600_000, 500_000, 150_000]


def test_perceptual_terms_are_one_table_or_several(write):
    one = load_config(write(STAGE1 + '[perceptual]\nnet = "alex"\njitter = 4'))
    assert [(term.net, term.weight) for term in one.perceptual] == [("alex", 1.0)]
    two = load_config(
        write(STAGE1 + '[[perceptual]]\nnet = "alex"\n[[perceptual]]\nnet = "vgg"\nwindow = 128')
    )
    assert [(term.net, term.window) for term in two.perceptual] == [("alex", 0), ("vgg", 128)]


def test_adversaries_are_one_table_or_several(write):
    (one,) = load_config(write(STAGE1 + "[adversary]\nwidth = 8")).adversary
    assert (one.kind, one.name, one.width, one.views, one.gate) == ("patch", "patch", 8, ("whole",), False)
    two = load_config(
        write(STAGE3 + "[[adversary]]\n" + PROJECTED + 'views = ["half"]\nweight = 0.5')
    ).adversary
    assert [(a.kind, a.name, a.weight) for a in two] == [
        ("patch", "patch", 0.8),
        ("projected", "projected", 0.5),
    ]
    assert two[1].views == ("half",)
    (alone,) = load_config(write(STAGE1 + PROJECTED)).adversary
    assert alone.views == ("half", "window", "features")
    assert alone.gate


def test_a_recipe_says_what_differs_from_its_base(write, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/other.toml").write_text('base = "../run.toml"\nseed = 2\n[optim]\nlr = 1e-4')
    write(STAGE1 + "[optim]\nlr = 1e-2\nclip = 2.0\n[[adversary]]\n[[adversary]]\nname = 'b'")
    found = load_config(tmp_path / "deep/other.toml", ["optim.warmup=3"])
    assert (found.seed, found.optim.lr, found.optim.clip, found.optim.warmup) == (2, 1e-4, 2.0, 3)
    assert [folder.weight for folder in found.data.folders] == [1.0, 0.5]
    (tmp_path / "third.toml").write_text(
        'base = "deep/other.toml"\nadversary = { width = 8 }\n[data]\nfolders = [{ path = "x" }]'
    )
    found = load_config(tmp_path / "third.toml")
    assert (found.adversary[0].width, len(found.adversary), len(found.data.folders)) == (8, 1, 1)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('base = "none.toml"', r"none\.toml: cannot read .*; .*run\.toml names it as its base$"),
        ('base = "run.toml"', r"run\.toml: its bases lead back to it"),
        ("base = 3", r"run\.toml: base is the name of a file"),
    ],
)
def test_wrong_bases(write, text, match):
    with pytest.raises(ConfigError, match=match):
        load_config(write(text))


SIZES = """
stage = "stage2"
network = "tiny"
out = "runs/x"
stage1 = "a.safetensors"
[data]
folders = [{ path = "faces" }]
[[phases]]
steps = 10
batch = 2
degradation = "mixed"
[sizes]
attention = "split"
layers = 3
autoencoder = { scales = [4, 8, 16] }
"""


def test_a_config_changes_sizes(write):
    path = write(SIZES)
    config = load_config(path)
    wanted = {"attention": "split", "layers": 3, "autoencoder": {"scales": [4, 8, 16]}}
    assert config.network_sizes == changed(preset("tiny"), wanted)
    assert load_config(path, ["sizes.layers=5"]).network_sizes.layers == 5
    again = type(config).model_validate_json(config.model_dump_json())
    assert again.network_sizes == config.network_sizes
    assert load_config(write(SIZES.partition("[sizes]")[0])).network_sizes == preset("tiny")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("sizes.depth=3", "has no 'depth'"),
        ("sizes.autoencoder.depth=3", "has no 'depth'"),
        ("sizes.attention=near", "attention is one of"),
        ("sizes.autoencoder.scales=[3, 8]", "must go from coarse to fine"),
        ("sizes.layers=0", "layers = 0"),
        ("sizes.heads=3", "multiple of heads"),
    ],
)
def test_sizes_that_cannot_be(write, change, message):
    path = write(SIZES)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path, [change])
    assert "run.toml: " in str(caught.value)
    assert "\n" not in str(caught.value)
