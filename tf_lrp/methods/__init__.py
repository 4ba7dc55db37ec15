"""Methods besides LRP: derivatives, smoothing, patterns, decompositions, occlusion, references.

tf_lrp.methods.GradCAM(model).analyze(x)
tf_lrp.methods.explainer("grad_cam", model).analyze(x)    # the same; presets, too, by their names
"""

from tf_lrp.methods.cam import GradCAM, GuidedGradCAM
from tf_lrp.methods.catalog import explainer
from tf_lrp.methods.checks import MethodWarning
from tf_lrp.methods.decompositions import DeepTaylor, ExcitationBackprop
from tf_lrp.methods.gradient import Gradient, InputTimesGradient
from tf_lrp.methods.integrated import Completeness, IntegratedGradients
from tf_lrp.methods.occlusion import Occlusion
from tf_lrp.methods.patterns import PatternAttribution, PatternNet, Patterns
from tf_lrp.methods.rectified import DeconvNet, GuidedBackprop
from tf_lrp.methods.smooth import SmoothGrad
from tf_lrp.methods.trivial import Input, Random

__all__ = [
    "Completeness",
    "DeconvNet",
    "DeepTaylor",
    "ExcitationBackprop",
    "GradCAM",
    "Gradient",
    "GuidedBackprop",
    "GuidedGradCAM",
    "Input",
    "InputTimesGradient",
    "IntegratedGradients",
    "MethodWarning",
    "Occlusion",
    "PatternAttribution",
    "PatternNet",
    "Patterns",
    "Random",
    "SmoothGrad",
    "explainer",
]
