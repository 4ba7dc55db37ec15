"""One table of all presets and methods: what each needs, what it costs, what its relevance sums to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tf_lrp import methods, presets
from tf_lrp.messages.names import did_you_mean

if TYPE_CHECKING:
    import keras

    from tf_lrp.explain.explainer import Explainer


@dataclass(frozen=True)
class Entry:
    """One line of the table.

    Attributes:
        names: of presets or methods with these properties.
        shows: what R is, in a few words.
        needs: what has to be given or to hold.
        cost: in gradients (one forward and one backward pass), on VGG16 or by counting passes.
        conserves: what the relevance of all inputs sums to.
    """

    names: tuple[str, ...]
    shows: str
    needs: str
    cost: str
    conserves: str


_SCORE = "score minus the relevance absorbed by biases"

CATALOG = (
    Entry(("z", "epsilon"), "contributions of both signs, everywhere", "", "1.0", _SCORE),
    Entry(("gamma",), "positive contributions emphasized, everywhere", "", "1.7", _SCORE),
    Entry(("zplus", "alpha1_beta0"), "positive contributions only, everywhere", "", "1.6", _SCORE),
    Entry(("alpha2_beta1",), "positive against negative contributions, everywhere", "", "2.3", _SCORE),
    Entry(("w2", "flat"), "only the weights, or only the receptive field", "", "1.4", "score"),
    Entry(
        ("cmp_a1", "cmp_a1_flat", "epsilon_plus", "epsilon_plus_flat"),
        "dense epsilon, convolutions alpha1-beta0 (z+); `_flat`: flat at the first",
        "",
        "1.5",
        _SCORE,
    ),
    Entry(
        ("cmp_a2", "cmp_a2_flat", "epsilon_alpha2_beta1", "epsilon_alpha2_beta1_flat"),
        "dense epsilon, convolutions alpha2-beta1; `_flat`: flat at the first",
        "",
        "2.0",
        _SCORE,
    ),
    Entry(
        ("epsilon_gamma_box", "lrp_overview"),
        "epsilon above, gamma below, z-box at the pixels",
        "`low=`, `high=` (else each sample's own)",
        "1.5",
        _SCORE,
    ),
    Entry(
        ("deep_taylor", "deep_taylor_bounded"),
        "z+ without bias inside, w^2 or z-box at the input",
        "ReLUs; `low=`, `high=`",
        "1.6",
        "score",
    ),
    Entry(("attnlrp", "cp_lrp"), "for transformers: attention shared evenly, or constant", "", "1.0", _SCORE),
    Entry(
        ("toolbox",),
        "one decomposition of the LRP Toolbox everywhere, pooling too; equal maxima share",
        "`lrp_var=`, `param=` (else simple, LRP-z)",
        "1.7",
        _SCORE,
    ),
    Entry(
        ("gradient", "gradient_absolute", "gradient_squared", "gradient_l2"),
        "df/dx: what would change the score",
        "",
        "1",
        "nothing",
    ),
    Entry(("input_t_gradient",), "x df/dx", "", "1", "score, for ReLU networks without biases"),
    Entry(
        ("integrated_gradients",),
        "gradients along the line from a baseline to the input",
        "a baseline",
        "`steps` + 1 (65)",
        "score minus the baseline's score",
    ),
    Entry(
        ("smoothgrad", "vargrad", "smoothgrad_squared"),
        "mean, variance, mean square under noise; around any method",
        "",
        "`samples` (50) times the method's",
        "the mean: what the method's maps sum to",
    ),
    Entry(("guided_backprop", "deconvnet"), "positive signals through ReLUs", "ReLUs", "1", "nothing"),
    Entry(("excitation_backprop",), "z+ without bias, seeded with 1", "ReLUs", "1.6", "1"),
    Entry(
        ("deep_taylor_decomposition",),
        "as `deep_taylor`, seeded with max(score, 0)",
        "ReLUs, no biases",
        "1.6",
        "max(score, 0)",
    ),
    Entry(
        ("pattern_net", "pattern_attribution"),
        "the signal that neurons detect",
        "`fit(data)`; ReLUs, dense and convolutional",
        "1",
        "attribution: the part of the score that the estimated signal accounts for",
    ),
    Entry(("grad_cam",), "where, in a coarse grid", "a convolution, one picture", "1", "nothing"),
    Entry(("guided_grad_cam",), "`guided_backprop` times `grad_cam`", "ReLUs, a convolution, one picture", "2", "nothing"),
    Entry(
        ("occlusion",),
        "how much the score drops when a part is covered",
        "inputs of known size",
        "0.5 per window (64 windows)",
        "the sum of these drops",
    ),
    Entry(("input", "random"), "the input itself; noise", "", "0.5", "nothing"),
)


#: Name -> (class in `tf_lrp.methods`, arguments that the name stands for). Classes are imported when one is made: the table
#: is to be read without waiting for TensorFlow.
_METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "gradient": ("Gradient", {}),
    "gradient_absolute": ("Gradient", {"take": "absolute"}),
    "gradient_squared": ("Gradient", {"take": "squared"}),
    "gradient_l2": ("Gradient", {"take": "l2"}),
    "input_t_gradient": ("InputTimesGradient", {}),
    "integrated_gradients": ("IntegratedGradients", {}),
    "smoothgrad": ("SmoothGrad", {"statistic": "mean"}),
    "vargrad": ("SmoothGrad", {"statistic": "variance"}),
    "smoothgrad_squared": ("SmoothGrad", {"statistic": "mean_square"}),
    "guided_backprop": ("GuidedBackprop", {}),
    "deconvnet": ("DeconvNet", {}),
    "excitation_backprop": ("ExcitationBackprop", {}),
    "deep_taylor_decomposition": ("DeepTaylor", {}),
    "pattern_net": ("PatternNet", {}),
    "pattern_attribution": ("PatternAttribution", {}),
    "grad_cam": ("GradCAM", {}),
    "guided_grad_cam": ("GuidedGradCAM", {}),
    "occlusion": ("Occlusion", {}),
    "input": ("Input", {}),
    "random": ("Random", {}),
}


def names() -> tuple[str, ...]:
    """The names that `explainer` takes: presets, then methods."""
    return (*presets.names(), *_METHODS)


def explainer(name: str, model: keras.Model, **parameters: Any) -> Explainer:
    """The preset's `Analyzer` or the method of that name.

    Args:
        name: one of `names`.
        model: a built Keras 3 model.
        **parameters: of the preset, or of the method.

    Raises:
        ValueError: for an unknown name, suggesting near ones.
    """
    if name in presets.names():
        known, _ = presets.describe(name)
        options = {key: parameters.pop(key) for key in list(parameters) if key not in known}
        from tf_lrp.analyzer import Analyzer

        return Analyzer(model, presets.preset(name, **parameters), **options)
    if name not in _METHODS:
        hint = did_you_mean(name, names(), cutoff=0.4)
        raise ValueError(f"There is no preset or method {name!r}.{hint} There are: {', '.join(names())}.")
    method, own = _METHODS[name]
    return getattr(methods, method)(model, **own, **parameters)


def markdown() -> str:
    """The table in Markdown."""
    lines = ["| preset or method | what it shows | needs | cost | sums to |", "|---|---|---|---|---|"]
    for e in CATALOG:
        lines.append(f"| {', '.join(f'`{n}`' for n in e.names)} | {e.shows} | {e.needs or '-'} | {e.cost} | {e.conserves} |")
    return "\n".join(lines)
