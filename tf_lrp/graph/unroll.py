"""A Keras model as one flat graph of primitive operations: models and composite layers are opened, each use is one node."""

from __future__ import annotations

import contextlib
import re
import traceback
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import keras
from keras import tree

from tf_lrp.affine import describe
from tf_lrp.errors import UnsupportedLayerError
from tf_lrp.graph.nodes import Graph, Node, placeholder, pruned, tensors_in, without_idle_placeholders
from tf_lrp.keras_compat import models, preprocessing, tracing
from tf_lrp.keras_compat.keras_backend import noting_values
from tf_lrp.keras_compat.openers import opener_of
from tf_lrp.keras_compat.scopes import named, names_here
from tf_lrp.keras_compat.side_effects import Unexplainable, left_out
from tf_lrp.keras_compat.tensorflow_graphs import open_by_graph
from tf_lrp.operations.routing_table import routing_of
from tf_lrp.twins import twin_class_of
from tf_lrp.twins.categories import CATEGORY_LAYERS


def unroll(model, inputs=None):
    """Opens a model into primitive operations.

    The ``call`` of the model, and of every layer in it that is not primitive, is run on symbolic tensors; the operations
    that it calls become the graph. The model is not changed. The graph is that of inference (training=False).

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
        if inputs is None and models.shape_is_of_first_call(model):
            return _trace_freely(model, structure)
        return _trace(model, (structure,), structure)
    except _CannotOpen as problem:
        raise UnsupportedLayerError(
            f"The model {model.name!r} of class {type(model).__name__} could not be opened as it runs at inference "
            f"(training=False): {problem}"
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
    given = models.initial_state(layer)
    states = tree.map_structure(lambda s: keras.Input(batch_shape=(x.shape[0], *s.shape[1:]), dtype=cell.compute_dtype), given)
    try:
        return _trace(cell, (x, states), [x, *tree.flatten(states)], flat=True)
    except _CannotOpen as problem:
        raise UnsupportedLayerError(
            f"The cell of {layer.name!r}, of class {type(cell).__name__}, could not be opened: {problem}"
        ) from None


def _inputs_for(model, inputs):
    """Fresh symbolic inputs for a model."""
    functional = models.functional_of(model)
    if inputs is not None:
        return tree.map_structure(lambda t: keras.Input(batch_shape=t.shape, dtype=t.dtype, name=_name_of(t)), inputs)
    if functional is not None:
        structure = models.input_structure(functional)
        return tree.map_structure(lambda t: keras.Input(batch_shape=t.shape, dtype=t.dtype, name=t.name), structure)
    shapes = models.built_shapes(model)
    if shapes is None:
        advice = (
            "add a keras.Input as its first layer, or call model.build(input_shape)."
            if isinstance(model, keras.Sequential)
            else "call it once on a batch of data, or describe its inputs: Analyzer(model, inputs=keras.Input(shape))."
        )
        raise ValueError(f"The model {model.name!r} ({type(model).__name__}) has no shapes yet: {advice}")
    dtype = "float64" if model.compute_dtype == "float64" else "float32"
    # Later calls may have another number of samples than the first one.
    return tree.map_shape_structure(lambda shape: keras.Input(shape[1:], dtype=dtype), shapes)


def _trace_freely(model, given):
    """The graph of a Sequential model whose input has the shape of its first call, while later calls may have other shapes.

    The length of an axis is left unknown if the layers accept another length.
    """
    shape = tuple(given.shape)

    def other(axis):
        # Longer than what a stride might round to the same length.
        return (*shape[:axis], 2 * shape[axis] + 1, *shape[axis + 1 :])

    free = [n for n, length in enumerate(shape) if length is None or models.accepts(model, other(n), given.dtype)]
    for axes in (free, [a for a in free if a == 0], []):
        freed = tuple(None if n in axes else length for n, length in enumerate(shape))
        if not models.accepts(model, freed, given.dtype):  # some layers need to know a length, whichever it is
            continue
        inputs = keras.Input(batch_shape=freed, dtype=given.dtype, name=given.name)
        with contextlib.suppress(_CannotOpen):
            return _trace(model, (inputs,), inputs)
    return _trace(model, (given,), given)


def _name_of(tensor):
    return tensor.name if re.fullmatch(r"[\w.-]+", tensor.name) else None


class _CannotOpen(Exception):
    """Why a layer's ``call`` could not be run on symbolic tensors."""


