"""iNNvestigate's analyzers by the names of its classes: ``analyzer.LRPEpsilon(model, epsilon=1)``.

Each is `create_analyzer` with a name; ``analyzers`` is the table from its names to what builds them.
"""

from __future__ import annotations

import functools

from tf_lrp.errors import UnsupportedLayerError as NotAnalyzeableModelException
from tf_lrp.integrations.innvestigate.create import NAMES, create_analyzer

__all__ = ["NotAnalyzeableModelException", "analyzers", "create_analyzer"]

#: Name for `create_analyzer` -> what it builds an analyzer with: a function of a model and arguments.
analyzers = {name: functools.partial(create_analyzer, name) for name in NAMES}

#: Its class -> name for `create_analyzer`.
_CLASSES = {
    "Input": "input",
    "Random": "random",
    "Gradient": "gradient",
    "BaselineGradient": "gradient.baseline",
    "InputTimesGradient": "input_t_gradient",
    "Deconvnet": "deconvnet",
    "GuidedBackprop": "guided_backprop",
    "IntegratedGradients": "integrated_gradients",
    "SmoothGrad": "smoothgrad",
    "LRP": "lrp",
    "LRPZ": "lrp.z",
    "LRPZIgnoreBias": "lrp.z_IB",
    "LRPEpsilon": "lrp.epsilon",
    "LRPEpsilonIgnoreBias": "lrp.epsilon_IB",
    "LRPWSquare": "lrp.w_square",
    "LRPFlat": "lrp.flat",
    "LRPAlphaBeta": "lrp.alpha_beta",
    "LRPAlpha2Beta1": "lrp.alpha_2_beta_1",
    "LRPAlpha2Beta1IgnoreBias": "lrp.alpha_2_beta_1_IB",
    "LRPAlpha1Beta0": "lrp.alpha_1_beta_0",
    "LRPAlpha1Beta0IgnoreBias": "lrp.alpha_1_beta_0_IB",
    "LRPZPlus": "lrp.z_plus",
    "LRPZPlusFast": "lrp.z_plus_fast",
    "LRPRuleUntilIndex": "lrp.rule_until_index",
    "LRPSequentialPresetA": "lrp.sequential_preset_a",
    "LRPSequentialPresetB": "lrp.sequential_preset_b",
    "LRPSequentialPresetAFlat": "lrp.sequential_preset_a_flat",
    "LRPSequentialPresetBFlat": "lrp.sequential_preset_b_flat",
    "LRPSequentialPresetBFlatUntilIndex": "lrp.sequential_preset_b_flat_until_idx",
    "DeepTaylor": "deep_taylor",
    "BoundedDeepTaylor": "deep_taylor.bounded",
    "PatternNet": "pattern.net",
    "PatternAttribution": "pattern.attribution",
}
globals().update({name: analyzers[_CLASSES[name]] for name in _CLASSES})
__all__ += list(_CLASSES)  # pyright: ignore[reportUnsupportedDunderAll]
