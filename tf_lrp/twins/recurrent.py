"""Recurrent layers: a forward scan and a backward scan over the twin of the cell.

Source: Arras et al. 2017, "Explaining recurrent neural network predictions in sentiment analysis", and 2019, "Explaining
and interpreting LSTMs": the signal takes all, gates none.
"""

from __future__ import annotations

import contextvars

import tensorflow as tf
from keras import layers, tree

from tf_lrp.affine.recurrent import cell_kernels_of
from tf_lrp.keras_compat import keras_classes
from tf_lrp.twins.base import Twin, distinct, with_relevance
from tf_lrp.twins.registry import register_twin

#: Whether loops over steps are unrolled in the graph, for runtimes without loops over lists of tensors.
unrolling = contextvars.ContextVar("unrolling", default=False)


@register_twin(
    layers.RNN,
    layers.LSTM,
    layers.GRU,
    layers.SimpleRNN,
    keras_classes.CONVOLUTIONAL_LSTM,
    layers.ConvLSTM1D,
    layers.ConvLSTM2D,
    layers.ConvLSTM3D,
)
class RecurrentTwin(Twin):
    """y_t, s_t = cell(x_t, s_{t-1}) for each step t; where a mask is False, state and output stay as they were.

    The forward scan stores only the states of each step. The backward scan runs the cell's twin again for each step and
    computes the relevance of (x_t, s_{t-1}) from that of (y_t, s_t). So the graph has the size of one step, and memory grows
    by one state for each step.

    Args:
        operation, rule, name, dtype, arguments, takes: see `Twin`.
        step: `tf_lrp.graph.Rewritten` cell, whose model is [x_t, *states] -> [y_t, *states].
    """

    kinds = frozenset({"recurrent", "weights"})

    def __init__(self, operation, rule, name, dtype, arguments, takes=(), step=None):
        super().__init__(operation, rule, name, dtype, arguments, takes)
        self.rewritten, self.step = step, step.model

    def call(self, *inputs):
        inputs = distinct(inputs)
        sequence, initial, mask = self._arguments(inputs)
        x = self._time_first(sequence)
        allowed = None if mask is None else self._time_first(mask)
        states = self._initial_states(sequence, initial)
        with self._kernels():
            outputs, before, last = self._forward(x, allowed, states)
        layer = self.operation

        def backward(*relevance):
            of_output, of_states = relevance[0], relevance[1:]
            with self._kernels():
                of_x, of_initial = self._backward(x, allowed, before, of_output, of_states)
            pairs = [(sequence, self._batch_first(of_x)), *zip(states, of_initial, strict=True)]
            return [next(r for t, r in pairs if t is taker) for taker in takers]

        takers = self.taking(inputs)
        result = self._batch_first(outputs, ordered=False) if layer.return_sequences else last[0]
        results = [result, *last[1:]] if layer.return_state else [result]
        routed = with_relevance(results, takers, backward)
        return routed if layer.return_state else routed[0]

    def _kernels(self):
        """In this context the cell's kernels are put together once, not at each step."""
        return cell_kernels_of([step.node.affine for step in self.rewritten.steps], self.compute_dtype)

    def compute_output_spec(self, *inputs):
        spec = super().compute_output_spec(*inputs)
        return tree.flatten(spec) if self.operation.return_state else spec

    def unrolled(self, inputs, relevance):
        """The inputs and relevance of the cell's twin in a backward pass, with each step of each sample as one sample.

        Runs eagerly; the conservation of relevance is computed from it.

        Args:
            inputs: list of the input tensors.
            relevance: list, of each output.

        Returns:
            (inputs of the cell's twin, relevance of its outputs, relevance of constant initial states, relevance of outputs
            that a mask sets to zero): lists of tensors.
        """
        sequence, initial, mask = self._arguments(inputs)
        x, allowed = self._time_first(sequence), None if mask is None else self._time_first(mask)
        _, before, _ = self._forward(x, allowed, self._initial_states(sequence, initial))
        steps = []
        _, of_initial = self._backward(x, allowed, before, relevance[0], relevance[1:], steps)
        values = [tf.reshape(t, [-1, *t.shape[2:]]) for t in (x, *before)]
        arrived = [tf.concat(of_output, 0) for of_output in zip(*[results for results, _ in reversed(steps)], strict=True)]
        return values, arrived, of_initial if initial is None else [], [lost for _, lost in steps]

    # -- arguments ----------------------------------------------------------------------------------------------------

    def _arguments(self, inputs):
        args, kwargs = self.arguments_for(inputs)
        named = dict(zip(("sequences", "initial_state", "mask"), args, strict=False)) | kwargs
        initial = named.get("initial_state")
        mask = named.get("mask")
        mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        # A mask that is an input of the model is carried as floats.
        mask = None if mask is None else tf.cast(mask, tf.bool)
        return named["sequences"], None if initial is None else tree.flatten(initial), mask

    def _initial_states(self, sequence, given):
        layer = self.operation
        if given is not None:
            return list(given)
        if layer.stateful:
            return [tf.cast(tf.convert_to_tensor(s), self.compute_dtype) for s in tree.flatten(layer.states)]
        samples = tf.shape(sequence)[0]
        return [tf.zeros(tf.concat([[samples], s.shape[1:]], 0), self.compute_dtype) for s in self.step.inputs[1:]]

    def _time_first(self, t):
        t = tf.transpose(t, (1, 0, *range(2, t.shape.rank)))
        return tf.reverse(t, [0]) if self.operation.go_backwards else t

    def _batch_first(self, t, ordered=True):
        """Transposes (T, N, ...) back; ``ordered``: in the order of the sequence, not in that of the layer."""
        if ordered and self.operation.go_backwards:
            t = tf.reverse(t, [0])
        return tf.transpose(t, (1, 0, *range(2, t.shape.rank)))

    # -- scans --------------------------------------------------------------------------------------------------------

    def _forward(self, x, allowed, states):
        """Outputs (T, N, ...), the states before each step [(T, N, ...)], and [last output, *last states]."""
        like = self.step.outputs[0]
        first = tf.zeros(tf.concat([tf.shape(x)[1:2], like.shape[1:]], 0), self.compute_dtype)

        def body(t, output, states, outputs, before):
            before = [a.write(t, s) for a, s in zip(before, states, strict=True)]
            new_output, *new_states = self.step([x[t], *states])
            if allowed is not None:
                kept = tf.zeros_like(output) if self.operation.zero_output_for_mask else output
                new_output = _where(allowed[t], new_output, kept)
                new_states = [_where(allowed[t], n, s) for n, s in zip(new_states, states, strict=True)]
            return t + 1, new_output, new_states, outputs.write(t, new_output), before

        arrays = self._array(x, like.shape), [self._array(x, s.shape) for s in self.step.inputs[1:]]
        shapes = tf.TensorShape(like.shape), self._state_shapes(), *_unknown_shapes(arrays)
        output, states, outputs, before = self._loop(x, body, (first, states, *arrays), shapes)
        return outputs.stack(), [b.stack() for b in before], [output, *states]

    def _loop(self, x, body, state, shapes):
        """The state after body(t, *state) -> (t + 1, *state) for each step t of the sequence x (T, N, ...)."""
        if self._unrolls(x):
            for t in range(x.shape[0]):
                _, *state = body(t, *state)
            return state
        steps = tf.shape(x)[0]
        _, *state = tf.while_loop(
            lambda t, *_: t < steps,
            body,
            (tf.constant(0), *state),
            shape_invariants=(tf.TensorShape(()), *shapes),
            maximum_iterations=x.shape[0],
        )
        return state

    def _array(self, x, shape):
        """An array that holds one tensor for each step."""
        if self._unrolls(x):
            return _List()
        return tf.TensorArray(self.compute_dtype, tf.shape(x)[0], element_shape=shape)

    def _unrolls(self, x):
        return unrolling.get() and x.shape[0] is not None

    def _state_shapes(self):
        return [tf.TensorShape(s.shape) for s in self.step.inputs[1:]]

    def _backward(self, x, allowed, before, of_output, of_states, taken=None):
        """Relevance of x (T, N, ...) and of the initial states.

        Args:
            taken: list that gets, for each step from the last, (relevance of what the cell returned, that of masked zeros).
        """
        steps = x.shape[0] if self._unrolls(x) else tf.shape(x)[0]
        layer = self.operation
        if layer.return_sequences:
            of_outputs = tf.transpose(of_output, (1, 0, *range(2, of_output.shape.rank)))
            carried = tf.zeros_like(of_outputs[0])
        else:
            carried = of_output
        of_states = list(of_states) or [tf.zeros_like(s[0]) for s in before]

        def body(n, carried, of_states, of_x):
            t = steps - 1 - n
            arriving = carried + of_outputs[t] if layer.return_sequences else carried
            passing, staying = arriving, of_states
            if allowed is not None:
                passing = _where(allowed[t], arriving, tf.zeros_like(arriving))
                staying = [_where(allowed[t], r, tf.zeros_like(r)) for r in of_states]
            now = [x[t], *[b[t] for b in before]]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(now)
                results = self.step(now)
            of_inputs = tape.gradient(results, now, [passing, *staying], unconnected_gradients=tf.UnconnectedGradients.ZERO)
            of_previous = of_inputs[1:]
            left = tf.zeros_like(arriving)
            if allowed is not None:
                # The results of a masked step are discarded: output and state are those of the step before.
                left = left if layer.zero_output_for_mask else arriving - passing
                of_previous = [f + r - s for f, r, s in zip(of_previous, of_states, staying, strict=True)]
            if taken is not None:
                taken.append(([passing, *staying], arriving - passing - left))
            return n + 1, left, of_previous, of_x.write(t, of_inputs[0])

        of_x = self._array(x, x.shape[1:])
        shapes = tf.TensorShape(self.step.outputs[0].shape), self._state_shapes(), _unknown_shapes(of_x)
        _, of_states, of_x = self._loop(x, body, (carried, of_states, of_x), shapes)
        return of_x.stack(), of_states


class _List:
    """Replaces a tf.TensorArray in a loop that is unrolled."""

    def __init__(self, items=()):
        self.items = dict(items)

    def write(self, step, value):
        return _List({**self.items, step: value})

    def stack(self):
        return tf.stack([self.items[step] for step in sorted(self.items)])


def _where(allowed, new, old):
    """``new`` for the samples that are not masked."""
    return tf.where(tf.reshape(allowed, tf.concat([tf.shape(allowed), [1] * (new.shape.rank - 1)], 0)), new, old)


def _unknown_shapes(arrays):
    return tree.map_structure(lambda _: tf.TensorShape(None), arrays)
