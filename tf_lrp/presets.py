"""Presets: which rule each layer gets. Ordered (selector, rule) pairs, the named presets of the literature, JSON.

Sources of the named presets:
    [1] Kohlbrenner et al. 2020, "Towards best practice in explaining neural network decisions with LRP" (``cmp_*``).
    [2] Montavon et al. 2019, "Layer-wise relevance propagation: an overview" (``lrp_overview``, ``gamma``).
    [3] Montavon et al. 2017, deep Taylor decomposition (``deep_taylor*``).
    [4] Anders et al. 2021, zennit's composites (``epsilon_*``).
    [5] Achtibat et al. 2024, "AttnLRP: attention-aware layer-wise relevance propagation for transformers".
    [6] Ali et al. 2022, "XAI for transformers: better explanations through conservative propagation".
    [7] Lapuschkin et al. 2016, "The LRP Toolbox for artificial neural networks" (``toolbox``).
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tf_lrp import select
from tf_lrp.files import preset_json
from tf_lrp.messages.names import did_you_mean
from tf_lrp.rules import (
    AlphaBeta,
    Epsilon,
    Flat,
    Gamma,
    Rule,
    SignalTakesAll,
    Taylor,
    Uniform,
    WinnerTakesAll,
    WSquare,
    ZBox,
    ZPlus,
    ZRule,
)
from tf_lrp.rules.decompositions import decomposition

if TYPE_CHECKING:
    from tf_lrp.graph.facts import Facts

#: Upper limit of what a preset of Epsilon rules adds to the denominators of pooling and sums; epsilon itself may be larger.
_POOLING_EPSILON = 1e-6


@dataclass(frozen=True)
class Choice:
    """The rule of a node, and the reason for it."""

    rule: Rule
    reason: str
    addressed: bool = True  # by the preset, not by default


@dataclass(frozen=True)
class Preset:
    """Rules for the layers of a model: ordered (selector, rule) pairs, of which the first that matches applies.

    Layers without weights keep their own rules (max-pooling: the winner takes all; average pooling, merging and batch
    normalization: LRP-z; activations and rescaling: relevance passes) unless a selector addresses them by kind or exact
    name; see `tf_lrp.select`. If every rule of the preset is Epsilon, LRP-z of pooling and merging is stabilized as well,
    by at most 1e-6.

    Args:
        rules: iterable of (selector, rule).
        name: shown in tables.

    Example:
        >>> Preset([(select.name("block1_*"), Flat()), (select.kind("conv"), AlphaBeta(2, 1)), (select.all(), Epsilon())])

    Raises:
        TypeError: if an entry is no (selector, rule) pair.
    """

    rules: Sequence[tuple[select.Selector, Rule]]
    name: str = "custom"

    def __post_init__(self):
        entries = tuple(tuple(entry) if isinstance(entry, (list, tuple)) else entry for entry in self.rules)
        for entry in entries:
            is_pair = isinstance(entry, tuple) and len(entry) == 2
            if not (is_pair and isinstance(entry[0], select.Selector) and isinstance(entry[1], Rule)):
                raise TypeError(
                    "A preset needs (selector, rule) pairs such as (select.kind('conv'), AlphaBeta(2, 1)), with a selector "
                    f"from tf_lrp.select and a rule from tf_lrp.rules; got {entry!r}."
                )
        object.__setattr__(self, "rules", entries)

    def choose(self, facts: Facts) -> Choice:
        """The rule for a node.

        Raises:
            ValueError: if no selector matches a layer with weights.
        """
        for selector, rule in self.rules:
            if selector.selects(facts):
                return Choice(rule, str(selector))
        if facts.default_rule is None:
            raise ValueError(
                f"The preset {self.name!r} has no rule for the layer {facts.name!r} ({facts.layer_class}, kinds "
                f"{', '.join(sorted(facts.kinds))}): add one for it, or end the preset with (select.all(), rule)."
            )
        return Choice(self._default(facts), f"default for {_main_kind(facts)}", addressed=False)

    def _default(self, facts) -> Any:
        epsilons = [rule.epsilon for _, rule in self.rules if isinstance(rule, Epsilon)]
        if facts.default_rule != ZRule() or len(epsilons) < len(self.rules):
            return facts.default_rule
        return ZRule(stabilizer=min(_POOLING_EPSILON, *epsilons))

    def to_json(self) -> str:
        """The preset as a JSON string that `from_json` reads.

        Raises:
            ValueError: if it could not be read back: register your own rules with `tf_lrp.register_rule`.
        """
        return preset_json.write(self)

    @classmethod
    def from_json(cls, text: str | bytes) -> Preset:
        """The preset that `to_json` wrote.

        Args:
            text: str, or bytes in UTF-8. Text from untrusted sources is safe to read: it cannot run code.

        Raises:
            ValueError: for any other text: invalid JSON, an unknown rule, selector, parameter or key, a parameter of the
                wrong type or without a finite value.
        """
        entries, name = preset_json.read(text)
        return cls(tuple(entries), name)

    def __str__(self):
        lines = [f"{selector} -> {rule}" for selector, rule in self.rules]
        return "\n".join([f"preset {self.name}", *lines])


def _main_kind(facts):
    order = ("max_pooling", "average_pooling", "merge", "activation", "normalization", "rescaling", "resampling")
    return next((k for k in order if k in facts.kinds), "structural")


_NAMED = {}


def _named(function):
    _NAMED[function.__name__] = function
    return function


def _for_all(rule):
    return [(select.all(), rule)]


@_named
def z():
    """LRP-z (LRP-0) everywhere: the exact decomposition, equal to gradient x input for ReLU networks without biases."""
    return _for_all(ZRule())


@_named
def epsilon(epsilon=1e-6):
    """LRP-epsilon everywhere."""
    return _for_all(Epsilon(epsilon))


@_named
def alpha1_beta0():
    """LRP-alpha1-beta0 everywhere: positive contributions only."""
    return _for_all(AlphaBeta(1, 0))


@_named
def alpha2_beta1():
    """LRP-alpha2-beta1 everywhere: positive contributions, minus negative ones."""
    return _for_all(AlphaBeta(2, 1))


@_named
def gamma(gamma=0.25):
    """LRP-gamma everywhere."""
    return _for_all(Gamma(gamma))


@_named
def w2():
    """LRP-w^2 everywhere: in proportion to the squared weights, whatever the activations."""
    return _for_all(WSquare())


@_named
def flat():
    """LRP-flat everywhere: shows the receptive fields, and does not depend on the activations."""
    return _for_all(Flat())


@_named
def zplus():
    """LRP-z+ everywhere (another name of alpha1-beta0)."""
    return _for_all(ZPlus())


def _composite(conv_rule, epsilon, flat_layers=0):
    """Dense layers epsilon, convolutions by ``conv_rule``, the first ``flat_layers`` convolutions flat."""
    if flat_layers == "all":
        below = [(select.kind("conv", "pooling"), Flat())]
    elif isinstance(flat_layers, int) and flat_layers >= 0:
        below = [(select.first(flat_layers, kind="conv"), Flat())] if flat_layers else []
    else:
        raise ValueError(f'flat_layers needs a number of layers >= 0 or "all", got {flat_layers!r}.')
    return [*below, (select.kind("conv"), conv_rule), (select.all(), Epsilon(epsilon))]


@_named
def cmp_a1(epsilon=1e-6):
    """Dense epsilon, convolutions alpha1-beta0. [1]"""
    return _composite(AlphaBeta(1, 0), epsilon)


@_named
def cmp_a2(epsilon=1e-6):
    """Dense epsilon, convolutions alpha2-beta1. [1]"""
    return _composite(AlphaBeta(2, 1), epsilon)


@_named
def cmp_a1_flat(epsilon=1e-6, flat_layers=1):
    """cmp_a1 with flat on the first convolution(s), or on all of them and their pooling. [1]"""
    return _composite(AlphaBeta(1, 0), epsilon, flat_layers)


@_named
def cmp_a2_flat(epsilon=1e-6, flat_layers=1):
    """cmp_a2 with flat on the first convolution(s), or on all of them and their pooling. [1]"""
    return _composite(AlphaBeta(2, 1), epsilon, flat_layers)


def _zennit(conv_rule, epsilon, stabilizer, first=()):
    """zennit's composites; ``stabilizer`` is added to all other denominators, as in zennit also those of pooling and sums."""
    pooling = [(select.kind("average_pooling", "merge") & ~select.kind("maximum", "minimum"), Epsilon(stabilizer))]
    return [
        *first,
        (select.kind("conv"), conv_rule),
        *(pooling if stabilizer else []),
        (select.all(), Epsilon(epsilon)),
    ]


