"""Parity of `codeformer-512` with spandrel's network, an independent implementation of the published one.

The oracle is a black box: same random weights, same input, compare outputs. Its forward has an argument for
w but none for AdaIN, which it always applies; "off" is told to it by a hook that hands the plain code vectors
to the first layer of its decoder. Its encoder and transformer do not know w: they run once.
"""

import importlib.util
import itertools
import os
import sys
import types
import warnings
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from facemend.convert.published_layout import official_keys
from facemend.networks.codeformer.codeformer import CodeFormer, Encoded
from facemend.networks.codeformer.config import preset
from facemend.networks.codeformer.fusion import adaptive_instance_norm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.environ.get("FACEMEND_NO_ORACLE") == "1", reason="FACEMEND_NO_ORACLE=1: parity not checked"
    ),
]

# Both sum up the same in another order. Measured: 2.4e-5 on a CPU with AVX-512, 1.3e-4 on one with AVX2 only;
# what is really different, such as w, makes more than 0.1.
TOLERANCE = 3e-4


def torchvision_stand_in():
    """The names of torchvision that the oracle imports; its CodeFormer calls none of them."""

    def unused(*_, **__):
        raise AssertionError("the oracle was not expected to call torchvision")

    names = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    modules = {name: types.ModuleType(name) for name in names}
    functional = modules[names[2]]
    functional.InterpolationMode = type("InterpolationMode", (), {})
    functional.normalize = functional.rotate = unused
    modules[names[1]].functional = functional
    modules[names[0]].transforms = modules[names[1]]
    return modules


def load_oracle(state):
    """The oracle with an official state dict."""
    if not importlib.util.find_spec("spandrel_extra_arches"):
        pytest.fail(
            "the parity test needs the oracle (pip install einops; pip install --no-deps spandrel==0.4.2 "
            "spandrel-extra-arches==0.2.0), or FACEMEND_NO_ORACLE=1 to leave it out"
        )
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the oracle's own code
        for name, module in torchvision_stand_in().items():
            patch.setitem(sys.modules, name, module)
        import spandrel
        from spandrel_extra_arches import EXTRA_REGISTRY

        registry = spandrel.ArchRegistry()
        registry.add(*EXTRA_REGISTRY)
        descriptor = spandrel.ModelLoader(registry=registry).load_from_state_dict({"params_ema": state})
    assert descriptor.architecture.id == "CodeFormer"
    return descriptor.model.eval().requires_grad_(False)


def randomize(model, generator):
    """Default initialisation hides what is zero or one at first: positions, norm affines, biases."""
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, nn.GroupNorm | nn.LayerNorm):
                module.weight.normal_(1, 0.2, generator=generator)
                module.bias.normal_(0, 0.2, generator=generator)
            elif name.endswith(("query_key_value", ".out")) and isinstance(module, nn.Linear):
                module.bias.normal_(0, 0.1, generator=generator)
        model.transformer.positions.normal_(generator=generator)
        model.transformer.head.weight.normal_(0, 0.2, generator=generator)
        model.codebook.vectors.normal_(generator=generator)


def remember(module):
    """Run a module once; after that return what it returned, as long as the input is the same."""
    run, seen = module.forward, []

    def forward(*args, **kwargs):
        if not seen:
            seen.append((args[0].clone(), run(*args, **kwargs)))
        assert torch.equal(args[0], seen[0][0])
        return seen[0][1]

    module.forward = forward


def native_codes(oracle, codes):
    """Code vectors out of the oracle's own codebook, (B, 256, 16, 16)."""
    rows = oracle.quantize.embedding.weight[codes.flatten()]
    # In the layout the oracle has by itself: strided rows take it through other kernels, off by 1.5e-4.
    return rows.reshape(len(codes), 16, 16, -1).permute(0, 3, 1, 2).contiguous()


@dataclass
class Pair:
    """Both networks with the same weights, and what ours made of the input."""

    ours: CodeFormer
    oracle: nn.Module
    image: torch.Tensor
    encoded: Encoded

    def restore(self, w, adain):
        """Our picture."""
        style = self.encoded.z if adain else None
        return self.ours.decode(self.encoded.codes, self.encoded.features, torch.tensor([w]), style)

    def ask(self, w, adain):
        """The oracle's picture, its logits, and its own decoder input (before the hook changes it)."""
        native = []

        def hand_in(_, args):
            native.append(args[0])
            return None if adain else (native_codes(self.oracle, self.encoded.codes),)

        handle = self.oracle.generator.blocks[0].register_forward_pre_hook(hand_in)
        try:
            image, logits = self.oracle(self.image, weight=w)[:2]
        finally:
            handle.remove()
        return image, logits, native[0]


def make_image(generator):
    """Patches of different colours and some noise, (1, 3, 512, 512) in [-1, 1]: tokens must differ."""
    coarse = torch.rand(1, 3, 24, 24, generator=generator) * 2 - 1
    image = nn.functional.interpolate(coarse, size=(512, 512), mode="nearest")
    return (0.9 * image + 0.05 * torch.randn(image.shape, generator=generator)).clamp(-1, 1)


@pytest.fixture(scope="module")
def pair():
    generator = torch.Generator().manual_seed(0)
    config = preset("codeformer-512")
    with torch.inference_mode(), torch.random.fork_rng():
        torch.manual_seed(0)
        ours = CodeFormer(config).eval().requires_grad_(False)
        randomize(ours, generator)
        image = make_image(generator)
        remember(ours.encoder)
        # Random weights give all tokens one large common part, and then one code: out with it.
        embed = ours.transformer.embed
        embed.weight.mul_(4)
        embed.bias.copy_(-embed.weight @ ours.encoder(image)[0].mean((0, 2, 3)))
        state = ours.state_dict()
        oracle = load_oracle({k: state[name].clone() for k, name in official_keys(config).items()})
        for module in (*oracle.encoder.blocks, *oracle.ft_layers):
            remember(module)
        return Pair(ours, oracle, image, ours.encode(image))


def difference(a, b):
    return (a - b).abs().max().item()


def test_same_pictures_as_the_oracle(pair):
    # A tie would make another code of a rounding error; then pictures could not be compared.
    best = pair.encoded.logits.topk(2, dim=2).values
    margin = (best[..., 0] - best[..., 1]).min().item()
    assert pair.encoded.codes.unique().numel() > 32

    styled = adaptive_instance_norm(pair.ours.codebook.lookup(pair.encoded.codes, (16, 16)), pair.encoded.z)
    pictures, worst = [], {}
    with torch.inference_mode():
        for adain, w in ((True, 0.0), (False, 0.5), (True, 1.0)):
            theirs, logits, decoder_input = pair.ask(w, adain)
            pictures.append(pair.restore(w, adain))
            worst["logits"] = difference(pair.encoded.logits, logits)
            worst["adain"] = difference(styled, decoder_input)
            worst[f"picture, w = {w}, {'adain' if adain else 'plain'}"] = difference(pictures[-1], theirs)
    print(f"margin {margin:.1e}; largest differences: {worst}")
    assert worst["logits"] < margin / 2
    assert max(worst.values()) <= TOLERANCE, worst
    # w and AdaIN matter here, else the comparison would prove nothing about them.
    assert min(difference(a, b) for a, b in itertools.combinations(pictures, 2)) > 0.1
