"""Models without the activation at their output, where iNNvestigate 1 keeps them."""

from tf_lrp.integrations.innvestigate.models import model_wo_output_activation, model_wo_softmax

__all__ = ["model_wo_output_activation", "model_wo_softmax"]
