"""Graphs of TensorFlow as flat lists of operations: functions that are called are written out, identities are left out."""

from __future__ import annotations

import heapq
import re
from dataclasses import dataclass, field, replace
from typing import Any

import tensorflow as tf

from tf_lrp.keras_compat.side_effects import Unexplainable
from tf_lrp.keras_compat.tensorflow_internals import op_definition

#: Operations that call the function in their attribute "f".
_CALLS = ("PartitionedCall", "StatefulPartitionedCall", "TPUPartitionedCall")
#: Operations that return their inputs unchanged.
_IDENTITIES = (
    "Identity", "IdentityN", "Snapshot", "PreventGradient", "CheckNumerics", "EnsureShape", "DisableCopyOnRead",
    "PlaceholderWithDefault", "Enter", "Exit", "ReadVariableOp",
)  # fmt: skip
#: A graph that calls its functions more often than this is refused. (Calls of calls multiply.)
_MOST_OPERATIONS, _DEEPEST_CALLS = 1_000_000, 50


@dataclass(eq=False)
class Op:
    """One operation of a graph.

    Attributes:
        type: TensorFlow's name of what it computes, such as "Conv2D".
        name: unique in its graph, with the name scopes that it lies in: "block1/conv1/Conv2D".
        inputs: list of (`Op`, position among its outputs).
        attributes: its name -> a ``tf.AttrValue`` protocol buffer.
        place: its position in its graph, after those of the calls around it.
    """

    type: str
    name: str
    inputs: list = field(default_factory=list)
    attributes: dict = field(default_factory=dict)
    place: tuple = ()

    def attr(self, name, default=None):
        """The value of an attribute: a number, a string, a list, an array; types are strings, functions their names."""
        return decoded(self.attributes[name]) if name in self.attributes else default


def decoded(value):
    """The value in a ``tf.AttrValue`` protocol buffer."""
    kind = value.WhichOneof("value")
    if kind == "list":
        for name in ("i", "f", "b", "s", "type", "shape", "func"):
            if getattr(value.list, name):
                return [_decoded(name, item) for item in getattr(value.list, name)]
        return []
    return _decoded(kind, getattr(value, kind)) if kind else None


def _decoded(kind, value):
    if kind == "s":
        return value.decode("utf-8", "replace")
    if kind == "type":
        return tf.as_dtype(value)
    if kind == "shape":
        return None if value.unknown_rank else tuple(None if d.size < 0 else d.size for d in value.dim)
    if kind == "tensor":
        return tf.make_ndarray(value)
    return value.name if kind == "func" else value


class GraphProgram:
    """A graph and the functions that it may call.

    Args:
        graph_def: ``tf.GraphDef`` protocol buffer.
    """

    def __init__(self, graph_def):
        self.nodes = {node.name: node for node in graph_def.node}
        self.places = {node.name: n for n, node in enumerate(graph_def.node)}
        self.functions = {f.signature.name: f for f in graph_def.library.function}
        self.count = 0

    def outputs(self, names, given):
        """The flat operations behind tensors of the graph.

        Args:
            names: of tensors, "node" or "node:1".
            given: dict name of a tensor -> (`Op`, position) to take in its place.

        Returns:
            List of (`Op`, position).
        """
        body = _Body(self, self.nodes, given, "", ())
        return [body.reference(name) for name in names]

    def called(self, name, arguments, prefix="", place=()):
        """The outputs of a function.

        Args:
            name: of the function.
            arguments: list of (`Op`, position).
            prefix: name scope of the call, "" or with a slash at its end.
            place: of the call.

        Returns:
            List of (`Op`, position).
        """
        if name not in self.functions:
            raise Unexplainable(f"its graph calls the function {name!r}, which it does not contain")
        if len(place) > _DEEPEST_CALLS:
            raise Unexplainable(f"its graph calls functions that call functions, more than {_DEEPEST_CALLS} deep")
        function = self.functions[name]
        given = {arg.name: ref for arg, ref in zip(function.signature.input_arg, arguments, strict=True)}
        body = _Body(self, {node.name: node for node in function.node_def}, given, prefix, place)
        return [body.reference(function.ret[arg.name]) for arg in function.signature.output_arg]

    def result_names(self, node):
        """The names of an operation's outputs, each with the number of tensors in it."""
        if node.op in self.functions:
            return [(arg.name, 1) for arg in self.functions[node.op].signature.output_arg]
        counts = []
        try:
            definition = op_definition(node.op)
        except KeyError:  # it is not in the table of operations either, and is reported with all that are not
            return []
        for arg in definition.output_arg:
            if arg.number_attr:
                count = node.attr[arg.number_attr].i
            else:
                count = len(node.attr[arg.type_list_attr].list.type) if arg.type_list_attr else 1
            counts.append((arg.name, count))
        return counts


