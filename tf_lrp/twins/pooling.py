"""Max-pooling and maximum: the winner takes all relevance, or another rule is applied to the average of the window."""

from __future__ import annotations

import functools
import itertools

import tensorflow as tf
from keras import layers

from tf_lrp.affine.merging import align
from tf_lrp.affine.pooling import WindowAverage
from tf_lrp.keras_compat import keras_classes
from tf_lrp.keras_compat.own_layers import ClippedMaxPooling2D
from tf_lrp.rules import Pass, WinnerTakesAll
from tf_lrp.twins.activation import PassTwin
from tf_lrp.twins.base import Twin, distinct, with_relevance
from tf_lrp.twins.plan import DEFAULT_PLAN
from tf_lrp.twins.planned import propagation
from tf_lrp.twins.propagation import Propagation
from tf_lrp.twins.registry import register_twin


def winners(candidates, ties):
    """Each candidate's share along the last axis: 1 for the largest. Equal candidates share, or the first of them takes all.

    Args:
        candidates: tensor (..., n).
        ties: "first" or "share".

    Returns:
        Tensor (..., n) that sums to 1 over the last axis.
    """
    if ties == "first":
        return tf.one_hot(tf.argmax(candidates, axis=-1), tf.shape(candidates)[-1], dtype=candidates.dtype)
    equal = tf.cast(candidates == tf.reduce_max(candidates, axis=-1, keepdims=True), candidates.dtype)
    return equal / tf.reduce_sum(equal, axis=-1, keepdims=True)


class _MaximumTwin(Twin):
    """Relevance goes to the winner among candidates, which a subclass arranges along the last axis."""

    rules = (WinnerTakesAll,)
    default_rule = WinnerTakesAll()
    is_arithmetic = True

    @classmethod
    def is_nonnegative(cls, operation, call, known):
        if cls.sign > 0:
            return any(map(known, call.operands))
        initial = getattr(operation, "initial", None)
        return all(map(known, call.operands)) and (initial is None or known(initial))

    def candidates(self, inputs):
        """Tensor (*shape of the output, n) of the candidates for each output, linear in the inputs."""
        raise NotImplementedError(f"{type(self).__name__} does not define its candidates")

    def call(self, *inputs):
        inputs = distinct([tf.cast(x, self.compute_dtype) for x in inputs])  # one of them may be a mask

        def backward(relevance):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(inputs)
                candidates = self.candidates(inputs)
            # The relevance may lack axes of size 1 that the layer dropped.
            relevance = tf.reshape(relevance, tf.shape(candidates)[:-1])
            shares = winners(self.sign * candidates, self.rule.ties) * relevance[..., tf.newaxis]
            return tape.gradient(candidates, inputs, output_gradients=shares)

        return with_relevance(self.compute(*inputs), inputs, backward)

    sign = 1


@register_twin(layers.Maximum, keras_classes.Maximum)
class MaximumTwin(_MaximumTwin):
    """max(x_0, x_1, ...), element by element; inputs broadcast. With numbers alone, max(x, 0) is a function of x."""

    kinds = frozenset({"merge", "maximum"})

    @classmethod
    def variant(cls, operation, signals):
        return cls if len(signals) > 1 else PassTwin

    def candidates(self, inputs):
        if isinstance(self.operation, layers.Layer):
            inputs = align(inputs)
        shape = functools.reduce(tf.broadcast_dynamic_shape, map(tf.shape, inputs))
        return tf.stack([tf.broadcast_to(x, shape) for x in inputs], axis=-1)


@register_twin(layers.Minimum, keras_classes.Minimum)
class MinimumTwin(MaximumTwin):
    """min(x_0, x_1, ...): the smallest takes the relevance."""

    kinds = frozenset({"merge", "minimum"})
    sign = -1


class _MaxPoolingTwin(_MaximumTwin):
    """Max-pooling by winner-takes-all, or by any rule with terms over the window's average.

    Args:
        operation, rule, name, dtype, arguments, takes: see `Twin`.
        plan: `Plan` of how the relevance is computed, for a rule with terms.
    """

    kinds = frozenset({"pooling", "max_pooling"})
    rules = ()

    def __init__(self, operation, rule, name, dtype, arguments, takes=(), plan=DEFAULT_PLAN):
        super().__init__(operation, rule, name, dtype, arguments, takes)
        self.window, self.plan = WindowAverage(operation), plan

    def call(self, x):
        if isinstance(self.rule, WinnerTakesAll):
            return super().call(x)
        average = propagation(self.window, self.rule, [x], self.compute_dtype, self.plan)
        return with_relevance(self.compute(x), [x], average.propagate)

    def absorbed(self, inputs, relevance):
        if isinstance(self.rule, WinnerTakesAll):
            return {}
        return Propagation(self.window, self.rule, inputs, self.compute_dtype).absorbed(relevance)


@register_twin(layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D, layers.GlobalMaxPooling3D)
class GlobalMaxPoolingTwin(_MaxPoolingTwin):
    """The largest value of each channel."""

    kinds = frozenset({"pooling", "max_pooling", "global_pooling"})

    def candidates(self, inputs):
        (x,) = inputs
        if self.operation.data_format == "channels_first":
            return tf.reshape(x, tf.concat([tf.shape(x)[:2], [-1]], 0))
        flat = tf.reshape(x, tf.stack([tf.shape(x)[0], -1, tf.shape(x)[-1]]))
        return tf.transpose(flat, (0, 2, 1))


