"""The graph of a layer's ``call``, traced by TensorFlow; Keras layers that it calls are kept as layers."""

from __future__ import annotations

import contextlib

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from tf_lrp.keras_compat.keras_backend import reading_variables_as
from tf_lrp.keras_compat.lengths import in_this_thread
from tf_lrp.keras_compat.parameters import Parameter
from tf_lrp.keras_compat.tensorflow_graphs.graph import Function, GraphProgram, Op
from tf_lrp.keras_compat.tensorflow_graphs.replay import replay


def open_by_graph(layer, args, kwargs):
    """Runs a layer's ``call`` on symbolic tensors, by way of the TensorFlow graph that it makes.

    Args:
        layer: a Keras layer or operation whose ``call`` uses functions of TensorFlow.
        args, kwargs: its arguments, with KerasTensors for tensors.

    Returns:
        The outputs of its ``call``, with symbolic tensors.

    Raises:
        Unexplainable: if the graph has operations without a rule.
        Exception: whatever the ``call`` raises.
    """
    traced = _Traced(layer, args, kwargs)
    results = replay(traced.function, traced.inputs)
    return traced.structured(results)


class _Traced:
    """The graph of one call.

    Attributes:
        inputs: the KerasTensors among the arguments, each once.
        function: the `Function` of them.
    """

    def __init__(self, layer, args, kwargs):
        leaves = [leaf for leaf in tree.flatten((args, kwargs)) if isinstance(leaf, keras.KerasTensor)]
        self.inputs = list({id(leaf): leaf for leaf in leaves}.values())
        calls = _Calls()
        specs = [tf.TensorSpec(t.shape, t.dtype) for t in self.inputs]

        def call(*tensors):
            tensor_of = dict(zip(map(id, self.inputs), tensors, strict=True))
            filled, options = tree.map_structure(lambda leaf: tensor_of.get(id(leaf), leaf), (args, kwargs))
            with calls.kept(), reading_variables_as(getattr(layer, "compute_dtype", None) or keras.config.floatx()):
                self.structure = layer.call(*filled, **options)
            return [leaf for leaf in tree.flatten(self.structure) if tf.is_symbolic_tensor(leaf)]

        # As Keras does: what the user's call says in Python is not converted.
        traced = tf.function(call, autograph=False).get_concrete_function(*specs)
        self.function = _function_of(traced, calls.records)

    def structured(self, results):
        results = iter(results)
        return tree.map_structure(lambda leaf: next(results) if tf.is_symbolic_tensor(leaf) else leaf, self.structure)


class _Calls:
    """The calls of Keras layers in a graph that is traced.

    Attributes:
        records: list of (layer, args, kwargs, placeholders of its outputs).
    """

    def __init__(self):
        self.records, self.inside = [], False

    @contextlib.contextmanager
    def kept(self):
        """In this context, a layer that is called returns placeholders, and the call is recorded."""
        call = keras.layers.Layer.__call__

        def standing_in(layer, *args, **kwargs):
            given = any(tf.is_symbolic_tensor(leaf) for leaf in tree.flatten((args, kwargs)))
            if self.inside or not given:
                return call(layer, *args, **kwargs)
            self.inside = True
            try:
                outputs = call(layer, *args, **kwargs)
            finally:
                self.inside = False
            if not all(map(tf.is_symbolic_tensor, tree.flatten(outputs))):
                return outputs
            outputs = tree.map_structure(lambda t: tf.raw_ops.Placeholder(dtype=t.dtype, shape=t.shape), outputs)
            self.records.append((layer, args, kwargs, tree.flatten(outputs)))
            return outputs

        keras.layers.Layer.__call__ = in_this_thread(standing_in, call)
        try:
            yield
        finally:
            keras.layers.Layer.__call__ = call


def _function_of(traced, records):
    """The `Function` of a traced concrete function."""
    program = GraphProgram(traced.graph.as_graph_def())
    captured = list(zip(traced.graph.internal_captures, traced.captured_inputs, strict=True))
    inputs = [Op("Placeholder", t.op.name) for t in traced.inputs[: len(traced.inputs) - len(captured)]]
    given = {op.name: (op, 0) for op in inputs}
    variables = {id(variable.handle): variable for variable in traced.graph.variables}
    constants = {}
    for inside, outside in captured:
        op = Op("Placeholder", inside.op.name)
        given[op.name] = op, 0
        constants[op] = _constant(outside, variables)
    layers = {}
    for layer, args, kwargs, outputs in records:
        tensors = [leaf for leaf in tree.flatten((args, kwargs)) if tf.is_symbolic_tensor(leaf)]
        places = [program.places[t.op.name] for t in outputs]
        op = Op("KerasLayer", layer.name, program.outputs([t.name for t in tensors], given), place=(min(places),))
        given |= {t.name: (op, n) for n, t in enumerate(outputs)}
        layers[op] = _called(layer, args, kwargs, tensors)
    outputs = program.outputs([t.name for t in traced.graph.outputs], given)
    return Function(program, inputs, outputs, constants, layers)


def _constant(outside, variables):
    """What a function captured: a variable, or an array."""
    if outside.dtype == tf.resource:
        variable = variables.get(id(outside))
        return outside if variable is None else Parameter(lambda: tf.convert_to_tensor(variable))
    return np.asarray(outside)


def _called(layer, args, kwargs, tensors):
    def call(values):
        value_of = dict(zip(map(id, tensors), values, strict=True))
        filled, options = tree.map_structure(lambda leaf: value_of.get(id(leaf), leaf), (args, kwargs))
        return tree.flatten(layer(*filled, **options))

    return call
