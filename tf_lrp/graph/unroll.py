"""A Keras model as one flat graph of primitive operations: models and composite layers opened, each use listed once."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import keras
from keras import tree

from tf_lrp import keras_internals as K
from tf_lrp.affine import describe
from tf_lrp.errors import UnsupportedLayerError
from tf_lrp.graph.nodes import Graph, Node, pruned, tensors_in
from tf_lrp.graph.openers import opener_of
from tf_lrp.twins import twin_class_of
from tf_lrp.twins.categories import CATEGORY_LAYERS


def unroll(model, inputs=None):
    """Opens a model into primitive operations.

    The ``call`` of the model, and of every layer in it that is not primitive itself, is run on symbolic tensors; what it
    calls becomes the graph. The model is not changed. Inference is what is run, whatever the model was called with.

    Args:
        model: a built keras.Model: Sequential, Functional or subclassed.
        inputs: nested structure of KerasTensors to call a subclassed model on; by default of the shapes it was first
            called on, with any number of samples.

    Returns:
        `Graph`. Layers that could not be opened are nodes with a ``problem``.

    Raises:
        TypeError: if ``model`` is no Keras 3 model.
        ValueError: if it is not built.
        UnsupportedLayerError: if the model's own ``call`` cannot be run on symbolic tensors.
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
    structure = _inputs_for(model, inputs)
    try:
        return _trace(model, (structure,), structure)
    except _CannotOpen as problem:
        raise UnsupportedLayerError(
            f"The model {model.name!r} of class {type(model).__name__} could not be opened: {problem}"
        ) from None


def unroll_cell(layer, sequence):
    """Opens the cell of a recurrent layer, for one step.

    Args:
        layer: keras.layers.RNN.
        sequence: KerasTensor (N, T, ...).

    Returns:
        `Graph` with the inputs [x_t, *states] and the outputs [y_t, *states].

    Raises:
        UnsupportedLayerError: if the cell's ``call`` cannot be run on symbolic tensors.
    """
    cell = layer.cell
    x = keras.Input(batch_shape=(sequence.shape[0], *sequence.shape[2:]), dtype=sequence.dtype)
    given = K.initial_state(layer)
    states = tree.map_structure(lambda s: keras.Input(batch_shape=(x.shape[0], *s.shape[1:]), dtype=cell.compute_dtype), given)
    try:
        return _trace(cell, (x, states), [x, *tree.flatten(states)], flat=True)
    except _CannotOpen as problem:
        raise UnsupportedLayerError(
            f"The cell of {layer.name!r}, of class {type(cell).__name__}, could not be opened: {problem}"
        ) from None


def _inputs_for(model, inputs):
    """Fresh symbolic inputs for a model."""
    functional = K.functional_of(model)
    if inputs is not None:
        return tree.map_structure(lambda t: keras.Input(batch_shape=t.shape, dtype=t.dtype, name=_name_of(t)), inputs)
    if functional is not None:
        structure = K.input_structure(functional)
        return tree.map_structure(lambda t: keras.Input(batch_shape=t.shape, dtype=t.dtype, name=t.name), structure)
    shapes = K.built_shapes(model)
    if shapes is None:
        how = (
            "add a keras.Input as its first layer, or call model.build(input_shape)."
            if isinstance(model, keras.Sequential)
            else "call it once on a batch of data, or say what it takes: Analyzer(model, inputs=keras.Input(shape))."
        )
        raise ValueError(f"The model {model.name!r} ({type(model).__name__}) has no shapes yet: {how}")
    dtype = "float64" if model.compute_dtype == "float64" else "float32"
    # The number of samples of the first call says nothing about later ones.
    return tree.map_shape_structure(lambda shape: keras.Input(shape[1:], dtype=dtype), shapes)


def _name_of(tensor):
    return tensor.name if re.fullmatch(r"[\w.-]+", tensor.name) else None


class _CannotOpen(Exception):
    """Why a layer's ``call`` could not be run on symbolic tensors."""


def _trace(layer, args, inputs, flat=False):
    """The graph of a layer called on symbolic ``args``; ``flat`` to have its outputs in a flat list."""
    tracer = _Tracer()
    with K.tracing(layer, tracer.call) as known:
        tracer.own_operations = known
        outputs = tracer.open(layer, args, {})
    if not all(isinstance(leaf, keras.KerasTensor) for leaf in tree.flatten(outputs)):
        raise _CannotOpen("its call returns something that does not depend on its inputs")
    outputs = tree.map_structure(tracer.resolve, outputs)
    graph = pruned(Graph(inputs, tree.flatten(outputs) if flat else outputs, tuple(tracer.nodes)))
    returned = {id(t) for node in graph.nodes for t in node.outputs}
    opened = [(path, tracer.resolve(t)) for path, t in tracer.opened]
    return _named(graph, [(path, t) for path, t in opened if id(t) in returned])