@_named
def epsilon_plus(epsilon=1e-6, stabilizer=1e-6):
    """Dense epsilon, convolutions z+. [4]"""
    return _zennit(ZPlus(stabilizer=stabilizer), epsilon, stabilizer)


@_named
def epsilon_plus_flat(epsilon=1e-6, stabilizer=1e-6):
    """epsilon_plus with flat on the first layer with weights. [4]"""
    first = [(select.first(1), Flat(stabilizer=stabilizer))]
    return _zennit(ZPlus(stabilizer=stabilizer), epsilon, stabilizer, first)


@_named
def epsilon_alpha2_beta1(epsilon=1e-6, stabilizer=1e-6):
    """Dense epsilon, convolutions alpha2-beta1. [4]"""
    return _zennit(AlphaBeta(2, 1, stabilizer=stabilizer), epsilon, stabilizer)


@_named
def epsilon_alpha2_beta1_flat(epsilon=1e-6, stabilizer=1e-6):
    """epsilon_alpha2_beta1 with flat on the first layer with weights. [4]"""
    first = [(select.first(1), Flat(stabilizer=stabilizer))]
    return _zennit(AlphaBeta(2, 1, stabilizer=stabilizer), epsilon, stabilizer, first)


@_named
def epsilon_gamma_box(low=None, high=None, epsilon=1e-6, gamma=0.25, stabilizer=1e-6):
    """z-box at the first convolution, gamma on the others, dense epsilon. [4]"""
    first = [(select.first(1, kind="conv"), ZBox(low, high, stabilizer))]
    return _zennit(Gamma(gamma, stabilizer=stabilizer), epsilon, stabilizer, first)