def _trace(layer, args, inputs, flat=False):
    """The graph of a layer that is called on symbolic ``args``; with ``flat``, its outputs are a flat list."""
    tracer = _Tracer()
    with tracing.tracing(layer, tracer.call) as known, left_out(inputs), noting_values(tracer.note_value):
        tracer.own_operations = known
        outputs = tracer.open(layer, args, {})
    if not all(isinstance(leaf, keras.KerasTensor) for leaf in tree.flatten(outputs)):
        raise _CannotOpen("its call returns something that does not depend on its inputs")
    outputs = tree.map_structure(tracer.resolve, outputs)
    opened = {n: [tracer.resolve(t)] for n, (_, t) in enumerate(tracer.opened)}
    graph = pruned(Graph(inputs, tree.flatten(outputs) if flat else outputs, tuple(tracer.nodes), opened))
    graph = without_idle_placeholders(graph)
    known = {id(t) for t in (*tree.flatten(inputs), *(t for node in graph.nodes for t in node.outputs))}
    returned = [(path, *graph.layer_outputs[n]) for n, (path, _) in enumerate(tracer.opened)]
    return _named(graph, [(path, t) for path, t in returned if id(t) in known])


class _Tracer:
    """Replaces the symbolic calls of layers: primitive ones become nodes, others run their own ``call``.

    Attributes:
        own_operations: ids of the model's own layers and operations, whose names do not change between traces.
        nodes: of the primitive calls, in the order in which they were made.
        opened: list of (path, first output) of the layers that were opened.
    """

    def __init__(self):
        self.own_operations = set()
        self.nodes, self.opened = [], []
        self.path = []  # names of the layers whose call is running
        self.running = []  # these layers and operations
        self.took_values = False  # whether the running call took the value of a variable, which can change later
        self.same = {}  # id of the output of a conversion without effect -> (the output, its input)

    def call(self, infer, operation, args, kwargs):
        """The outputs of an operation on symbolic arguments."""
        # Inference is explained, also if a layer was called with training=True.
        kwargs = {name: value for name, value in kwargs.items() if name != "training"}
        depth = len(self.path)
        self.path.extend(names_here() or (self._name_of(operation),))
        self.running.append(operation)
        problem = ""
        with contextlib.ExitStack() as leaving:
            leaving.enter_context(named(None))
            leaving.callback(self._leave, depth)
            if not _is_primitive(operation, args, kwargs):
                before = len(self.nodes)
                try:
                    outputs = self._own(self.open(operation, args, kwargs), before)
                    first = next((t for t in tree.flatten(outputs) if isinstance(t, keras.KerasTensor)), None)
                    if first is not None:
                        self.opened.append((tuple(self.path), first))
                    return outputs
                except _CannotOpen as reason:
                    problem = str(reason)
                    del self.nodes[before:]
            outputs = infer(operation, *args, **kwargs)
            if isinstance(operation, CATEGORY_LAYERS):
                outputs = preprocessing.output_spec(operation, *args, **kwargs)
                problem = preprocessing.why_without_categories(operation, tensors_in((args, kwargs)))
            self._record(operation, args, kwargs, tree.flatten(outputs), problem)
            return outputs

    def _leave(self, depth):
        del self.path[depth:]
        self.running.pop()

    def _record(self, operation, args, kwargs, outputs, problem):
        args, kwargs = tree.map_structure(self.resolve, (args, kwargs))
        if routing_of(operation).converts:
            (before,) = tensors_in((args, kwargs))
            if outputs[0].dtype == before.dtype:
                self.same[id(outputs[0])] = outputs[0], before
                return
        if isinstance(operation, keras.layers.BatchNormalization):
            kwargs.pop("mask", None)  # affects training only
        self.nodes.append(
            Node(operation, args, kwargs, tuple(outputs), tuple(self.path), problem=problem, rewritable=self._is_users())
        )

    def _own(self, outputs, before):
        """The outputs of a layer that was opened, of which the first is a tensor that nothing inside the layer uses.

        A new tensor is needed if the layer returns its input unchanged, or a tensor that its own parts use too: relevance at
        its output must only be what arrives from outside the layer.

        Args:
            outputs: nested structure of tensors.
            before: number of nodes before it was opened.
        """
        first = next((t for t in tree.flatten(outputs) if isinstance(t, keras.KerasTensor)), None)
        inside, returned = self.nodes[before:], self.resolve(first)
        made = {id(t) for node in inside for t in node.outputs}
        taken = {id(t) for node in inside for t in node.inputs}
        if first is None or (id(returned) in made and id(returned) not in taken):
            return outputs
        own = tracing.like(first)
        self.nodes.append(placeholder(self.path, f"{self.path[-1]}_output", returned, own))
        return tree.map_structure(lambda t: own if t is first else t, outputs)

    def note_value(self):
        self.took_values = True

    def open(self, operation, args, kwargs):
        """Runs an operation's ``call`` on symbolic tensors; by way of its graph, where it uses functions of TensorFlow.

        A call that takes the value of a variable (``tf.exp(self.w)``) is also opened by its graph, which reads the variable
        anew each time.

        Raises:
            _CannotOpen: if that does not work.
        """
        if models.takes(operation, "training") and models.functional_of(operation) is None:
            kwargs = {**kwargs, "training": False}
        opener, outer = opener_of(operation), self.took_values
        by_graph = opener is None and (isinstance(operation, keras.layers.Lambda) or not is_of_keras(operation))
        before, opened, self.took_values = len(self.nodes), len(self.opened), False
        failed, outputs = None, None
        try:
            outputs = operation.call(*args, **kwargs) if opener is None else opener(operation, *args, **kwargs)
        except Exception as error:  # whatever a user's code may raise when it meets a symbolic tensor
            failed = error
        took_values, self.took_values = self.took_values, outer
        if by_graph and (took_values if failed is None else not isinstance(failed, Unexplainable)):
            found = self.nodes[before:], self.opened[opened:]
            del self.nodes[before:], self.opened[opened:]
            try:
                return open_by_graph(operation, args, kwargs)
            except Exception as error:  # its graph has no rule, or cannot be traced either
                del self.nodes[before:], self.opened[opened:]
                self.nodes += found[0]
                self.opened += found[1]
                if failed is None:
                    _warn_of_fixed_values(operation, error)
                elif isinstance(error, Unexplainable) or "KerasTensor" in str(failed):
                    failed = error
        if failed is not None:
            raise _CannotOpen(_reason(failed)) from failed
        return outputs

    def resolve(self, value):
        """The tensor of the graph that has the value of a symbolic tensor; other objects are returned unchanged."""
        while id(value) in self.same:
            value = self.same[id(value)][1]
        return value

    def _is_users(self):
        """Whether the running call comes from the user's code, not from inside one of Keras's own layers."""
        innermost = next((o for o in reversed(self.running) if isinstance(o, keras.layers.Layer)), None)
        calling = (keras.Model, keras.layers.Lambda)
        return innermost is None or isinstance(innermost, calling) or not is_of_keras(innermost)

    def _name_of(self, operation):
        if isinstance(operation, keras.layers.Layer) or id(operation) in self.own_operations:
            return operation.name
        # Keras numbers the operations of all calls consecutively: without this, the next Analyzer would see other names.
        return re.sub(r"_\d+$", "", operation.name)


