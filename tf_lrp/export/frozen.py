"""An explanation as a frozen graph: the operations that depend on the inputs, with everything else computed beforehand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

#: Constants up to this size, shapes and axes among them, stay in the graph, where shapes are inferred from their values.
_SMALL = 4096


@dataclass(frozen=True)
class Frozen:
    """A graph without variables and without anything that could be computed once.

    Attributes:
        graph_def: tf.compat.v1.GraphDef; its placeholders are the inputs and the large constants.
        inputs: names of the placeholders of the inputs, in order, and of the resources after them.
        outputs: output key -> tensor name.
        constants: placeholder name -> NumPy array: folded and sign-split kernels, biases, counts.
        resources: handles of the tables in which strings and integers are looked up.
    """

    graph_def: tf.compat.v1.GraphDef
    inputs: tuple[str, ...]
    outputs: dict[str, str]
    constants: dict[str, np.ndarray]
    resources: tuple = ()


def freeze(function, signature):
    """Traces a function of tensors and computes what does not depend on them.

    Args:
        function: tensors -> dict of tensors.
        signature: list of tf.TensorSpec, one for each argument.

    Returns:
        `Frozen`.

    Raises:
        ValueError: if the constants exceed the 2 GB that a graph can hold.
    """
    traced = tf.function(function, autograph=False).get_concrete_function(*signature)
    traced.graph.clear_collection(tf.compat.v1.GraphKeys.TABLE_INITIALIZERS)  # tables are filled already
    try:
        graph = convert_variables_to_constants_v2(traced, lower_control_flow=False).graph
    except ValueError as error:
        if "2GB" not in str(error) and "exceed" not in str(error):
            raise
        raise ValueError("The model's weights exceed the 2 GB that TensorFlow can freeze into one graph.") from error
    keys = sorted(traced.structured_outputs)  # the order in which TensorFlow flattens a dict
    inputs = [t.op for t in graph.inputs]
    ends = dict(zip(keys, graph.outputs, strict=True))
    varying = _varying(graph, inputs)
    values = _values(graph, varying, _frontier(varying, ends.values()))
    handles = {inside.name: outside for outside, inside in traced.graph.captures}
    resources = tuple(handles[t.name] for t in graph.inputs[len(signature) :])
    return _assemble(graph, inputs, ends, varying, values, resources)


def _varying(graph, inputs):
    """Names of the operations that depend on the inputs, or whose value may differ from run to run."""
    names = {op.name for op in inputs}
    for op in graph.get_operations():  # in the order of their creation, which is topological
        # Lists of tensors, as loops keep them, have no value outside the graph.
        opaque = any(t.dtype in (tf.variant, tf.resource) for t in op.outputs)
        if opaque or op.op_def.is_stateful or any(t.op.name in names for t in op.inputs):
            names.add(op.name)
    return {name: graph.get_operation_by_name(name) for name in names}


def _frontier(varying, ends):
    """Names of the tensors that do not vary themselves but that something varying, or the result, takes."""
    taken = [t for op in varying.values() for t in op.inputs] + list(ends)
    return {t.name for t in taken if t.op.name not in varying}


def _values(graph, varying, names):
    """The values of tensors that do not vary: name -> NumPy array."""
    complete = graph.as_graph_def()
    fixed = tf.compat.v1.GraphDef(library=complete.library, versions=complete.versions)
    for node in complete.node:
        if node.name not in varying:
            kept = fixed.node.add()
            kept.CopyFrom(node)
            kept.ClearField("input")
            # What had to wait for something that varies need not wait here.
            kept.input.extend(name for name in node.input if not name.startswith("^"))
    with tf.Graph().as_default() as constant_graph:
        tf.graph_util.import_graph_def(fixed, name="")
    with tf.compat.v1.Session(graph=constant_graph, config=_on_one_device()) as session:
        return session.run({name: name for name in names})


def _assemble(graph, inputs, ends, varying, values, resources):
    complete = graph.as_graph_def()
    reduced = tf.compat.v1.GraphDef(library=complete.library, versions=complete.versions)
    renamed, constants = {}, {}
    for n, (name, value) in enumerate(sorted(values.items())):
        value = np.asarray(value)
        renamed[name] = f"constant_{n}"
        node = reduced.node.add(name=renamed[name])
        node.attr["dtype"].type = tf.as_dtype(graph.get_tensor_by_name(name).dtype).as_datatype_enum
        if value.nbytes <= _SMALL or value.dtype == object:
            node.op = "Const"
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
        else:
            node.op = "Placeholder"
            node.attr["shape"].shape.CopyFrom(tf.TensorShape(value.shape).as_proto())
            constants[renamed[name]] = value
    for node in complete.node:
        if node.name not in varying:
            continue
        kept = reduced.node.add()
        kept.CopyFrom(node)
        kept.ClearField("input")
        kept.ClearField("device")
        kept.attr.pop("_gradient_op_type", None)  # nobody derives an explanation; it names a function of this process
        op = varying[node.name]
        kept.input.extend(renamed.get(t.name, t.name) for t in op.inputs)
        # Inputs are there from the start; waiting for their placeholders would ask for them by name.
        waits_for = (control for control in op.control_inputs if control.name in varying and control not in inputs)
        kept.input.extend(f"^{control.name}" for control in waits_for)
    outputs = {key: renamed.get(t.name, t.name) for key, t in ends.items()}
    outputs = {key: name if ":" in name else f"{name}:0" for key, name in outputs.items()}
    return Frozen(reduced, tuple(op.name for op in inputs), outputs, constants, resources)


def _on_one_device():
    return tf.compat.v1.ConfigProto(device_count={"GPU": 0})  # kernels are folded once: not worth the transfer to a GPU


def run(frozen, tensors, constants):
    """The frozen graph as part of the graph under construction.

    Args:
        frozen: `Frozen`.
        tensors: of the inputs, in order.
        constants: placeholder name -> tensor.

    Returns:
        Dict of tensors, as `Frozen.outputs`.
    """
    feeds = {f"{name}:0": t for name, t in zip(frozen.inputs, tensors, strict=True)}
    feeds |= {f"{name}:0": t for name, t in constants.items()}
    imported = tf.graph_util.import_graph_def(
        frozen.graph_def, input_map=feeds, return_elements=list(frozen.outputs.values()), name=""
    )
    return dict(zip(frozen.outputs, imported, strict=True))
