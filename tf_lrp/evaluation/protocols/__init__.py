"""Whole evaluations, one protocol a module, each with the same functions in the same order:

task(...)            function of a `Batch` that measures it, on the device
tables(log, ...)     what was measured, as tables (and curves)
draw(curves, ...)    the protocol's figure
run(evaluation, ...) all of it: measures the pictures of an `EvaluationRun`, writes tables and figures into its folder
"""

from tf_lrp.evaluation.protocols import context, localization, perturbation, sanity

__all__ = ["context", "localization", "perturbation", "sanity"]