@register_twin(*keras_classes.operation_classes("Max", "Amax"))
class MaxTwin(_MaximumTwin):
    """keras.ops.max: the largest value along axes."""

    kinds = frozenset({"pooling", "max_pooling", "global_pooling"})
    remainder = "bias"

    def candidates(self, inputs):
        (x,) = inputs
        axis, rank = self.operation.axis, x.shape.rank
        axes = list(range(rank)) if axis is None else [a % rank for a in (axis if isinstance(axis, (list, tuple)) else [axis])]
        others = [a for a in range(rank) if a not in axes]
        kept = tf.gather(tf.shape(x), tf.constant(others, tf.int32))  # typed, as there may be none
        candidates = tf.reshape(tf.transpose(x, others + axes), tf.concat([kept, [-1]], 0))
        initial = getattr(self.operation, "initial", None)
        if initial is None:
            return candidates
        # The initial value is a candidate, too, and keeps the relevance that it wins.
        return tf.concat(
            [candidates, tf.fill([*tf.unstack(tf.shape(candidates))[:-1], 1], tf.cast(initial, candidates.dtype))], axis=-1
        )


@register_twin(*keras_classes.operation_classes("Min", "Amin"))
class MinTwin(MaxTwin):
    """keras.ops.min: the smallest value along axes."""

    sign = -1


@register_twin(
    *keras_classes.layer_classes("AdaptiveMaxPooling1D", "AdaptiveMaxPooling2D", "AdaptiveMaxPooling3D"),
    *keras_classes.operation_classes("MaxPool"),
)
class WinnerTwin(Twin):
    """Pooling by TensorFlow's own gradient, which finds the winners. Equal candidates share where that gradient shares."""

    kinds = frozenset({"pooling", "max_pooling"})
    default_rule = WinnerTakesAll()
    rules = (WinnerTakesAll, Pass)
    keeps_nonnegative = True
    is_arithmetic = True

    def call(self, x):
        return self.compute(x)


@register_twin(*keras_classes.operation_classes("TopK"))
class TopKTwin(WinnerTwin):
    """The largest values, which are picked and not merged, and their places, which take no relevance."""

    kinds = frozenset({"structural"})
    default_rule = Pass()

    def call(self, x):
        values, places = self.run([x])
        return values, tf.stop_gradient(tf.cast(places, self.compute_dtype))


@register_twin(layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D)
class MaxPoolingTwin(_MaxPoolingTwin):
    """The largest value of each window."""

    def call(self, x):
        # TensorFlow's own gradient goes to the first of equal candidates already, in one operation.
        if self.rule == WinnerTakesAll("first") and len(self.operation.pool_size) < 3:
            return self.compute(x)
        return super().call(x)

    def candidates(self, inputs):
        (x,) = inputs
        layer = self.operation
        if layer.data_format == "channels_first":
            rank = x.shape.rank
            x = tf.transpose(x, (0, *range(2, rank), 1))
            return tf.transpose(self._windows(x), (0, rank - 1, *range(1, rank - 1), rank))
        return self._windows(x)

    def _windows(self, x):
        """(N, *outputs, C, taps): one strided slice of the padded input for each tap of the window."""
        layer, axes = self.operation, range(1, x.shape.rank - 1)
        lowest, sizes, slices = x.dtype.min, [], []
        paddings = [[0, 0]]
        for axis, size, stride in zip(axes, layer.pool_size, layer.strides, strict=True):
            length = tf.shape(x)[axis]
            if layer.padding == "same":
                outputs = -(-length // stride)
                missing = tf.maximum((outputs - 1) * stride + size - length, 0)
                paddings.append([missing // 2, missing - missing // 2])
            else:
                outputs = (length - size) // stride + 1
                paddings.append([0, 0])
            sizes.append(outputs)
        padded = tf.pad(x, [*paddings, [0, 0]], constant_values=lowest)
        for taps in itertools.product(*map(range, layer.pool_size)):
            begin = [0, *taps, 0]
            end = [
                tf.shape(x)[0],
                *(t + (n - 1) * s + 1 for t, n, s in zip(taps, sizes, layer.strides, strict=True)),
                tf.shape(x)[-1],
            ]
            slices.append(tf.strided_slice(padded, begin, end, [1, *layer.strides, 1]))
        return tf.stack(slices, axis=-1)


@register_twin(ClippedMaxPooling2D)
class ClippedMaxPoolingTwin(MaxPoolingTwin):
    """The largest value of each window that lies in the picture."""

    def _windows(self, x):
        layer = self.operation
        padded = layer.padded(x, x.dtype.min)
        outputs = layer.compute_output_shape(x.shape)[1:3]
        return tf.stack(
            [
                padded[:, row : row + (outputs[0] - 1) * layer.strides[0] + 1 : layer.strides[0],
                       column : column + (outputs[1] - 1) * layer.strides[1] + 1 : layer.strides[1]]
                for row, column in itertools.product(*map(range, layer.pool_size))
            ],
            axis=-1,
        )  # fmt: skip


#: Twins whose winners alone take relevance.
POOLING_TWINS = (MaxPoolingTwin, GlobalMaxPoolingTwin, MaxTwin, MinTwin, WinnerTwin)
