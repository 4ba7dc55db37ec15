"""What all explainers share: inputs, neuron selection, batches, compiled passes, sessions, the layer of an explanation."""

from tf_lrp.explain.session import Session as Session
