"""The engine of the protocols: batches of a data set, the log of what was measured, and the run that ties them together."""

from tf_lrp.evaluation.engine.batch import Batch, batches, compiled_step
from tf_lrp.evaluation.engine.evaluation_run import EvaluationRun, method_names, scores_model
from tf_lrp.evaluation.engine.log import Measured, MeasurementLog, measure_missing

__all__ = [
    "Batch",
    "EvaluationRun",
    "Measured",
    "MeasurementLog",
    "batches",
    "compiled_step",
    "measure_missing",
    "method_names",
    "scores_model",
]
