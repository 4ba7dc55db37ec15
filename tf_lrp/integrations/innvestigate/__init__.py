"""iNNvestigate's names and arguments, on Keras 3.

    import tf_lrp.innvestigate as innvestigate

    analyzer = innvestigate.create_analyzer("lrp.sequential_preset_a_flat", innvestigate.model_wo_softmax(model))
    relevance = analyzer.analyze(x)

Its modules for users are here under their names: ``analyzer``, ``utils`` (with ``visualizations`` and ``keras.graph``) and
``tools``. docs/from-innvestigate.md goes through them call by call, and lists where results differ on purpose.
"""

from tf_lrp import __version__
from tf_lrp.errors import UnsupportedLayerError as NotAnalyzeableModelException
from tf_lrp.integrations.innvestigate.create import NAMES, CreatedAnalyzer, create_analyzer
from tf_lrp.integrations.innvestigate.models import model_wo_output_activation, model_wo_softmax

from tf_lrp.integrations.innvestigate import analyzer, tools, utils  # isort: skip, they need the names above

__all__ = [
    "NAMES",
    "CreatedAnalyzer",
    "NotAnalyzeableModelException",
    "__version__",
    "analyzer",
    "create_analyzer",
    "model_wo_output_activation",
    "model_wo_softmax",
    "tools",
    "utils",
]
