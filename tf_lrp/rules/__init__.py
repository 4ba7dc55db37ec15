"""The rules of layer-wise relevance propagation, each as close to its formula as code can be.

A rule says how the relevance R_j of a layer's outputs is shared among its inputs a_i. All rules here have one form,

    R_i = sum over terms t of  c_t  sum_j  sum_p  f_p(a_i) g_p(w_ij) / stab(z_tj)  R_j,
    z_tj = sum_i sum_p f_p(a_i) g_p(w_ij) + h(b_j),

so a rule is a list of `Term`s: a coefficient c, pairs of maps (f, g) of the activation and the kernel, a map h of the bias and
a `Stabilizer` (1e-6 for the rules that split signs, as in zennit; none for z, w^2, flat and z-box). Only `Sign` has other pairs
in the numerator than in the denominator. A rule does not depend on the layer: the layer defines what a_i w_ij means.

Sources:
    [1] Bach et al. 2015, "On pixel-wise explanations for non-linear classifier decisions by LRP", PLOS ONE 10(7).
    [2] Montavon et al. 2017, "Explaining nonlinear classification decisions with deep Taylor decomposition".
    [3] Montavon et al. 2019, "Layer-wise relevance propagation: an overview".
    [4] Lapuschkin et al. 2017, "Understanding and comparing deep neural networks for age and gender classification".
    [5] VisLRPDesigner user guide, equation 2.1 and table 2.1.
    [6] Arras et al. 2017, "Explaining recurrent neural network predictions in sentiment analysis".
    [7] Ali et al. 2022, "XAI for transformers: better explanations through conservative propagation".
    [8] Achtibat et al. 2024, "AttnLRP: attention-aware layer-wise relevance propagation for transformers".
    [9] Gumpfer et al. 2023, "SIGNed explanations: unveiling relevant features by reducing bias", Information Fusion 99.
    [10] Lapuschkin et al. 2016, "The LRP Toolbox for artificial neural networks", and its manual, equations 8 to 15.
    [11] Binder et al. 2016, "Layer-wise relevance propagation for neural networks with local renormalization layers".
"""

from __future__ import annotations

from tf_lrp.rules.base import Rule, Term
from tf_lrp.rules.contribution import Epsilon, ZRule
from tf_lrp.rules.first_layer import Flat, Sign, WSquare, ZBox
from tf_lrp.rules.maps import AddGamma, identity, negative, ones, positive, split_by_sign, square
from tf_lrp.rules.routing import Pass, Renormalization, SignalTakesAll, Stop, Taylor, Uniform, WinnerTakesAll
from tf_lrp.rules.signs import Alpha, AlphaBeta, Gamma, ZPlus
from tf_lrp.rules.stabilizer import Stabilizer
from tf_lrp.rules.unified import Unified

__all__ = [
    "AddGamma",
    "Alpha",
    "AlphaBeta",
    "Epsilon",
    "Flat",
    "Gamma",
    "Pass",
    "Renormalization",
    "Rule",
    "Sign",
    "SignalTakesAll",
    "Stabilizer",
    "Stop",
    "Taylor",
    "Term",
    "Unified",
    "Uniform",
    "WSquare",
    "WinnerTakesAll",
    "ZBox",
    "ZPlus",
    "ZRule",
    "identity",
    "negative",
    "ones",
    "positive",
    "split_by_sign",
    "square",
]

# The public place of a rule, for messages and pickles: the modules of this package may change.
for _rule in (Alpha, AlphaBeta, Epsilon, Flat, Gamma, Pass, Renormalization, Sign, SignalTakesAll, Stop, Taylor, Unified,
              Uniform, WSquare, WinnerTakesAll, ZBox, ZPlus, ZRule):  # fmt: skip
    _rule.__module__ = __name__
