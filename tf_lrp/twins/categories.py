"""Preprocessing inside the model: relevance ends at the category, token or text that a layer looks up."""

from __future__ import annotations

import tensorflow as tf
from keras import layers

from tf_lrp.keras_compat import preprocessing
from tf_lrp.keras_compat.own_operations import Entries, WithEntries, layer_of
from tf_lrp.rules import Pass
from tf_lrp.rules.stabilizer import Stabilizer
from tf_lrp.twins.base import Twin, with_relevance
from tf_lrp.twins.gradient import like
from tf_lrp.twins.registry import register_twin

#: Layers that turn strings and numbers into codes, or into vectors with an entry for each category.
CATEGORY_LAYERS = (
    layers.CategoryEncoding, layers.IntegerLookup, layers.StringLookup, layers.Hashing, layers.HashedCrossing,
    layers.Discretization, layers.TextVectorization,
)  # fmt: skip


@register_twin(Entries)
class EntriesTwin(Twin):
    """Numbers beside strings and integers, which take their relevance."""

    kinds = frozenset({"structural"})
    rules = (Pass,)

    def call(self, x):
        return self.compute(x)


@register_twin(*CATEGORY_LAYERS, WithEntries)
class CategoryTwin(Twin):
    """Codes, or vectors over the categories, forward; backward each entry of the input takes the relevance of its categories.

    - Codes ("int"), and a vector for each entry ("one_hot", texts): R_i is the sum over the outputs made from entry i.
    - A vector for several entries ("multi_hot", "count", "tf_idf"): the n_k entries of the category k share R_k evenly. Rules
      that give something to zeros (the flat one) leave relevance with categories that do not occur: all entries share it.
    - The relevance of a pair of entries (`HashedCrossing`) is shared evenly between the two.

    Where `CategoryEncoding` counts with weights that depend on the model's inputs, these take all: R_i = w_i / y_k R_k.
    """

    kinds = frozenset({"embedding"})
    rules = (Pass,)

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.layer = layer_of(self.operation)
        if preprocessing.category_mode(self.layer) == "int" and preprocessing.number_of_categories(self.layer) > _largest_exact(
            self.compute_dtype
        ):
            raise ValueError(
                f"The layer {self.name!r} ({type(self.layer).__name__}) makes "
                f"{preprocessing.number_of_categories(self.layer)} codes, but "
                f"{self.compute_dtype} distinguishes only {_largest_exact(self.compute_dtype)}: explain the model in float64."
            )

    def run(self, inputs):
        # Codes from other layers are represented as floats.
        return super().run([like(x, t) for x, t in zip(inputs, self.symbolic_inputs, strict=True)])

    def call(self, *inputs):
        taking = self.taking(inputs)

        def backward(relevance):
            if isinstance(self.layer, layers.HashedCrossing):
                return [self._of_each(relevance, x) / len(taking) for x in taking]
            return [self._shared(relevance, inputs, taking[0])]

        return with_relevance(self.compute(*inputs), taking, backward)

    def _of_each(self, relevance, x):
        """The sum over the outputs made from each entry."""
        return tf.reduce_sum(tf.reshape(relevance, tf.concat([tf.shape(x), [-1]], 0)), -1)

    def _shared(self, relevance, inputs, x):
        mode = preprocessing.category_mode(self.layer)
        as_texts = isinstance(self.layer, layers.TextVectorization) and (x.shape.rank == 1 or x.shape[1] == 1)
        if as_texts or mode == "one_hot" or (mode != "int" and x.shape[1] == 1):
            return self._of_each(relevance, x)
        if mode == "int":  # texts that are not split may be cut or padded
            missing = tf.maximum(tf.shape(x)[-1] - tf.shape(relevance)[-1], 0)
            padded = tf.pad(relevance, [*[[0, 0]] * (x.shape.rank - 1), [0, missing]])
            return tf.reshape(padded[..., : tf.shape(x)[-1]], tf.shape(x))
        return self._of_members(relevance, inputs, x)

    def _of_members(self, relevance, inputs, x):
        """Relevance of categories (N, K), passed to the entries (N, L) that belong to them."""
        first = self.operation.count if isinstance(self.operation, WithEntries) else 0
        values = like(inputs[first], self.symbolic_inputs[first])
        categories, known = tf.cast(preprocessing.categories_of(self.layer, values), tf.int32), tf.shape(relevance)[-1]
        categories = tf.where((categories >= 0) & (categories < known), categories, known)  # the last one means: no category
        counts = self._counts(categories, known, None, relevance.dtype)
        if x is inputs[0]:
            shares, weights = tf.math.divide_no_nan(relevance, counts), tf.ones_like(x)
        else:  # the weights with which entries are counted
            shares, weights = Stabilizer().divide(relevance, self._counts(categories, known, x, x.dtype)), x
        own = tf.gather(tf.pad(shares, [[0, 0], [0, 1]]), categories, batch_dims=1) * weights
        of_absent = tf.reduce_sum(tf.where(counts > 0, tf.zeros_like(relevance), relevance), -1, keepdims=True)
        return own + of_absent / tf.cast(tf.shape(x)[-1], x.dtype)

    @staticmethod
    def _counts(categories, known, weights, dtype):
        counts = tf.math.bincount(categories, weights, minlength=known, maxlength=known, axis=-1, dtype=tf.int32)
        return tf.cast(counts, dtype)


@register_twin(layers.CategoryEncoding)
class CategoryEncodingTwin(CategoryTwin):
    __doc__ = CategoryTwin.__doc__

    @classmethod
    def takers(cls, signals):
        return (False, True) if signals[1:] == (True,) else signals


def _largest_exact(dtype):
    return 2 ** (53 if dtype == "float64" else 24)
