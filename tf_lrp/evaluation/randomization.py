"""`tf_lrp.evaluation.measures.randomization` under its earlier name."""

from tf_lrp.integrations.aliases import alias

alias(__name__, "tf_lrp.evaluation.measures.randomization")
