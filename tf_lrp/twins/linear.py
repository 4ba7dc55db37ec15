"""The twin of every affine map: dense, convolution, average pooling, merging, unfolded batch normalization."""

from __future__ import annotations

import keras

from tf_lrp.rules import Pass, WinnerTakesAll
from tf_lrp.twins.base import NOTHING, Twin, distinct, with_relevance
from tf_lrp.twins.propagation import Propagation, evaluate


class AffineTwin(Twin):
    """z = apply(x; kernel) + bias forward, the rule's formula backward.

    Args:
        affine: `Affine` of the node.
        nonnegative: bool, whether the inputs are known to be >= 0.
        known: `Known` of the output; one that is cut off is max(z, 0).
        operation, rule, name, dtype, arguments, takes: see `Twin`.
    """

    def __init__(self, operation, rule, name, dtype, arguments, affine, nonnegative, known=NOTHING, takes=()):
        if isinstance(rule, WinnerTakesAll):
            raise ValueError(f"The layer {name!r} ({type(operation).__name__}) has no winner, so it cannot take {rule}.")
        try:
            affine.check(rule)
        except ValueError as error:
            raise ValueError(f"The layer {name!r} ({type(operation).__name__}) cannot take the rule: {error}.") from None
        super().__init__(operation, rule, name, dtype, arguments, takes)
        self.affine, self.nonnegative, self.known = affine, nonnegative, known
        self.variable_owners = list(affine.layers)  # lets Keras track the shared variables

    def call(self, *inputs):
        inputs = distinct(inputs)
        if isinstance(self.rule, Pass):
            return with_relevance(evaluate(self.affine, inputs, self.compute_dtype), inputs, lambda relevance: [relevance])
        way = self._way(inputs)
        return with_relevance(way.z, inputs, way.propagate)

    def _way(self, inputs):
        return Propagation(self.affine, self.rule, inputs, self.compute_dtype, self.nonnegative, self.known)

    def compute_output_spec(self, *inputs):
        args, kwargs = self._fill_in(inputs)
        spec = self.affine.output_spec(*args, **kwargs)
        return keras.KerasTensor(spec.shape, dtype=self.compute_dtype)

    def absorbed(self, inputs, relevance):
        return {} if isinstance(self.rule, Pass) else self._way(inputs).absorbed(relevance)
