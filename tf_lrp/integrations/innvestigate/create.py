"""What each of iNNvestigate's names builds."""

from __future__ import annotations

import functools
import inspect
import warnings
from typing import Any

import keras
import numpy as np
from keras import tree

from tf_lrp import methods, rules, select
from tf_lrp.analyzer import Analyzer
from tf_lrp.explain.explainer import Explainer
from tf_lrp.graph import canonize, unroll
from tf_lrp.graph.facts import infer_facts
from tf_lrp.messages.names import did_you_mean
from tf_lrp.methods.decompositions import LRP
from tf_lrp.presets import Preset

_MODES = ("max_activation", "index", "all")
_FUSE_MODES = ("one_linear", "two_linear")

#: Arguments of its analyzers for debugging the backward pass; they do not change results and have no effect here.
_DEBUGGING = ("reverse_verbose", "reverse_check_min_max_values", "reverse_keep_tensors", "reverse_reapply_on_copied_layers")
#: The same, where results change.
_CHANGING = ("reverse_clip_values", "reverse_project_bottleneck_layers")

#: Their rules without a stabilizer; biases in alpha-beta split by sign.
_RULES = {
    "Z": rules.ZRule(),
    "ZIgnoreBias": rules.ZRule(bias=False),
    "Epsilon": rules.Epsilon(1e-7),
    "EpsilonIgnoreBias": rules.Epsilon(1e-7, bias=False),
    "WSquare": rules.WSquare(),
    "Flat": rules.Flat(),
    "Alpha2Beta1": rules.AlphaBeta(2, 1, stabilizer=0),
    "Alpha2Beta1IgnoreBias": rules.AlphaBeta(2, 1, bias=False, stabilizer=0),
    "Alpha1Beta0": rules.AlphaBeta(1, 0, stabilizer=0),
    "Alpha1Beta0IgnoreBias": rules.AlphaBeta(1, 0, bias=False, stabilizer=0),
    "ZPlus": rules.ZPlus(bias=False, stabilizer=0),
    "ZPlusFast": rules.ZPlus(bias=False, stabilizer=0),
}

#: Average pooling and sums share by contribution under every one of their rules.
_SHARED = (select.kind("average_pooling", "merge") & ~select.kind("maximum", "minimum"), rules.ZRule())


class CreatedAnalyzer:
    """What `create_analyzer` returns: an explainer with iNNvestigate's neuron selection.

    Attributes:
        name: iNNvestigate's.
        explainer: the `tf_lrp.Analyzer` or method from `tf_lrp.methods` that does the work. Its other attributes (``export``,
            ``rules``, ``conservation`` ...) are this one's, too.
        neuron_selection_mode: "max_activation", "index" or "all".
    """

    def __init__(self, name, explainer, neuron_selection_mode, check_finite=False):
        self.name, self.explainer, self.neuron_selection_mode = name, explainer, neuron_selection_mode
        self._check_finite = check_finite

    def __getattr__(self, attribute):
        if attribute.startswith("__") or attribute == "explainer":
            raise AttributeError(attribute)
        return getattr(self.explainer, attribute)

    def analyze(self, X, neuron_selection=None, **options):
        """As `tf_lrp.Analyzer.analyze`; ``neuron_selection`` is for the mode "index" and needed there."""
        relevance = self.explainer.analyze(X, self._selected(neuron_selection), **options)
        if self._check_finite and not all(np.isfinite(leaf).all() for leaf in tree.flatten(relevance)):
            warnings.warn(f"The relevance by {self.name!r} is not finite everywhere.", stacklevel=2)
        return relevance

    def __call__(self, X, neuron_selection=None, **options):
        """As `analyze`, with tensors."""
        return self.explainer(X, self._selected(neuron_selection), **options)

    def fit(self, X, *, batch_size=32, verbose=0, **others):
        """Estimates patterns for the pattern methods; the others need none, and do nothing.

        Args:
            X: array, or tf.data.Dataset of batches.
            batch_size: for arrays.
            verbose, **others: taken, and of no effect.

        Returns:
            self.
        """
        if hasattr(self.explainer, "fit"):
            self.explainer.fit(X, batch_size=batch_size)
        return self

    def _selected(self, neuron_selection):
        if self.neuron_selection_mode == "index":
            if neuron_selection is None:
                raise ValueError('neuron_selection_mode="index" needs a neuron_selection: an index, or one per sample.')
            return neuron_selection
        if neuron_selection is not None:
            raise ValueError(
                f'neuron_selection={neuron_selection!r} needs an analyzer with neuron_selection_mode="index"; this one\'s is '
                f"{self.neuron_selection_mode!r}."
            )
        return self.neuron_selection_mode

    def __repr__(self):
        return f"<{self.name} by {type(self.explainer).__name__}>"


