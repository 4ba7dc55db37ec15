"""From a Keras model to its twin: unroll, canonize, facts, rewrite."""

from tf_lrp.graph.canonize import canonize
from tf_lrp.graph.rewrite import Rewritten, Step, rewrite
from tf_lrp.graph.unroll import unroll

__all__ = ["Rewritten", "Step", "canonize", "rewrite", "unroll"]
