"""Branches and loops, written out; and the lists of tensors in which loops collect their results."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tf_lrp.keras_compat.side_effects import Unexplainable
from tf_lrp.keras_compat.tensorflow_graphs.table import replays
from tf_lrp.keras_compat.tensorflow_graphs.values import TensorList, as_list, as_tensor, is_lengths, is_tensor

#: A loop with more steps than this is refused.
_MOST_STEPS = 10_000


def _is_open(value):
    """Whether a value becomes known only when the graph runs."""
    return is_tensor(value) or is_lengths(value) or tf.is_symbolic_tensor(value)


@replays("If", "StatelessIf", always=True)
def _if(node, condition, *arguments):
    """The branch that is chosen; both, if the condition depends on the inputs."""
    branches = node.attr("then_branch"), node.attr("else_branch")
    if not _is_open(condition):
        return tuple(node.run.called(branches[0 if bool(np.asarray(condition)) else 1], arguments))
    yes, no = (node.run.called(name, arguments) for name in branches)
    return tuple(ops.where(as_tensor(condition), a, b) for a, b in zip(yes, no, strict=True))


@replays("Case", "StatelessCase", always=True)
def _case(node, index, *arguments):
    branches = node.attr("branches")
    if _is_open(index):
        raise Unexplainable("which of its branches runs depends on the inputs")
    chosen = int(np.asarray(index))
    return tuple(node.run.called(branches[chosen if 0 <= chosen < len(branches) else -1], arguments))


@replays("While", "StatelessWhile", always=True)
def _while(node, *state):
    for _ in range(_MOST_STEPS):
        (goes_on,) = node.run.called(node.attr("cond"), state)
        if _is_open(goes_on):
            break
        if not bool(np.asarray(goes_on)):
            return tuple(state)
        state = node.run.called(node.attr("body"), state)
    raise Unexplainable(
        f"it runs a number of steps that depends on what it computes, or more than {_MOST_STEPS}, and so is not written out"
    )


@replays("TensorListReserve", "EmptyTensorList", always=True)
def _new_list(node, shape, count):
    if _is_open(count):
        raise Unexplainable("it runs over an axis whose length is unknown, and is explained by being written out step by step")
    return TensorList([None] * (int(np.asarray(count)) if node.op.type == "TensorListReserve" else 0))


@replays("TensorListFromTensor", always=True)
def _list_of(node, x, shape):
    if x.shape[0] is None:
        raise Unexplainable("it runs over an axis whose length is unknown, and is explained by being written out step by step")
    return TensorList(x[n] for n in range(x.shape[0]))


@replays("TensorListGetItem", always=True)
def _item(node, entries, index, shape):
    return entries[as_list(index)[0]]


@replays("TensorListSetItem", always=True)
def _with_item(node, entries, index, item):
    changed = TensorList(entries)
    changed[as_list(index)[0]] = item
    return changed


@replays("TensorListPushBack", always=True)
def _with_another(node, entries, item):
    return TensorList([*entries, item])


@replays("TensorListLength", always=True)
def _count(node, entries):
    return np.asarray(len(entries), "int32")


@replays("TensorListStack", always=True)
def _stacked(node, entries, shape):
    if any(entry is None for entry in entries):
        shapes = [entry.shape for entry in entries if isinstance(entry, keras.KerasTensor)]
        if not shapes:
            raise Unexplainable("it stacks entries that were never written")
        zero = ops.zeros_like(next(entry for entry in entries if isinstance(entry, keras.KerasTensor)))
        entries = [zero if entry is None else entry for entry in entries]
    return ops.stack([as_tensor(entry) for entry in entries])