# -- what each name builds: functions of (model, its arguments, check=, strip_softmax=) ---------------------------------


def _gradient(model, postprocess=None, **how):
    return methods.Gradient(model, _take(postprocess), **how)


def _take(postprocess):
    takes = {None: "raw", "abs": "absolute", "square": "squared"}
    if postprocess not in takes:
        raise ValueError(f'postprocess is None, "abs" or "square"; got {postprocess!r}.')
    return takes[postprocess]


def _integrated_gradients(model, steps=64, reference_inputs=0, postprocess=None, **how):
    if postprocess is not None:
        raise ValueError(f"Integrated Gradients of {postprocess!r} derivatives sum to nothing: postprocess needs to be None.")
    return methods.IntegratedGradients(model, steps, reference_inputs, "left", **how)


def _smoothgrad(model, augment_by_n=64, noise_scale=1.0, postprocess=None, seed=0, **how):
    return methods.SmoothGrad(_gradient(model, postprocess, **how), augment_by_n, noise_scale, relative=False, seed=seed)


def _lrp(
    model,
    rule=None,
    input_layer_rule=None,
    until_layer_idx=None,
    until_layer_rule=None,
    bn_layer_rule=None,
    bn_layer_fuse_mode="one_linear",
    **how,
):
    """Any rules: one, a list from the input to the output, or [(condition on a layer, rule), ...]."""
    if rule is None:
        raise ValueError('"lrp" needs a rule: one of ' + ", ".join(_RULES) + ", a tf_lrp.rules.Rule, or a list.")
    if bn_layer_fuse_mode not in _FUSE_MODES:
        raise ValueError(f"bn_layer_fuse_mode is one of {', '.join(_FUSE_MODES)}; got {bn_layer_fuse_mode!r}.")
    pairs = []
    if input_layer_rule is not None:
        pairs.append((select.first(1), _input_rule(input_layer_rule)))
    if bn_layer_rule is not None:
        pairs.append((select.kind("batch_normalization"), _rule(bn_layer_rule)))
    weighted = _weighted_nodes(model)
    if until_layer_idx is not None and until_layer_rule is not None:
        if not -len(model.layers) <= until_layer_idx < len(model.layers):
            raise ValueError(f"until_layer_idx={until_layer_idx}: the model's layers go from 0 to {len(model.layers) - 1}.")
        below = {layer.name for layer in model.layers[: range(len(model.layers))[until_layer_idx] + 1]}
        pairs += [(select.name(n.name), _rule(until_layer_rule)) for n in weighted if below & {*n.path, n.operation.name}]
    pairs += _rules_of(rule, weighted)
    return LRP(model, Preset([*pairs[:-1], _SHARED, pairs[-1]], "lrp"), fold_batchnorm=bn_layer_rule is None, **how)


def _rules_of(rule, weighted):
    if not isinstance(rule, (list, tuple)):
        return [(select.all(), _rule(rule))]
    if rule and isinstance(rule[0], tuple) and not weighted:
        return [(select.all(), _rule(rule[-1][1]))]  # which meets no layer
    if not rule:
        raise ValueError("rule is an empty list: give a rule, or one for each layer with weights.")
    if isinstance(rule[0], tuple):
        pairs = []
        for node in weighted:
            chosen = [r for condition, r in rule if condition(node.operation)]
            if not chosen:
                raise ValueError(
                    f"No condition is met by the layer {node.name!r}: end the list with (lambda layer: True, rule)."
                )
            pairs.append((select.name(node.name), _rule(chosen[0])))
        return pairs
    if len(rule) != len(weighted):
        names = ", ".join(repr(n.name) for n in weighted)
        raise ValueError(
            f"A list needs one rule for each of the {len(weighted)} layers with weights ({names}); got {len(rule)}."
        )
    return [(select.name(node.name), _rule(r)) for node, r in zip(weighted, rule, strict=True)]


def _weighted_nodes(model):
    graph = canonize(unroll(model))
    return [n for n, f in zip(graph.nodes, infer_facts(graph), strict=True) if "weights" in f.kinds]


def _rule(rule):
    if isinstance(rule, rules.Rule):
        return rule
    if isinstance(rule, str) and rule in _RULES:
        return _RULES[rule]
    known = ", ".join(_RULES)
    raise ValueError(f"A rule is one of {known}, or a rule from tf_lrp.rules; got {rule!r}.{did_you_mean(rule, _RULES, n=1)}")


