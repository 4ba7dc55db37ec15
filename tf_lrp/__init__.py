"""tf_lrp: layer-wise relevance propagation for Keras models on TensorFlow."""

from typing import TYPE_CHECKING

from tf_lrp.lazy_names import lazy_names

__version__ = "0.1.0"

_MODULES = {
    "Analyzer": "analyzer",
    "NotAnalyzeableModelException": "innvestigate",
    "create_analyzer": "innvestigate",
    "load": "files.saved_models",
    "model_wo_output_activation": "innvestigate",
    "model_wo_softmax": "innvestigate",
    "Preset": "presets",
    "Stabilizer": "rules.stabilizer",
    "UnsupportedLayerError": "errors",
    "preset": "presets",
    "register_activation": "twins",
    "register_routing": "twins",
    "register_rule": "files.preset_json",
    "register_twin": "twins",
    "tune": "tuning",
    **{
        name: name
        for name in (
            "affine",
            "caffe",
            "callbacks",
            "data",
            "evaluation",
            "export",
            "heatmap",
            "innvestigate",
            "methods",
            "model_zoo",
            "presets",
            "rules",
            "select",
            "target",
            "tuning",
            "twins",
        )
    },
}

# The same names for editors and type checkers, which run nothing.
if TYPE_CHECKING:
    from tf_lrp import affine as affine
    from tf_lrp import caffe as caffe
    from tf_lrp import callbacks as callbacks
    from tf_lrp import data as data
    from tf_lrp import evaluation as evaluation
    from tf_lrp import export as export
    from tf_lrp import heatmap as heatmap
    from tf_lrp import innvestigate as innvestigate
    from tf_lrp import methods as methods
    from tf_lrp import model_zoo as model_zoo
    from tf_lrp import presets as presets
    from tf_lrp import rules as rules
    from tf_lrp import select as select
    from tf_lrp import target as target
    from tf_lrp import tuning as tuning
    from tf_lrp import twins as twins
    from tf_lrp.analyzer import Analyzer as Analyzer
    from tf_lrp.errors import UnsupportedLayerError as UnsupportedLayerError
    from tf_lrp.files.preset_json import register_rule as register_rule
    from tf_lrp.files.saved_models import load as load
    from tf_lrp.integrations.innvestigate import NotAnalyzeableModelException as NotAnalyzeableModelException
    from tf_lrp.integrations.innvestigate import create_analyzer as create_analyzer
    from tf_lrp.integrations.innvestigate import model_wo_output_activation as model_wo_output_activation
    from tf_lrp.integrations.innvestigate import model_wo_softmax as model_wo_softmax
    from tf_lrp.presets import Preset as Preset
    from tf_lrp.presets import preset as preset
    from tf_lrp.rules.stabilizer import Stabilizer as Stabilizer
    from tf_lrp.tuning import tune as tune
    from tf_lrp.twins import register_activation as register_activation
    from tf_lrp.twins import register_routing as register_routing
    from tf_lrp.twins import register_twin as register_twin

__all__ = sorted(_MODULES)  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
