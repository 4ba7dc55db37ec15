"""tf_lrp: layer-wise relevance propagation for Keras 3 models on TensorFlow."""

from tf_lrp import heatmap, model_zoo, presets, rules, select, twins
from tf_lrp.analyzer import Analyzer
from tf_lrp.errors import UnsupportedLayerError
from tf_lrp.presets import Preset, preset
from tf_lrp.stabilizer import Stabilizer
from tf_lrp.twins import twin_for

__version__ = "0.1.0"

__all__ = [
    "Analyzer",
    "Preset",
    "Stabilizer",
    "UnsupportedLayerError",
    "heatmap",
    "model_zoo",
    "preset",
    "presets",
    "rules",
    "select",
    "twin_for",
    "twins",
]