def _input_rule(rule):
    return rules.ZBox(*rule) if isinstance(rule, tuple) else _rule(rule)


def _fixed(rule):
    """A name that stands for one rule; the other arguments of "lrp" hold."""
    return functools.partial(_lrp, rule=rule)


def _epsilon(model, epsilon=1e-7, bias=True, **how):
    return _lrp(model, rules.Epsilon(epsilon, bias=bias), **how)


def _alpha_beta(model, alpha=None, beta=None, bias=True, **how):
    if alpha is None and beta is None:
        raise ValueError('"lrp.alpha_beta" needs alpha=, beta= or both, with alpha - beta = 1.')
    alpha = (beta or 0) + 1 if alpha is None else alpha
    beta = alpha - 1 if beta is None else beta
    return _lrp(model, rules.AlphaBeta(alpha, beta, bias=bias, stabilizer=0), **how)


def _sequential(model, conv_rule, flat=False, epsilon=0.1, until_layer_idx=None, **how):
    is_conv = (lambda layer: "Conv" in type(layer).__name__, conv_rule)
    at_input = {"input_layer_rule": "Flat"} if flat else {}
    below = {} if until_layer_idx is None else {"until_layer_idx": until_layer_idx, "until_layer_rule": "Flat"}
    return _lrp(model, [is_conv, (lambda layer: True, rules.Epsilon(epsilon))], **{**at_input, **below, **how})


def _deep_taylor(model, low=None, high=None, **how):
    at_input = [] if low is None else [(select.first(1), rules.ZBox(low, high))]
    by_gradient = (select.kind("average_pooling"), rules.Flat())
    return methods.DeepTaylor(model, preset=Preset([*at_input, by_gradient, (select.all(), _RULES["ZPlus"])]), **how)


def _deep_taylor_bounded(model, low=None, high=None, **how):
    if low is None or high is None:
        raise ValueError(f'"deep_taylor.bounded" needs low= and high=; got low={low!r}, high={high!r}.')
    return _deep_taylor(model, low, high, **how)


def _pattern(method, model, patterns=None, pattern_type=None, **how):
    estimators = {None: "auto", "linear": "linear", "relu": "relu", "relu.positive": "relu"}
    if pattern_type not in estimators:
        raise ValueError(f"pattern_type is one of {', '.join(map(repr, estimators))}; got {pattern_type!r}.")
    return method(model, patterns, estimator=estimators[pattern_type], **how)


_A, _B = _RULES["Alpha1Beta0"], _RULES["Alpha2Beta1"]
_ANALYZERS = {
    "input": methods.Input,
    "random": methods.Random,
    "gradient": _gradient,
    "gradient.baseline": _gradient,
    "input_t_gradient": methods.InputTimesGradient,
    "deconvnet": methods.DeconvNet,
    "guided_backprop": methods.GuidedBackprop,
    "integrated_gradients": _integrated_gradients,
    "smoothgrad": _smoothgrad,
    "lrp": _lrp,
    "lrp.z": _fixed("Z"),
    "lrp.z_IB": _fixed("ZIgnoreBias"),
    "lrp.epsilon": _epsilon,
    "lrp.epsilon_IB": functools.partial(_epsilon, bias=False),
    "lrp.w_square": _fixed("WSquare"),
    "lrp.flat": _fixed("Flat"),
    "lrp.alpha_beta": _alpha_beta,
    "lrp.alpha_2_beta_1": _fixed("Alpha2Beta1"),
    "lrp.alpha_2_beta_1_IB": _fixed("Alpha2Beta1IgnoreBias"),
    "lrp.alpha_1_beta_0": _fixed("Alpha1Beta0"),
    "lrp.alpha_1_beta_0_IB": _fixed("Alpha1Beta0IgnoreBias"),
    "lrp.z_plus": _fixed("ZPlus"),
    "lrp.z_plus_fast": _fixed("ZPlusFast"),
    "lrp.rule_until_index": _lrp,
    "lrp.sequential_preset_a": functools.partial(_sequential, conv_rule=_A),
    "lrp.sequential_preset_b": functools.partial(_sequential, conv_rule=_B),
    "lrp.sequential_preset_a_flat": functools.partial(_sequential, conv_rule=_A, flat=True),
    "lrp.sequential_preset_b_flat": functools.partial(_sequential, conv_rule=_B, flat=True),
    "lrp.sequential_preset_a_flat_until_idx": functools.partial(_sequential, conv_rule=_A, flat=True),
    "lrp.sequential_preset_b_flat_until_idx": functools.partial(_sequential, conv_rule=_B, flat=True),
    "deep_taylor": _deep_taylor,
    "deep_taylor.bounded": _deep_taylor_bounded,
    "pattern.net": functools.partial(_pattern, methods.PatternNet),
    "pattern.attribution": functools.partial(_pattern, methods.PatternAttribution),
}

