"""A Keras model as one flat graph: nested models opened, shared layers listed once for each use."""

from __future__ import annotations

from collections import Counter

import keras
from keras import tree

from tf_lrp import keras_internals
from tf_lrp.errors import UnsupportedLayerError
from tf_lrp.graph.nodes import Graph, Node, tensors_in


def unroll(model):
    """Opens a model into primitive operations.

    The model's layers are neither called nor changed: shapes are inferred on fresh symbolic tensors.

    Args:
        model: a built keras.Sequential or Functional keras.Model; models inside it are opened too.

    Returns:
        `Graph`.

    Raises:
        TypeError: if ``model`` is no Keras 3 model.
        ValueError: if it is not built.
        UnsupportedLayerError: if it, or a model inside it, is subclassed.
    """
    if keras.config.backend() != "tensorflow":
        raise ValueError(
            f"tf_lrp runs on Keras's TensorFlow backend, but the backend is {keras.config.backend()!r}: set the environment "
            'variable KERAS_BACKEND="tensorflow" before Keras is imported.'
        )
    if not isinstance(model, keras.Model):
        hint = " It looks like a Keras 2 (tf_keras) model: save it and load it with keras.models.load_model." * (
            "tf_keras" in type(model).__module__
        )
        raise TypeError(f"Expected a keras.Model, got {type(model).__module__}.{type(model).__name__}.{hint}")
    functional = _open(model, ())
    inputs = tree.map_structure(
        lambda t: keras.KerasTensor(t.shape, dtype=t.dtype, name=t.name), keras_internals.input_structure(functional)
    )
    nodes = []
    outputs = _walk(functional, inputs, (), nodes)
    return _named(Graph(inputs, outputs, tuple(nodes)))


def _open(model, path):
    """The Functional graph of a model, or an error that says how to get one."""
    functional = keras_internals.functional_of(model)
    if functional is not None:
        return functional
    where = f" (at {'/'.join(path)})" if path else ""
    if isinstance(model, keras.Sequential):
        raise ValueError(
            f"The Sequential model {model.name!r}{where} has no shapes yet: add a keras.Input as its first layer, or call "
            "model.build(input_shape)."
        )
    raise UnsupportedLayerError(
        f"The model {model.name!r}{where} of class {type(model).__name__} defines its own call(), so its layers cannot be "
        "listed. Build it with the functional API: keras.Model(inputs, outputs)."
    )


def _walk(functional, inputs, path, nodes):
    """Appends the nodes of a model called on ``inputs`` and returns its output tensors."""

    def record(operation, *args, **kwargs):
        here = (*path, operation.name)
        if tensors_in(kwargs.get("mask")):
            raise UnsupportedLayerError(
                f"The layer {operation.name!r} of class {type(operation).__name__} (at {'/'.join(here)}) is called with a "
                "mask, which has no relevance rule: leave the mask out, or put its effect into the inputs."
            )
        # Inference is explained, whatever the model was called with.
        kwargs = {k: v for k, v in kwargs.items() if k not in ("training", "mask")}
        if isinstance(operation, keras.Model):
            (inner_inputs,) = args or (kwargs.pop("inputs"),)
            return _walk(_open(operation, here), inner_inputs, here, nodes)
        outputs = operation.compute_output_spec(*args, **kwargs)
        nodes.append(Node(operation, args, kwargs, tuple(tree.flatten(outputs)), here))
        return outputs

    return keras_internals.run_through_graph(functional, inputs, record)


def _named(graph):
    """Gives each node a unique name: the layer's own where that is unique, else its dotted path, else with the use."""
    layers_called = {}
    for node in graph.nodes:
        layers_called.setdefault(node.path[-1], set()).add(node.path)
    seen, taken, nodes, results = Counter(), {t.name for t in tree.flatten(graph.inputs)}, [], {}
    for node in graph.nodes:
        layer_name = node.path[-1] if len(layers_called[node.path[-1]]) == 1 else ".".join(node.path)
        seen[layer_name] += 1
        name = layer_name if seen[layer_name] == 1 else f"{layer_name}.{seen[layer_name]}"
        while name in taken:
            name += "_"
        taken.add(name)
        nodes.append(Node(**{**node.__dict__, "name": name}))
        results.setdefault(layer_name, []).append(node.output)
    return Graph(graph.inputs, graph.outputs, tuple(nodes), results)
