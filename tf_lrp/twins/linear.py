"""The twin of every affine map: dense, convolution, average pooling, merging, unfolded batch normalization."""

from __future__ import annotations

import keras

from tf_lrp.rules import Pass, WinnerTakesAll
from tf_lrp.twins.base import Twin, distinct, with_relevance
from tf_lrp.twins.propagation import absorbed, propagate


class AffineTwin(Twin):
    """z = apply(x; kernel) + bias forward, the rule's formula backward.

    Args:
        affine: `Affine` of the node.
        nonnegative: bool, whether the inputs are known to be >= 0.
        operation, rule, name, dtype, arguments, takes: see `Twin`.
    """

    def __init__(self, operation, rule, name, dtype, arguments, affine, nonnegative, takes=()):
        if isinstance(rule, WinnerTakesAll):
            raise ValueError(f"The layer {name!r} ({type(operation).__name__}) has no winner, so it cannot take {rule}.")
        super().__init__(operation, rule, name, dtype, arguments, takes)
        self.affine, self.nonnegative = affine, nonnegative
        self.variable_owners = list(affine.layers)  # lets Keras track the shared variables

    def _evaluate(self, inputs):
        kernel = self.affine.kernel_at(inputs, self.compute_dtype)
        bias = self.affine.bias(inputs, kernel)
        z = self.affine.apply(inputs, kernel)
        return kernel, bias, z if bias is None else z + bias

    def call(self, *inputs):
        inputs = distinct(inputs)
        kernel, bias, z = self._evaluate(inputs)

        def backward(relevance):
            if isinstance(self.rule, Pass):
                return [relevance]
            return propagate(self.affine, self.rule, inputs, kernel, bias, z, relevance, self.nonnegative)

        return with_relevance(z, inputs, backward)

    def compute_output_spec(self, *inputs):
        args, kwargs = self._fill_in(inputs)
        spec = self.affine.output_spec(*args, **kwargs)
        return keras.KerasTensor(spec.shape, dtype=self.compute_dtype)

    def absorbed(self, inputs, relevance):
        if isinstance(self.rule, Pass):
            return {}
        kernel, bias, z = self._evaluate(inputs)
        return absorbed(self.affine, self.rule, inputs, kernel, bias, z, relevance, self.nonnegative)
