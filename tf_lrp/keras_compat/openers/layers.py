"""Layers whose own ``call`` does not run on symbolic tensors, each written as a function that does."""

from __future__ import annotations

import keras
from keras import layers, ops

from tf_lrp.keras_compat.keras_classes import CONVOLUTIONAL_LSTM_CELLS, layer_classes
from tf_lrp.keras_compat.models import takes
from tf_lrp.keras_compat.openers.registry import opens
from tf_lrp.keras_compat.own_operations import CellSum, Gated, MergeTime, SplitTime, StateSum
from tf_lrp.keras_compat.preprocessing import FEATURE_CONCATENATION
from tf_lrp.keras_compat.side_effects import Unexplainable


@opens(*layer_classes("ContrastLimitedAdaptiveHistogramEqualization"))
def _local_equalization(layer, *args, **kwargs):
    raise Unexplainable("it looks each value up in a table of the frequencies of values around it, which has no relevance rule")


@opens(layers.TimeDistributed)
def _time_distributed(layer, inputs, mask=None, training=None):
    """Every step is a sample of its own."""
    kwargs = {}
    if mask is not None and takes(layer.layer, "mask"):
        kwargs["mask"] = MergeTime()(mask)
    outputs = layer.layer(MergeTime()(inputs), **kwargs)
    return keras.tree.map_structure(lambda y: SplitTime()(y, inputs), outputs)


@opens(*FEATURE_CONCATENATION)
def _feature_concatenation(layer, xs):
    """Its own call uses TensorFlow's function."""
    return ops.concatenate(xs, axis=layer.axis)


@opens(layers.Bidirectional)
def _bidirectional(layer, sequences, initial_state=None, mask=None, training=None):
    """Both layers, of which the backward one reads the sequence in reverse; without the fused kernels that Keras may use."""
    half = None if initial_state is None else len(initial_state) // 2
    states = (None, None) if half is None else (initial_state[:half], initial_state[half:])
    results = [
        inner(sequences, initial_state=state, mask=mask)
        for inner, state in zip((layer.forward_layer, layer.backward_layer), states, strict=True)
    ]
    states = [s for result in results for s in result[1:]] if layer.return_state else []
    forward, backward = [result[0] if layer.return_state else result for result in results]
    if layer.return_sequences:
        backward = ops.flip(backward, axis=1)
    merged = {
        "concat": lambda: ops.concatenate([forward, backward], axis=-1),
        "sum": lambda: ops.add(forward, backward),
        "ave": lambda: ops.divide(ops.add(forward, backward), 2),
        "mul": lambda: ops.multiply(forward, backward),
        None: lambda: (forward, backward),
    }[layer.merge_mode]()
    if not layer.return_state:
        return merged
    return (*(merged if layer.merge_mode is None else (merged,)), *states)


@opens(layers.LSTMCell, *CONVOLUTIONAL_LSTM_CELLS)
def _lstm_cell(cell, inputs, states, training=None):
    """c = f c' + i g, h = o tanh(c). Gates read all that the candidate g reads, but take no relevance."""
    h, c = states
    size = cell.kernel.shape[-1] // 4
    axis = 1 if getattr(cell, "data_format", "channels_last") == "channels_first" else -1
    gates = layers.Activation(cell.recurrent_activation, dtype=cell.dtype_policy)(CellSum(cell, slice(None))(inputs, h))
    input_gate, forget_gate, _, output_gate = ops.split(gates, 4, axis=axis)
    candidate = layers.Activation(cell.activation, dtype=cell.dtype_policy)(CellSum(cell, slice(2 * size, 3 * size))(inputs, h))
    c = StateSum()(Gated()(c, forget_gate), Gated()(candidate, input_gate))
    h = Gated()(layers.Activation(cell.activation, dtype=cell.dtype_policy)(c), output_gate)
    return h, [h, c]


@opens(layers.GRUCell)
def _gru_cell(cell, inputs, states, training=None):
    """h = z h' + (1 - z) g. The reset gate is part of the candidate's weights (reset_after) or scales the state before."""
    (h,) = states if isinstance(states, (list, tuple)) else (states,)
    units = cell.units
    gate = layers.Activation(cell.recurrent_activation, dtype=cell.dtype_policy)
    update, reset = ops.split(gate(CellSum(cell, slice(2 * units))(inputs, h)), 2, axis=-1)
    columns = slice(2 * units, 3 * units)
    if cell.reset_after:
        preactivation = CellSum(cell, columns)(inputs, h, reset)
    else:
        preactivation = CellSum(cell, columns)(inputs, Gated()(h, reset))
    candidate = layers.Activation(cell.activation, dtype=cell.dtype_policy)(preactivation)
    h = StateSum()(Gated()(h, update), Gated()(candidate, ops.subtract(1, update)))
    return h, [h] if isinstance(states, (list, tuple)) else h


@opens(layers.SimpleRNNCell)
def _simple_cell(cell, inputs, states, training=None):
    """h = f(x W + h' U + b)"""
    (h,) = states if isinstance(states, (list, tuple)) else (states,)
    h = layers.Activation(cell.activation, dtype=cell.dtype_policy)(CellSum(cell, slice(None))(inputs, h))
    return h, [h] if isinstance(states, (list, tuple)) else h
