"""The search for the preset that does best on given data: which rule on which layers, and with which parameters."""

from tf_lrp.tuning.data import Data
from tf_lrp.tuning.metrics import METRICS, Measurement, measure
from tf_lrp.tuning.result import Tuned, Validation
from tf_lrp.tuning.search import REFERENCES, tune
from tf_lrp.tuning.space import Space

__all__ = ["METRICS", "REFERENCES", "Data", "Measurement", "Space", "Tuned", "Validation", "measure", "tune"]
