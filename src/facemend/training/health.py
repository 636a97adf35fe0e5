"""What looks wrong in a run's metrics, and what to do about it.

Each rule looks at the means of a log line. A rule that holds for some lines in a row speaks once, and again
only after it has been quiet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from facemend.training.adversarial_loss import NEAR_CHANCE
from facemend.training.config import RunConfig
from facemend.training.settings import metric_suffixes

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Rule:
    """A symptom.

    Attributes:
        holds: whether a log line shows it; only asked where all `needs` are in the line.
        needs: names of the metrics it looks at.
        text: what it means and what to do.
        lines: log lines in a row before it speaks.
        after: steps that are let pass at the start.
    """

    holds: Callable[[Metrics], bool]
    needs: tuple[str, ...]
    text: str
    lines: int = 5
    after: int = 0


class Health:
    """The rules of one run, and how long each has held."""

    def __init__(self, config: RunConfig) -> None:
        codes = config.network_sizes.autoencoder.codebook_size
        self._rules = _rules(codes, config.optim.clip)
        for suffix in metric_suffixes(getattr(config, "adversary", ())):
            self._rules |= _adversary_rules(suffix)
        self._held = dict.fromkeys(self._rules, 0)

    def look(self, step: int, metrics: Metrics) -> dict[str, str]:
        """Take in a log line; returns the new warnings, text by name."""
        found = {}
        for name, rule in self._rules.items():
            if step <= rule.after or not all(need in metrics for need in rule.needs):
                continue
            self._held[name] = self._held[name] + 1 if rule.holds(metrics) else 0
            if self._held[name] == rule.lines:
                found[name] = rule.text
        return found


def _adversary_rules(suffix: str) -> dict[str, Rule]:
    """For one discriminator, whose metrics end with `suffix`."""
    balance, loss, real, fake = (name + suffix for name in ("lambda", "d_loss", "real", "fake"))
    rules = {
        "silent": Rule(
            lambda f: f[balance] < 1e-4,
            (balance,),
            "the adaptive weight is near 0, so the adversary changes nothing: its gradient outweighs the "
            "image losses by far. Start it later, or lower adversary.lr",
        ),
        "wins": Rule(
            lambda f: f[loss] < 0.05 and f[real] - f[fake] > 2,
            (loss, real, fake),
            "the discriminator tells every picture apart and teaches no more. Lower adversary.lr or "
            "adversary.width, or use adversary.norm = 'spectral'",
        ),
        "lost": Rule(
            lambda f: abs(f[real] - f[fake]) < 0.01,
            (real, fake),
            "the discriminator cannot tell real from made. Raise adversary.lr, or give it more steps before "
            "judging the pictures",
            lines=20,
        ),
        "at_chance": Rule(
            lambda f: f[loss] > NEAR_CHANCE,
            (loss,),
            "the discriminator's loss stays near 2, which is chance: its gradient is noise that draws "
            "patterns into the picture. Do not raise adversary.weight; set adversary.gate, raise "
            "adversary.lr, use kind = 'projected', or norm = 'none' with a small penalty",
            lines=20,
        ),
    }
    named = f"adversary '{suffix[1:]}': " if suffix else ""
    return {
        f"adversary_{name}{suffix}": replace(rule, text=named + rule.text) for name, rule in rules.items()
    }


def _rules(codes: int, clip: float) -> dict[str, Rule]:
    chance = math.log(codes)
    rules = {
        "codebook_unused": Rule(
            lambda f: f["perplexity"] < 0.05 * codes,
            ("perplexity",),
            f"only about a twentieth of the {codes} codes is in use. Use codebook.update = 'ema', "
            "codebook.bypass with codebook.kmeans, and codebook.revive_every",
            after=200,
        ),
        "codes_by_chance": Rule(
            lambda f: f["token"] > chance - 0.2,
            ("token",),
            f"the token loss stays at chance (ln {codes} = {chance:.2f}). Does stage1 name a trained "
            "stage I, and is optim.lr right?",
            after=500,
        ),
        "codes_all_the_same": Rule(
            lambda f: f["target_entropy"] < 0.3 * chance,
            ("target_entropy",),
            "the target codes are nearly always the same few: stage I has not learned to use its codebook. "
            "Train it again with revival on",
            lines=1,
            after=-1,
        ),
    }
    if clip:
        rules["always_clipped"] = Rule(
            lambda f: f["gradient"] > 20 * clip,
            ("gradient",),
            "the gradient is cut to a twentieth or less at most steps. Lower optim.lr or the heaviest loss "
            "weight, or raise optim.clip",
            after=100,
        )
    return rules
