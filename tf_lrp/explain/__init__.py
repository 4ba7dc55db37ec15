"""What all explainers share: inputs, neuron selection, batches, compiled passes, the layer of an explanation."""
