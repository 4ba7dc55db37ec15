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
from tf_lrp.graph.nodes import Graph, Node, tensors_in
from tf_lrp.graph.openers import opener_of
from tf_lrp.twins import twin_class_of


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
    with K.tracing(model) as known:
        tracer = _Tracer(structure, known)
        try:
            outputs = tracer.open(model, (structure,), {}, ())
        except _CannotOpen as problem:
            raise UnsupportedLayerError(
                f"The model {model.name!r} of class {type(model).__name__} could not be opened: {problem}"
            ) from None
    return _named(Graph(structure, outputs, tuple(tracer.nodes)), tracer.opened)


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
    with K.tracing(cell) as known:
        tracer = _Tracer([x, states], known)
        try:
            output, after = tracer.open(cell, (x, states), {}, ())
        except _CannotOpen as problem:
            raise UnsupportedLayerError(
                f"The cell of {layer.name!r}, of class {type(cell).__name__}, could not be opened: {problem}"
            ) from None
    graph = Graph([x, *tree.flatten(states)], [output, *tree.flatten(after)], tuple(tracer.nodes))
    return _named(graph, tracer.opened)


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


class _Tracer:
    """Collects the primitive operations behind symbolic results.

    Args:
        inputs: nested symbolic inputs of the model.
        known: ids of the model's own layers and operations, which have lasting names.

    Attributes:
        nodes: the primitive nodes so far, in topological order.
        opened: list of (path, tensor) of what opened layers return.
    """

    def __init__(self, inputs, known):
        self.own_operations = known
        self.nodes, self.opened = [], []
        self.made = {id(t) for t in tree.flatten(inputs)}
        self.stand_ins = {}  # id of what a composite layer returned, as Keras saw it -> what its call really made
        self.keep = []  # ids are of living objects only

    def open(self, operation, args, kwargs, path):
        """Runs an operation's ``call`` on symbolic tensors and adds what it did; returns its outputs.

        Raises:
            _CannotOpen: if that does not work.
        """
        function, kwargs = _callable(operation), dict(kwargs)
        if isinstance(operation, keras.layers.Layer) and K.takes(operation, "training"):
            kwargs["training"] = False
        try:
            outputs = function(*args, **kwargs)
        except Exception as error:  # whatever a user's code may raise when it meets a symbolic tensor
            raise _CannotOpen(_first_line(error)) from error
        if not all(leaf is None or isinstance(leaf, keras.KerasTensor) for leaf in tree.flatten(outputs)):
            raise _CannotOpen("its call returns something that does not depend on its inputs")
        for tensor in tree.flatten(outputs):
            if tensor is not None:
                self._add_behind(tensor, path)
        return tree.map_structure(lambda t: None if t is None else self._resolve(t), outputs)

    def _resolve(self, tensor):
        tensor = K.canonical(tensor)
        while id(tensor) in self.stand_ins:
            tensor = K.canonical(self.stand_ins[id(tensor)])
        return tensor

    def _add_behind(self, tensor, path):
        """Adds the nodes that a tensor depends on and that are not there yet, in topological order."""
        stack = [tensor]
        while stack:
            tensor = K.canonical(stack[-1])
            if id(tensor) in self.made or id(tensor) in self.stand_ins:
                stack.pop()
                continue
            found = K.origin(tensor)
            if found is None:
                raise _CannotOpen("it uses a symbolic tensor that belongs to another model")
            operation, args, kwargs, outputs = found
            missing = [
                t for t in map(K.canonical, tensors_in((args, kwargs))) if id(t) not in self.made and id(t) not in self.stand_ins
            ]
            if missing:
                stack.extend(missing)
                continue
            stack.pop()
            self._add(operation, args, kwargs, outputs, path)

    def _add(self, operation, args, kwargs, outputs, path):
        def resolve(structure):
            return tree.map_structure(lambda t: self._resolve(t) if isinstance(t, keras.KerasTensor) else t, structure)

        recorded = tensors_in((args, kwargs))
        args, kwargs = resolve(args), resolve(kwargs)
        kwargs = {name: value for name, value in kwargs.items() if name != "training"}
        here = (*path, self._name_of(operation))
        self.keep.extend(outputs)
        if isinstance(operation, K.CONVERSIONS) and outputs[0].dtype == recorded[0].dtype:
            self.stand_ins[id(outputs[0])] = self._resolve(recorded[0])
            return
        late_mask = any(K.mask_of(t) is None and K.mask_of(self._resolve(t)) is not None for t in recorded)
        if late_mask and isinstance(operation, keras.layers.Layer):
            # What an opened model inside really returns has a mask that its symbolic stand-in had not.
            again = operation(*args, **kwargs)
            for old, new in zip(outputs, tree.flatten(again), strict=True):
                self.stand_ins[id(old)] = new
                self._add_behind(new, path)
            return
        if not _is_primitive(operation, args, kwargs):
            try:
                returned = tree.flatten(self.open(operation, args, kwargs, here))
            except _CannotOpen as problem:
                self._append(Node(operation, args, kwargs, outputs, here, problem=str(problem)))
                return
            self.keep.extend(returned)
            for old, new in zip(outputs, returned, strict=True):
                self.stand_ins[id(old)] = new
                if K.mask_of(new) is None and K.mask_of(old) is not None:
                    K.give_mask(new, K.mask_of(old))
            self.opened.append((here, returned[0]))
            return
        self._append(Node(operation, args, kwargs, outputs, here))

    def _append(self, node):
        self.nodes.append(node)
        self.made.update(id(t) for t in node.outputs)

    def _name_of(self, operation):
        if isinstance(operation, keras.layers.Layer) or id(operation) in self.own_operations:
            return operation.name
        # Keras numbers the operations that a call makes, and goes on counting: the next Analyzer would see other names.
        return re.sub(r"_\d+$", "", operation.name)


def _callable(operation):
    opener = opener_of(operation)
    if opener is None:
        return operation.call
    return lambda *args, **kwargs: opener(operation, *args, **kwargs)


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
