"""An explanation as part of a Functional model."""

from __future__ import annotations

import functools

import keras


class ExplanationLayer(keras.layers.Layer):
    """An explainer as a layer of a Functional model; its weights are those of the explained model.

    Args:
        explainer: `Explainer`.
        layers, output, dtype: as for `Explainer.analyze`.
    """

    def __init__(self, explainer, layers=None, output=None, dtype=None):
        # It casts nothing: the explainer reads inputs in the types that it needs.
        super().__init__(autocast=False, dtype=explainer.twin.outputs[0].dtype)
        self.explain = functools.partial(explainer, layers=layers, output=output, dtype=dtype)
        self.twin = explainer.twin

    def call(self, x, neuron_selection=None):
        return self.explain(x, neuron_selection)

    def get_config(self):
        raise NotImplementedError("A model with an explanation in it is not saved by Keras: use the analyzer's export(path).")