def _warn_of_fixed_values(operation, error):
    warnings.warn(
        f"{operation.name!r} ({type(operation).__name__}) computes with the value of a variable, not with the variable, and "
        f"its graph could not be opened instead ({_reason(error)}). Explanations hold for the variable's value of now: after "
        "it has changed, make a new Analyzer.",
        stacklevel=2,
    )


def _is_primitive(operation, args, kwargs):
    if describe(operation, args, kwargs) is not None:
        return True
    if not isinstance(operation, keras.layers.Layer):
        return opener_of(operation) is None
    return (
        twin_class_of(operation) is not None
        or isinstance(operation, (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D))
        or bool(getattr(operation, "quantization_mode", None))
    )


def is_of_keras(operation):
    """Whether a layer or operation is one of Keras's own."""
    return type(operation).__module__.split(".")[0] == "keras"


def _reason(error):
    """Why a call could not be run on symbolic tensors: a clause that says what failed, and in which line."""
    if isinstance(error, Unexplainable):
        return str(error)
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", str(error)).splitlines() if line.strip()]
    # Keras wraps errors of inner calls: the original message is on another line.
    message = next((line for line in lines if not line.startswith("Exception encountered")), "")
    frames = traceback.extract_tb(error.__traceback__)
    packages = [_package(frame.filename) for frame in frames]
    users = [n for n, package in enumerate(packages) if package not in _LIBRARIES]
    place = ""
    if users:
        frame = frames[users[-1]]
        place = f", in `{(frame.line or '').strip()[:120]}` ({Path(frame.filename).name}:{frame.lineno})"
    if "KerasTensor cannot be used as input" in message:
        return f"a function of Keras that it calls does not take symbolic tensors{place}"
    return f"{type(error).__name__}: {message[:300]}{place}"


_LIBRARIES = ("tensorflow", "keras", "numpy", "tf_lrp", "optree")


def _package(filename):
    """The installed package that a file belongs to, "" if none."""
    parts = Path(filename).parts
    if Path(__file__).parents[1] in Path(filename).parents:
        return "tf_lrp"
    return parts[parts.index("site-packages") + 1] if "site-packages" in parts else ""


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
        if not node.placeholder:
            results.setdefault(layer_name, []).append(node.output)
    for path, output in opened:
        results.setdefault(name_for(path), []).append(output)
    return replace(graph, nodes=tuple(nodes), layer_outputs=results)
