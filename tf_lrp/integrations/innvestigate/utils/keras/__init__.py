"""Where iNNvestigate 1 keeps `graph.model_wo_softmax`."""

from tf_lrp.integrations.innvestigate.utils.keras import graph

__all__ = ["graph"]