class _Body:
    """The nodes of a graph or a function, from which operations are made as they are asked for.

    Args:
        program: `GraphProgram`.
        nodes: dict name -> ``tf.NodeDef``.
        given: dict name of a tensor (or of a function's argument) -> (`Op`, position).
        prefix: of all names.
        place: of the call.
    """

    def __init__(self, program, nodes, given, prefix, place):
        self.program, self.nodes, self.given, self.prefix, self.place = program, nodes, given, prefix, place
        self.places = {name: n for n, name in enumerate(nodes)}
        self.made = {}  # name of a node -> list of (Op, position), one for each output; or the `Op` itself

    def reference(self, text):
        """The (`Op`, position) of "node", "node:1" or, in functions, "node:output:1"."""
        found = self._given(text)
        if found is not None:
            return found
        name, *rest = text.split(":")
        self._make(name)
        made = self.made[name]
        position = int(rest[-1]) if rest else 0
        if len(rest) == 2:
            for output, count in self.program.result_names(self.nodes[name]):
                if output == rest[0]:
                    break
                position += count
        return made[position] if isinstance(made, list) else (made, position)

    def _given(self, text):
        plain = text if ":" in text else f"{text}:0"
        return self.given.get(text, self.given.get(plain, self.given.get(plain.removesuffix(":0"))))

    def _make(self, wanted):
        """Makes a node after those that it depends on; without recursion, as graphs are deep."""
        stack, begun = [wanted], set()
        while stack:
            name = stack[-1]
            if name in self.made:
                stack.pop()
                continue
            if name not in self.nodes:
                raise Unexplainable(f"its graph refers to the operation {name!r}, which it does not contain")
            node = self.nodes[name]
            inputs = [text for text in node.input if not text.startswith("^")]
            before = [text.split(":")[0] for text in inputs if self._given(text) is None]
            missing = [other for other in before if other not in self.made]
            if name in begun and missing:  # a loop of TensorFlow 1 runs backwards through NextIteration
                raise Unexplainable(f"its graph contains a loop of TensorFlow 1, around {name!r}")
            begun.add(name)
            if missing:
                stack.extend(missing)
                continue
            self.made[name] = self._made(node, [self.reference(text) for text in inputs])
            stack.pop()

    def _made(self, node, inputs):
        self.program.count += 1
        if self.program.count > _MOST_OPERATIONS:
            raise Unexplainable(f"its graph has more than {_MOST_OPERATIONS} operations")
        if node.op in _IDENTITIES:
            return inputs
        place = (*self.place, self.places[node.name])
        called = node.attr["f"].func.name if node.op in _CALLS else node.op
        if called in self.program.functions:
            scope = self.prefix + "".join(f"{part}/" for part in node.name.split("/")[:-1])
            return self.program.called(called, inputs, scope, place)
        op = Op(node.op, self.prefix + node.name, inputs, dict(node.attr), place)
        return _unfused(op) if node.op in _FUSED else op


