"""The twin of every affine map: dense, convolution, average pooling, merging, unfolded batch normalization."""

from __future__ import annotations

import keras
import tensorflow as tf

from tf_lrp.rules import Pass, WinnerTakesAll
from tf_lrp.twins.base import Twin, distinct, with_relevance
from tf_lrp.twins.plan import DEFAULT_PLAN
from tf_lrp.twins.planned import propagation
from tf_lrp.twins.propagation import Propagation, evaluate


class AffineTwin(Twin):
    """z = apply(x; kernel) + bias forward, the rule's formula backward.

    Args:
        affine: `Affine` of the node.
        plan: `Plan` of how z and relevance are computed.
        operation, rule, name, dtype, arguments, takes: see `Twin`.
    """

    follows_plan = True

    def __init__(self, operation, rule, name, dtype, arguments, affine, plan=DEFAULT_PLAN, takes=()):
        if isinstance(rule, WinnerTakesAll):
            raise ValueError(f"The layer {name!r} ({type(operation).__name__}) has no winner, so it cannot take {rule}.")
        try:
            affine.check(rule)
        except ValueError as error:
            raise ValueError(f"The layer {name!r} ({type(operation).__name__}) cannot take the rule: {error}.") from None
        super().__init__(operation, rule, name, dtype, arguments, takes)
        self.keep(affine=affine, plan=plan)
        self.variable_owners = list(affine.layers)  # lets Keras track the shared variables

    def call(self, *inputs):
        inputs = distinct(inputs)
        values = [tf.stop_gradient(x) for x in inputs]  # a tape would keep what is computed with them
        if isinstance(self.rule, Pass):
            # The layer's own call rounds as the model does.
            whole = self.affine.is_whole_layer
            z = self.compute(*values) if whole else evaluate(self.affine, values, self.compute_dtype)
            return with_relevance(z, inputs, lambda relevance: [relevance])
        explained = propagation(self.affine, self.rule, values, self.compute_dtype, self.plan)
        return with_relevance(explained.z, inputs, explained.propagate)

    def compute_output_spec(self, *inputs):
        args, kwargs = self.arguments_for(inputs)
        spec = self.affine.output_spec(*args, **kwargs)
        return keras.KerasTensor(spec.shape, dtype=self.compute_dtype)

    def absorbed(self, inputs, relevance):
        if isinstance(self.rule, Pass):
            return {}
        return Propagation(self.affine, self.rule, inputs, self.compute_dtype).absorbed(relevance)
