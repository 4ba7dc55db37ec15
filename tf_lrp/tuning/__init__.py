"""The search for the preset that does best on data: which rules, on which layers, with which parameters."""

from tf_lrp.tuning.data import Data
from tf_lrp.tuning.metrics import METRICS, Explanations, Measurement, measure, register_metric
from tf_lrp.tuning.result import Tuned, Validation
from tf_lrp.tuning.search import REFERENCES, tune
from tf_lrp.tuning.space import Space

__all__ = [
    "METRICS",
    "REFERENCES",
    "Data",
    "Explanations",
    "Measurement",
    "Space",
    "Tuned",
    "Validation",
    "measure",
    "register_metric",
    "tune",
]