#: Names of `create_analyzer`.
NAMES = tuple(_ANALYZERS)


def create_analyzer(
    name: str | list[str] | tuple[str, ...],
    model: keras.Model,
    *,
    neuron_selection_mode: str = "max_activation",
    disable_model_checks: bool = False,
    allow_lambda_layers: bool = False,
    reverse_check_finite: bool = False,
    **arguments: Any,
) -> Any:
    """An analyzer by iNNvestigate's name.

    The model is explained as it is: call `model_wo_softmax` first, as with iNNvestigate, to explain scores.

    Args:
        name: such as "lrp.epsilon"; a list of names gives a list of analyzers.
        model: a built Keras 3 model.
        neuron_selection_mode: "max_activation" (each sample's strongest neuron), "index" (given to ``analyze``), or "all"
            (the whole output).
        disable_model_checks: whether the warnings about models outside a method's assumptions are left out.
        allow_lambda_layers: taken; whether a layer can be explained does not depend on it.
        reverse_check_finite: whether ``analyze`` warns where relevance is not finite. The other ``reverse_...`` of iNNvestigate
            are accepted: those that print or keep intermediate values warn that they have no effect, and those that change
            results are refused.
        **arguments: of this analyzer, as in iNNvestigate 2.1 (``rule=``, ``epsilon=``, ``steps=`` ...), or options of
            `tf_lrp.Analyzer` such as ``batch_size``.

    Returns:
        `CreatedAnalyzer`, or a list of them.

    Raises:
        KeyError: for an unknown name, suggesting near ones.
        TypeError: for an argument that this analyzer does not have.
        ValueError: for values that do not fit.
    """
    if isinstance(name, (list, tuple)):
        how = {"neuron_selection_mode": neuron_selection_mode, "disable_model_checks": disable_model_checks, **arguments}
        how["reverse_check_finite"] = reverse_check_finite
        return [create_analyzer(each, model, **how) for each in name]
    if name not in _ANALYZERS:
        hint = did_you_mean(name, _ANALYZERS, cutoff=0.4)
        raise KeyError(f"There is no analyzer {name!r}.{hint} The names are: {', '.join(_ANALYZERS)}.")
    if neuron_selection_mode not in _MODES:
        raise ValueError(f"neuron_selection_mode is one of {', '.join(_MODES)}; got {neuron_selection_mode!r}.")
    arguments = _without_reverse(arguments)
    _check_arguments(name, arguments)
    arguments = {"strip_softmax": False, "check": not disable_model_checks, **arguments}
    return CreatedAnalyzer(name, _ANALYZERS[name](model, **arguments), neuron_selection_mode, reverse_check_finite)


def _without_reverse(arguments):
    """The arguments without those about iNNvestigate's own backward pass."""
    wanted = [key for key in (*_DEBUGGING, *_CHANGING) if arguments.get(key)]
    refused = [key for key in wanted if key in _CHANGING]
    if refused:
        raise ValueError(f"{', '.join(refused)} would change the relevance, and is not to be had here: leave it out.")
    if wanted:
        warnings.warn(
            f"{', '.join(wanted)}: no effect here. Intermediate results are shown by analyzer.rules(), "
            "analyzer.conservation(x) and analyze(x, layers=[...]).",
            stacklevel=3,
        )
    return {key: value for key, value in arguments.items() if key not in (*_DEBUGGING, *_CHANGING)}


#: What every analyzer takes besides its own arguments.
_COMMON = {p for c in (Explainer, Analyzer) for p in inspect.signature(c).parameters} - {
    "model", "model_name", "twin", "results", "output_names", "preset", "fold_batchnorm", "options",
}  # fmt: skip
_COMMON |= {"check"}


def _check_arguments(name, arguments):
    known, build = set(_COMMON), _ANALYZERS[name]
    given = set()
    while isinstance(build, functools.partial):
        given |= set(build.keywords)
        build = build.func
    known |= set(inspect.signature(build).parameters)
    if build in (_epsilon, _alpha_beta, _sequential):
        known |= set(inspect.signature(_lrp).parameters) - {"rule"}
    known -= {"model", "how", "options", "method", *given}
    unknown = sorted(set(arguments) - known)
    if unknown:
        own = ", ".join(sorted(known - _COMMON)) or "no arguments of its own"
        raise TypeError(f"{name!r} does not take {', '.join(unknown)}. It takes: {own}; and {', '.join(sorted(_COMMON))}.")
