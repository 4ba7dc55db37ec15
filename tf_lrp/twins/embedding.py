"""Embeddings: the relevance of a token is the sum over its embedding vector."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import layers

from tf_lrp.keras_compat import keras_classes
from tf_lrp.rules import Pass
from tf_lrp.twins.base import Twin, with_relevance
from tf_lrp.twins.registry import register_twin


class _LookUp(Twin):
    """Rows of a table, at indices that depend on the model's inputs (and so are represented as floats)."""

    kinds = frozenset({"structural"})
    rules = (Pass,)

    def look_up(self, inputs, made):
        """The rows; the relevance of an index is the sum over the axes that the look-up adds.

        Args:
            inputs: list of tensors.
            made: (rank of the rows, rank of the indices) -> list of these axes.
        """
        (indices,) = self.taking(inputs)
        rows = self.compute(*[tf.cast(x, tf.int32) if x is indices else x for x in inputs])
        axes = made(rows.shape.rank, indices.shape.rank)
        return with_relevance(rows, [indices], lambda relevance: [tf.reduce_sum(relevance, axes)])


@register_twin(layers.Embedding, *keras_classes.operation_classes("OneHot"))
class EmbeddingTwin(_LookUp):
    """y[..., :] = E[i[...], :] forward, R_i = sum_d R_y[..., d] backward."""

    kinds = frozenset({"embedding"})

    def call(self, *inputs):
        axis = getattr(self.operation, "axis", -1)  # where one_hot puts its classes
        return self.look_up(inputs, lambda rank, _: [axis % rank])


@register_twin(*keras_classes.operation_classes("Take", "TakeAlongAxis"))
class TakeTwin(_LookUp):
    """keras.ops.take. If the indices depend on the model's inputs it is an embedding; else relevance goes to the values."""

    def __init__(self, operation, rule, name, dtype, arguments, takes=()):
        super().__init__(operation, rule, name, dtype, arguments, takes)
        args, kwargs = arguments
        self.values_are_given = isinstance((args or (kwargs["x"],))[0], keras.KerasTensor) and (not takes or takes[0])

    @classmethod
    def takers(cls, signals):
        return (True, *[False] * (len(signals) - 1)) if signals[0] else signals

    def call(self, *inputs):
        if self.values_are_given:
            return self.compute(inputs[0], *[tf.cast(x, tf.int32) for x in inputs[1:]])
        axis = self.operation.axis

        def made(rank, index_rank):
            if axis is None or type(self.operation).__name__ == "TakeAlongAxis":  # one value for each index
                return []
            # (*before, indices, *behind): the table's axes lie around those of the indices.
            first = axis % (rank - index_rank + 1)
            return [a for a in range(rank) if not first <= a < first + index_rank]

        return self.look_up(inputs, made)