def _unfused(op):
    """The outputs of an operation that TensorFlow's optimizer fused of several, such as _FusedConv2D."""
    plain, first = _FUSED[op.type]
    extra = iter(op.inputs[first:])
    result = replace(op, type=plain, inputs=op.inputs[:first])
    for fused in op.attr("fused_ops", []):
        inputs = [next(extra)] if fused == "BiasAdd" else [next(extra) for _ in range(4)] if fused == "FusedBatchNorm" else []
        attributes = dict(op.attributes)
        if "leakyrelu_alpha" in attributes:
            attributes["alpha"] = attributes["leakyrelu_alpha"]
        kind = "LeakyRelu" if fused == "LeakyReLU" else fused
        result = Op(kind, op.name, [(result, 0), *inputs], attributes, op.place)
    if op.attr("activation_mode", "Identity") != "Identity":  # of _FusedBatchNormEx
        result = Op(op.attr("activation_mode"), op.name, [(result, 0)], {}, op.place)
    return [(result, 0)]


#: Fused operation -> (what it begins with, the number of inputs of that).
_FUSED = {
    "_FusedConv2D": ("Conv2D", 2),
    "_FusedDepthwiseConv2dNative": ("DepthwiseConv2dNative", 2),
    "_FusedMatMul": ("MatMul", 2),
    "_FusedBatchNormEx": ("FusedBatchNormV3", 5),
}


def operations_behind(outputs):
    """The operations that tensors depend on, each after those that it depends on, else in the order of the graph.

    Args:
        outputs: list of (`Op`, position).

    Returns:
        List of `Op`.
    """
    found, waiting = {}, [op for op, _ in outputs]
    while waiting:
        op = waiting.pop()
        if id(op) not in found:
            found[id(op)] = op
            waiting.extend(before for before, _ in op.inputs)
    missing = {key: len({id(before) for before, _ in op.inputs}) for key, op in found.items()}
    takers = {key: [] for key in found}
    for key, op in found.items():
        for before in {id(before) for before, _ in op.inputs}:
            takers[before].append(key)
    ready = [(op.place, key) for key, op in found.items() if not missing[key]]
    heapq.heapify(ready)
    ordered = []
    while ready:
        _, key = heapq.heappop(ready)
        ordered.append(found[key])
        for taker in takers[key]:
            missing[taker] -= 1
            if not missing[taker]:
                heapq.heappush(ready, (found[taker].place, taker))
    return ordered


def scopes_of(op):
    """The path of an operation in its name scopes: ("block1", "conv1", "Conv2D")."""
    return tuple(part for part in op.name.split("/") if part)


def shortened(op):
    """The path of an operation without the names at its end that TensorFlow and Keras give to all operations of its kind."""
    path, generic = list(scopes_of(op)), {op.type.lower(), *_GENERIC}
    while len(path) > 1 and re.sub(r"_\d+$", "", path[-1]).lower() in generic:
        path.pop()
    return tuple(path)


#: How functions of tf.* and keras.ops call the operations in them.
_GENERIC = (
    "convolution", "depthwise", "conv_transpose", "conv", "conv1d", "conv2d", "conv3d", "separable_conv2d", "matmul", "biasadd",
    "add", "sub", "mul", "truediv", "relu", "einsum", "mean", "softmax", "max_pool", "max_pool2d", "avg_pool", "avg_pool2d",
    "maxpool1d", "maxpool2d", "maxpool3d", "avgpool1d", "avgpool2d", "avgpool3d", "activation", "call", "concat", "reshape",
    "transpose", "statefulpartitionedcall", "partitionedcall", "tensordot", "fusedbatchnormv3", "batchnorm", "moments",
)  # fmt: skip


@dataclass(frozen=True)
class Function:
    """What a graph computes.

    Attributes:
        program: `GraphProgram`.
        inputs: list of `Op` of the type "Placeholder", one for each input.
        outputs: list of (`Op`, position).
        constants: dict `Op` -> its value, for inputs that are variables or arrays.
        layers: dict `Op` of the type "KerasLayer" -> function of its inputs' values that returns the outputs, a list.
    """

    program: GraphProgram
    inputs: list
    outputs: list
    constants: dict = field(default_factory=dict)
    layers: dict[Op, Any] = field(default_factory=dict)