def _deep_taylor(input_rule):
    return [(select.first(1), input_rule), (select.all(), ZPlus(bias=False))]


@_named
def deep_taylor():
    """Deep Taylor decomposition for unbounded inputs: w^2 at the input, z+ without bias inside. [3]"""
    return _deep_taylor(WSquare())


@_named
def deep_taylor_bounded(low=None, high=None):
    """Deep Taylor decomposition for inputs in [low, high]: z-box at the input, z+ without bias inside. [3]"""
    return _deep_taylor(ZBox(low, high))


@_named
def lrp_overview(low=None, high=None, epsilon=1e-6, gamma=0.25):
    """LRP-0 in the upper fifth of the layers, epsilon in the middle, gamma in the lower half, z-box at the pixels. [2]"""
    return [
        (select.first(1), ZBox(low, high)),
        (select.fraction(0, 0.45), Gamma(gamma)),
        (select.fraction(0.45, 0.8), Epsilon(epsilon)),
        (select.all(), ZRule()),
    ]


@_named
def attnlrp(epsilon=0.0):
    """AttnLRP: the factors of products and attention share evenly, softmax by Taylor, weights by LRP-z. [5]"""
    shared = (select.kind("product", "matmul", "attention"), Uniform())
    return [shared, (select.kind("softmax"), Taylor()), (select.all(), _linear(epsilon))]


@_named
def cp_lrp(epsilon=0.0):
    """CP-LRP: attention weights and gates are constants, weights by LRP-z. [6]"""
    return [(select.kind("product", "matmul", "attention"), SignalTakesAll()), (select.all(), _linear(epsilon))]


@_named
def toolbox(lrp_var="simple", param=None):
    """As the LRP Toolbox: simple, epsilon, alphabeta, ww or flat everywhere, also at pooling; equal maxima share. [7]"""
    rule = decomposition(lrp_var, param)
    at_maxima = Flat() if isinstance(rule, (WSquare, Flat)) else WinnerTakesAll("share")
    return [(select.kind("max_pooling"), at_maxima), (select.kind("average_pooling"), rule), (select.all(), rule)]


def _linear(epsilon):
    return Epsilon(epsilon) if epsilon else ZRule()


def names() -> tuple[str, ...]:
    """The names of the presets, in the order in which they are listed."""
    return tuple(_NAMED)


def describe(name: str) -> tuple[dict[str, Any], str]:
    """(dict of the parameters with their defaults, one-line description) of a named preset."""
    function = _NAMED[name]
    parameters = {p.name: p.default for p in inspect.signature(function).parameters.values()}
    return parameters, inspect.getdoc(function) or ""


def preset(name: str, **parameters: Any) -> Preset:
    """A named preset with its parameters.

    Args:
        name: one of `names`, such as "cmp_a2_flat".
        **parameters: the parameters of the preset, such as ``epsilon=``, ``flat_layers=``, ``gamma=``, ``low=``, ``high=``.

    Returns:
        `Preset`.

    Raises:
        ValueError: for an unknown name (suggesting near ones) or parameter (listing the known ones).
    """
    if name not in _NAMED:
        raise ValueError(
            f"There is no preset {name!r}.{did_you_mean(name, _NAMED, cutoff=0.4)} The presets are: {', '.join(_NAMED)}."
        )
    known, _ = describe(name)
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        takes = ", ".join(known) or "no parameters"
        raise ValueError(f"The preset {name!r} takes {takes}; got {', '.join(unknown)}.")
    return Preset(tuple(_NAMED[name](**parameters)), name)


def as_preset(value: str | Preset | Rule) -> Preset:
    """The `Preset` of a name or of a single `Rule` (for all layers with weights); a `Preset` is returned unchanged."""
    if isinstance(value, Preset):
        return value
    if isinstance(value, Rule):
        return Preset(tuple(_for_all(value)), str(value))
    if isinstance(value, str):
        return preset(value)
    raise TypeError(f"A preset is a name, a tf_lrp.Preset or a rule from tf_lrp.rules; got {type(value).__name__}: {value!r}.")