class _Tracer:
    """Stands in for the symbolic calls of layers: those that are not primitive run their own ``call`` instead.

    Attributes:
        own_operations: ids of the model's own layers and operations, which have lasting names.
        nodes: of the primitive calls, in the order in which they were made.
        opened: list of (path, first output) of the layers that were opened.
    """

    def __init__(self):
        self.own_operations = set()
        self.nodes, self.opened = [], []
        self.path = []  # names of the layers whose call is running
        self.same = {}  # id of a tensor that a conversion left as it was -> (it, the tensor before)

    def call(self, infer, operation, args, kwargs):
        """What an operation returns on symbolic arguments."""
        # Inference is explained, whatever a layer was called with.
        kwargs = {name: value for name, value in kwargs.items() if name != "training"}
        self.path.append(self._name_of(operation))
        problem = ""
        try:
            if not _is_primitive(operation, args, kwargs):
                before = len(self.nodes)
                try:
                    outputs = self.open(operation, args, kwargs)
                    first = next((t for t in tree.flatten(outputs) if isinstance(t, keras.KerasTensor)), None)
                    if first is not None:
                        self.opened.append((tuple(self.path), first))
                    return outputs
                except _CannotOpen as reason:
                    problem = str(reason)
                    del self.nodes[before:]
            outputs = infer(operation, *args, **kwargs)
            if isinstance(operation, CATEGORY_LAYERS):
                outputs = K.output_spec(operation, *args, **kwargs)
                problem = K.why_without_categories(operation, tensors_in((args, kwargs)))
            self._record(operation, args, kwargs, tree.flatten(outputs), problem)
            return outputs
        finally:
            self.path.pop()

    def _record(self, operation, args, kwargs, outputs, problem):
        args, kwargs = tree.map_structure(self.resolve, (args, kwargs))
        if isinstance(operation, K.CONVERSIONS):
            (before,) = tensors_in((args, kwargs))
            if outputs[0].dtype == before.dtype:
                self.same[id(outputs[0])] = outputs[0], before
                return
        if isinstance(operation, keras.layers.BatchNormalization):
            kwargs.pop("mask", None)  # matters for the statistics of training
        self.nodes.append(Node(operation, args, kwargs, tuple(outputs), tuple(self.path), problem=problem))

    def open(self, operation, args, kwargs):
        """Runs an operation's ``call`` on symbolic tensors.

        Raises:
            _CannotOpen: if that does not work.
        """
        if K.takes(operation, "training") and K.functional_of(operation) is None:
            kwargs = {**kwargs, "training": False}
        opener = opener_of(operation)
        try:
            return operation.call(*args, **kwargs) if opener is None else opener(operation, *args, **kwargs)
        except Exception as error:  # whatever a user's code may raise when it meets a symbolic tensor
            raise _CannotOpen(_first_line(error)) from error

    def resolve(self, value):
        """The tensor of the graph that a symbolic tensor stands for; what is none stays as it is."""
        while id(value) in self.same:
            value = self.same[id(value)][1]
        return value

    def _name_of(self, operation):
        if isinstance(operation, keras.layers.Layer) or id(operation) in self.own_operations:
            return operation.name
        # Keras numbers the operations that a call makes, and goes on counting: the next Analyzer would see other names.
        return re.sub(r"_\d+$", "", operation.name)


def _is_primitive(operation, args, kwargs):
    if not isinstance(operation, keras.layers.Layer):
        return True
    if opener_of(operation) is not None:
        return False
    return (
        twin_class_of(operation) is not None
        or describe(operation, args, kwargs) is not None
        or isinstance(operation, (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D))
        or bool(getattr(operation, "quantization_mode", None))
    )


def _first_line(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Keras wraps errors of an inner call: the reason is on a line of its own.
    message = next((line for line in lines if not line.startswith("Exception encountered")), type(error).__name__)
    if "KerasTensor cannot be used as input to a TensorFlow function" in str(error) or "KerasTensor" in message:
        return (
            f"its call hands a symbolic tensor to something that is no Keras operation ({message[:160]}); write it with "
            "keras.ops instead of tf.* functions"
        )
    return f"{type(error).__name__}: {message[:300]}"


def _named(graph, opened):
    """Gives each node a unique name: the layer's own where that is unique, else its dotted path, else with the use."""
    paths_of = {}
    for path in [node.path for node in graph.nodes] + [path for path, _ in opened]:
        paths_of.setdefault(path[-1], set()).add(path)

    def name_for(path):
        return path[-1] if len(paths_of[path[-1]]) == 1 else ".".join(path)

    seen, taken, nodes, results = Counter(), {t.name for t in tree.flatten(graph.inputs)}, [], {}
    for node in graph.nodes:
        layer_name = name_for(node.path)
        seen[layer_name] += 1
        name = layer_name if seen[layer_name] == 1 else f"{layer_name}.{seen[layer_name]}"
        while name in taken:
            name += "_"
        taken.add(name)
        nodes.append(replace(node, name=name))
        results.setdefault(layer_name, []).append(node.output)
    for path, output in opened:
        results.setdefault(name_for(path), []).append(output)
    return replace(graph, nodes=tuple(nodes), results=results)
