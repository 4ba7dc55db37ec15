"""What a node does with values that it does not compute: it copies them, puts others in, or picks the largest."""

from __future__ import annotations

from keras import layers

from tf_lrp.graph.nodes import constants_in, tensors_in
from tf_lrp.keras_compat import internals
from tf_lrp.keras_compat.operations import SplitTime
from tf_lrp.twins.identities import IDENTITY_LAYERS, is_identity
from tf_lrp.twins.structural import INSERTING_LAYERS, ROUTING_LAYERS

#: Everything that hands values on as they are.
REARRANGING = (*ROUTING_LAYERS, *IDENTITY_LAYERS)

#: What returns one of the values that it is given, chosen by size: it gives way to every increasing function.
_PICKING = (
    layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D, layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D,
    layers.GlobalMaxPooling3D,
    layers.AdaptiveMaxPooling1D, layers.AdaptiveMaxPooling2D, layers.AdaptiveMaxPooling3D, layers.Maximum, layers.Minimum,
    *internals.operation_classes("MaxPool", "AdaptiveMaxPool", "Max", "Amax", "Min", "Amin", "Maximum", "Minimum", "TopK"),
)  # fmt: skip


def rearranges(node):
    """Whether a node hands on values as they are, wherever to."""
    return is_identity(node.operation) or (node.affine is None and isinstance(node.operation, REARRANGING))


def picks(node):
    """Whether a node hands on the largest or smallest of some values."""
    return node.affine is None and isinstance(node.operation, _PICKING)


def carried(node, found):
    """The tensors whose values a node works on; the others say only where values go.

    Args:
        node: `Node`.
        found: ids of the tensors that depend on the model's inputs.
    """
    if isinstance(node.operation, SplitTime):
        return node.inputs[:1]
    if isinstance(node.operation, internals.operation_classes("Where")):
        return tensors_in((node.args[1:], {k: v for k, v in node.kwargs.items() if k != "condition"}))
    return [t for t in node.inputs if id(t) in found]


def takers_of(graph, tensor):
    """The nodes that take a tensor, seen through those that do nothing at inference."""
    taking = graph.consumers().get(id(tensor), [])
    return [n for node in taking for n in (takers_of(graph, node.output) if is_identity(node.operation) else [node])]


def keeps_to_its_inputs(node, found):
    """Whether each value that a node returns, which rearranges or picks, is one of those that depend on the model's inputs."""
    if is_identity(node.operation):
        return True
    if isinstance(node.operation, (internals.Maximum, internals.Minimum)) and len(node.inputs) == 1:
        return False
    if getattr(node.operation, "initial", None) is not None:
        return False  # max(..., initial)
    if isinstance(node.operation, internals.Sized) and node.operation.function.__name__ == "pad":
        return False
    if isinstance(node.operation, internals.operation_classes("Where", "SliceUpdate")):
        values = [value for key, value in (*enumerate(node.args), *node.kwargs.items()) if key in _VALUES[_kind_of(node)]]
        return len(values) == 2 and all(id(value) in found for value in values)
    if isinstance(node.operation, INSERTING_LAYERS) and not _unpadded(node.operation):
        return False
    if isinstance(node.operation, _JOINING):
        return not constants_in((node.args, node.kwargs)) and all(id(t) in found for t in node.inputs)
    return True


#: What puts whole tensors side by side.
_JOINING = (layers.Concatenate, *internals.operation_classes("Concatenate", "Stack", "Append", "Hstack", "Vstack", "Dstack"))
#: Operation -> the arguments that its result is put together from.
_VALUES = {"Where": (1, 2, "x1", "x2"), "SliceUpdate": (0, 2, "inputs", "updates")}


def _kind_of(node):
    return type(node.operation).__name__


def _unpadded(operation):
    """Whether an operation that takes windows pads none."""
    windows = isinstance(operation, internals.operation_classes("Unfold", "ExtractPatches"))
    return windows and operation.padding in (0, "valid", "VALID", (0, 0), [0, 0])
