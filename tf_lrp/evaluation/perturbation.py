"""`tf_lrp.evaluation.measures.perturbation` under its earlier name."""

from tf_lrp.integrations.aliases import alias

alias(__name__, "tf_lrp.evaluation.measures.perturbation")
