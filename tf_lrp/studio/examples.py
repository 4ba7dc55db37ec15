"""Presets of the literature as designs that can be looked at and copied.

Sources:
    [1] VisLRPDesigner user guide, figures 3.1 and 3.2. The layers of its network, VGG16, are counted there with their
        activations and pooling: layers 1 to 10 hold a quarter of the 16 layers with weights, layers 1 to 30 the 13
        convolutions. It gives no borders of the three segments; they are those of the tutorial of Montavon et al. 2019,
        "Layer-wise relevance propagation: an overview", and so are gamma and epsilon, 0.25. Of the custom rule it gives a
        picture only.
    [2] Kohlbrenner et al. 2020, "Towards best practice in explaining neural network decisions with LRP".
"""

from __future__ import annotations

from typing import NamedTuple

from tf_lrp import presets, select
from tf_lrp.presets import Preset
from tf_lrp.rules import AlphaBeta, Epsilon, Gamma, Unified, ZRule


class Example(NamedTuple):
    """An example: identifier, name, where it is from, `Preset`."""

    identifier: str
    name: str
    note: str
    preset: Preset


def examples() -> list[Example]:
    """All examples, in the order in which they are shown."""
    return [*_composites_of_the_guide(), *_rules_of_the_guide(), *_composites_of_the_paper()]


def _composites_of_the_guide():
    # Ends of the segments, as shares of the layers with weights: 4, 7 and 13 of the 16 of VGG16.
    low, middle, convolutions = 4 / 16, 7 / 16, 13 / 16
    gamma, epsilon = Gamma(0.25), Epsilon(0.25)
    custom = Unified(gamma1=1.0, gamma1p=0.5, epsilon=0.25)
    configurations = (
        ("gamma on the lowest layers", [(low, gamma), (1, ZRule())]),
        ("gamma on the convolutions", [(convolutions, gamma), (1, ZRule())]),
        ("0, epsilon, gamma", [(middle, ZRule()), (convolutions, epsilon), (1, gamma)]),
        ("gamma, epsilon, 0", [(middle, gamma), (convolutions, epsilon), (1, ZRule())]),
        ("gamma, custom, epsilon, 0", [(low, gamma), (middle, custom), (convolutions, epsilon), (1, ZRule())]),
    )
    for number, (name, parts) in enumerate(configurations, 1):
        starts = [0, *(stop for stop, _ in parts)]
        rules = [(select.fraction(start, stop), rule) for start, (stop, rule) in zip(starts, parts, strict=False)]
        title = f"Configuration {number}: {name}"
        yield Example(f"configuration-{number}", title, f"VisLRPDesigner, figure 3.2, {number}", Preset(rules, title))


def _rules_of_the_guide():
    rules = (Epsilon(0.3), Gamma(0.3), AlphaBeta(1, 0), AlphaBeta(2, 1), AlphaBeta(3, 2))
    names = ("epsilon = 0.3", "gamma = 0.3", "alpha1-beta0", "alpha2-beta1", "alpha3-beta2")
    for number, (rule, name) in enumerate(zip(rules, names, strict=True), 1):
        title = f"Model {number}: {name}"
        yield Example(f"model-{number}", title, f"VisLRPDesigner, figure 3.1, {number}", Preset([(select.all(), rule)], title))


def _composites_of_the_paper():
    for name in ("cmp_a1", "cmp_a2", "cmp_a1_flat", "cmp_a2_flat"):
        yield Example(f"paper-{name.replace('_', '-')}", name, "Kohlbrenner et al. 2020", presets.preset(name))
