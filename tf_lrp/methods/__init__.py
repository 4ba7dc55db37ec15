"""Methods besides LRP: derivatives, smoothing, patterns, decompositions, occlusion, references.

tf_lrp.methods.GradCAM(model).analyze(x)
tf_lrp.methods.explainer("grad_cam", model).analyze(x)    # the same; presets, too, by their names
"""

from typing import TYPE_CHECKING

from tf_lrp.lazy_names import lazy_names

_MODULES = {
    "Completeness": "integrated",
    "DeconvNet": "rectified",
    "DeepTaylor": "decompositions",
    "ExcitationBackprop": "decompositions",
    "GradCAM": "cam",
    "Gradient": "gradient",
    "GuidedBackprop": "rectified",
    "GuidedGradCAM": "cam",
    "Input": "trivial",
    "InputTimesGradient": "gradient",
    "IntegratedGradients": "integrated",
    "MethodWarning": "checks",
    "Occlusion": "occlusion",
    "PatternAttribution": "patterns",
    "PatternNet": "patterns",
    "Patterns": "patterns",
    "Random": "trivial",
    "SmoothGrad": "smooth",
    "explainer": "catalog",
}

# The same names for editors and type checkers, which run nothing.
if TYPE_CHECKING:
    from tf_lrp.methods.cam import GradCAM as GradCAM
    from tf_lrp.methods.cam import GuidedGradCAM as GuidedGradCAM
    from tf_lrp.methods.catalog import explainer as explainer
    from tf_lrp.methods.checks import MethodWarning as MethodWarning
    from tf_lrp.methods.decompositions import DeepTaylor as DeepTaylor
    from tf_lrp.methods.decompositions import ExcitationBackprop as ExcitationBackprop
    from tf_lrp.methods.gradient import Gradient as Gradient
    from tf_lrp.methods.gradient import InputTimesGradient as InputTimesGradient
    from tf_lrp.methods.integrated import Completeness as Completeness
    from tf_lrp.methods.integrated import IntegratedGradients as IntegratedGradients
    from tf_lrp.methods.occlusion import Occlusion as Occlusion
    from tf_lrp.methods.patterns import PatternAttribution as PatternAttribution
    from tf_lrp.methods.patterns import PatternNet as PatternNet
    from tf_lrp.methods.patterns import Patterns as Patterns
    from tf_lrp.methods.rectified import DeconvNet as DeconvNet
    from tf_lrp.methods.rectified import GuidedBackprop as GuidedBackprop
    from tf_lrp.methods.smooth import SmoothGrad as SmoothGrad
    from tf_lrp.methods.trivial import Input as Input
    from tf_lrp.methods.trivial import Random as Random

__all__ = sorted(_MODULES)  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
