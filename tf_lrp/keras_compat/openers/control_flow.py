"""Loops and branches of keras.ops, written out step by step."""

from __future__ import annotations

import functools
import itertools

from keras import ops, tree

from tf_lrp.keras_compat.lengths import is_symbolic
from tf_lrp.keras_compat.openers.registry import opens_function
from tf_lrp.keras_compat.side_effects import Unexplainable


def _length(xs, axis=0):
    lengths = {leaf.shape[axis] for leaf in tree.flatten(xs)}
    if None in lengths:
        raise Unexplainable("it runs over an axis whose length is unknown, and is explained by being written out step by step")
    return next(iter(lengths))


def _entry(xs, n):
    return tree.map_structure(lambda x: x[n], xs)


def _stacked(steps):
    return tree.map_structure(lambda *leaves: ops.stack(leaves, axis=0), *steps)


def _map(function, xs):
    return _stacked([function(_entry(xs, n)) for n in range(_length(xs))])


@opens_function("Map")
def _mapped(operation, f, xs):
    return _map(f, xs)


@opens_function("VectorizedMap")
def _vectorized_map(operation, elements):
    return _map(operation.function, elements)


@opens_function("Scan")
def _scan(operation, f, init, xs=None):
    length = _length(xs) if operation.length is None else int(operation.length)
    carry, results = init, {}
    for n in reversed(range(length)) if operation.reverse else range(length):
        carry, results[n] = f(carry, None if xs is None else _entry(xs, n))
    return carry, _stacked([results[n] for n in range(length)])


@opens_function("AssociativeScan")
def _associative_scan(operation, f, elems):
    axis = operation.axis
    length = _length(elems, axis)

    def at(n):
        def entry(x):
            return x[(*(slice(None),) * (axis % len(x.shape)), slice(n, n + 1))]

        return tree.map_structure(entry, elems)

    order = list(reversed(range(length)) if operation.reverse else range(length))
    results = {order[0]: at(order[0])}
    for before, n in itertools.pairwise(order):
        results[n] = tree.pack_sequence_as(elems, tree.flatten(f(results[before], at(n))))
    return tree.map_structure(lambda *leaves: ops.concatenate(leaves, axis=axis), *[results[n] for n in range(length)])


@opens_function("ForiLoop")
def _fori_loop(operation, init_val):
    if is_symbolic((operation.lower, operation.upper)):
        raise Unexplainable("it runs a number of steps that is unknown, and is explained by being written out step by step")
    state = init_val
    for n in range(int(operation.lower), int(operation.upper)):
        state = operation.body_fun(n, state)
    return state


@opens_function("WhileLoop")
def _while_loop(operation, loop_vars):
    raise Unexplainable("it runs a number of steps that depends on what it computes, and so cannot be written out step by step")


def _chosen(condition, yes, no):
    return tree.map_structure(lambda a, b: ops.where(condition, a, b), yes, no)


@opens_function("Cond")
def _cond(operation, pred, true_fn, false_fn):
    """Both branches; relevance goes to the one that is chosen."""
    if not is_symbolic(pred):
        return true_fn() if pred else false_fn()
    return _chosen(pred, true_fn(), false_fn())


@opens_function("Switch")
def _switch(operation, index, branches, *operands):
    results = [branch(*operands) for branch in branches]
    if not is_symbolic(index):
        return results[min(max(int(index), 0), len(results) - 1)]
    return functools.reduce(
        lambda chosen, n: _chosen(ops.less_equal(index, n), results[n], chosen), reversed(range(len(results) - 1)), results[-1]
    )
