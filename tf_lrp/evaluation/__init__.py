"""How good explanations are: where relevance lands, whether it is faithful, and whether it depends on what the model learned.

- `measures`: numbers computed from arrays and models, one topic a module; also importable as `tf_lrp.evaluation.localization`,
  `complexity`, `perturbation`, `randomization`, `robustness` and `similarity`.
- `datasets`: annotated pictures.
- `protocols`: whole evaluations as the command line runs them: localization, context, perturbation, sanity. Each module has
  what is measured on a batch, the tables and the figures.
- `engine`: batches of a data set, the log from which an interrupted evaluation is resumed, and the `EvaluationRun`.
- `tables`, `figures`: means with standard errors, tables, curves and bars.
- `report`: the results of all evaluations on one HTML page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tf_lrp.lazy_names import lazy_names

if TYPE_CHECKING:
    from tf_lrp.evaluation import datasets, engine, figures, measures, protocols, report, tables
    from tf_lrp.evaluation.measures import complexity, localization, perturbation, randomization, robustness, similarity

__all__ = [
    "complexity",
    "datasets",
    "engine",
    "figures",
    "localization",
    "measures",
    "perturbation",
    "protocols",
    "randomization",
    "report",
    "robustness",
    "similarity",
    "tables",
]

# The measures need TensorFlow, the data sets and the report do not.
__getattr__, __dir__ = lazy_names(__name__, {name: name for name in __all__})
