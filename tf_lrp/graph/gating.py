"""Signals and gates: which tensors depend on the model's inputs, and which factor of a product is its signal."""

from __future__ import annotations

from keras import tree

from tf_lrp.graph import routing
from tf_lrp.keras_compat.keras_classes import Power
from tf_lrp.keras_compat.lengths import SizeOf
from tf_lrp.keras_compat.own_operations import Entries
from tf_lrp.keras_compat.side_effects import Noise
from tf_lrp.operations.activation_table import Gate, activation_of
from tf_lrp.operations.indicators import indicates
from tf_lrp.operations.routing_table import CASTS, is_identity, routing_of
from tf_lrp.twins import twin_class_of
from tf_lrp.twins.products import ArithmeticTwin, MatmulTwin, ProductTwin, QuotientTwin

#: Types whose values are no amounts, so that there is nothing to attribute.
_WITHOUT_SIZE = ("bool", "string")


def dependent_tensors(graph):
    """ids of the tensors that depend on the model's inputs other than through comparisons, positions and shapes."""
    as_entries = {id(t) for node in graph.nodes if isinstance(node.operation, Entries) for t in node.inputs}
    dependent = {id(t) for t in tree.flatten(graph.inputs) if t.dtype not in _WITHOUT_SIZE and id(t) not in as_entries}
    for node in graph.nodes:
        is_entries = isinstance(node.operation, Entries)
        if is_entries or (any(id(t) in dependent for t in node.inputs) and not indicates(node.operation)):
            values = node.outputs[:1] if routing_of(node.operation).ranks else node.outputs
            dependent.update(id(t) for t in values if t.dtype not in _WITHOUT_SIZE)
    return dependent


def noise(graph):
    """ids of the tensors that hold random numbers, or are computed from these alone: constants at inference."""
    random, sizes = set(), set()
    for node in graph.nodes:
        inputs = {id(t) for t in node.inputs}
        outputs = {id(t) for t in node.outputs}
        if isinstance(node.operation, SizeOf):
            sizes |= outputs
        elif isinstance(node.operation, Noise) or (inputs & random and inputs <= random | sizes):
            random |= outputs
    return random


def signal_factors(graph, dependent):
    """For each product of branches, which factors take relevance where the signal takes all.

    Args:
        graph: `Graph`.
        dependent: its `dependent_tensors`.

    Returns:
        Dict node name -> (tuple of bools, one for each input; whether that holds under every rule).
    """
    return _Factors(graph.producers(), dependent).of_products(graph.nodes)


def _is_a(node, twin_class):
    """Whether the twin registered for a node's operation is of this class."""
    registered = twin_class_of(node.operation)
    return registered is not None and issubclass(registered, twin_class)


class _Factors:
    """The factors of the products in a graph.

    Args:
        producers: id of a tensor -> the node that makes it.
        dependent: see `dependent_tensors`.
    """

    def __init__(self, producers, dependent):
        self.producers, self.dependent = producers, dependent

    def of_products(self, nodes):
        roles = {}
        for node in nodes:
            flags = tuple(id(t) in self.dependent for t in node.inputs)
            twin_class = None if node.affine is not None else twin_class_of(node.operation, flags)
            if twin_class is None:
                continue
            role = twin_class.signal_factors(flags)
            if role is None and issubclass(twin_class, (ProductTwin, MatmulTwin)) and sum(flags) > 1:
                role = self._signals(node, flags)
            if role is not None:
                roles[node.name] = role
        return roles

    def _signals(self, node, flags):
        """The factors that look least like a gate."""
        if _is_a(node, ProductTwin) and len(node.inputs) == 2 and all(flags):
            signal = self._argument(node)
            if signal is not None:
                return tuple(n == signal for n in (0, 1)), True
        ranks = [self._rank(t) if flag else None for t, flag in zip(node.inputs, flags, strict=True)]
        top = max(rank for rank in ranks if rank is not None)
        if top == Gate.NONE or all(rank in (None, top) for rank in ranks):
            return flags, False
        return tuple(rank is not None and rank < top for rank in ranks), top == Gate.NORMALIZER

    def _argument(self, node):
        """The position of x in a product x f(x), where f acts on single entries; None for other products."""
        roots = [self._root(t) for t in node.inputs]
        for signal, gate in ((0, 1), (1, 0)):
            if roots[gate] != roots[signal] and self._is_function_of(node.inputs[gate], roots[signal], {}):
                return signal
        return None

    def _rank(self, tensor):
        """How much a factor looks like a gate: `Gate`."""
        while (node := self.producers.get(id(tensor))) is not None:
            inputs = self._dependent(node.inputs)
            if isinstance(node.operation, Entries):
                break
            if self._is_reciprocal(node):
                return Gate.NORMALIZER
            if _is_a(node, ProductTwin) and len(inputs) == 2 and self._argument(node) is not None:
                return Gate.ACTIVATION  # x f(x) written out
            gate = activation_of(node.operation).gate
            if gate != Gate.NONE:
                return gate
            moves = routing.rearranges(node)
            inputs = self._dependent(routing.carried(node, self.dependent)) if moves else inputs
            if moves and len(inputs) > 1:  # a gate put together from several is as much of one as the least of them
                return min(map(self._rank, inputs))
            if len(inputs) != 1 or not (moves or _changes_units(node)):
                return Gate.NONE
            (tensor,) = inputs
        # An input of integers that reaches a product as a number is a mask; tokens go through an embedding.
        return Gate.GATE if "int" in tensor.dtype else Gate.NONE

    def _dependent(self, tensors):
        return [t for t in tensors if id(t) in self.dependent]

    def _is_reciprocal(self, node):
        """Whether a node divides a constant by its input, or raises it to a negative power."""
        if isinstance(node.operation, Power):
            exponent = node.args[-1]
            return isinstance(exponent, (int, float)) and exponent < 0
        dividend = node.args[0] if node.args else next(iter(node.kwargs.values()), None)
        return _is_a(node, QuotientTwin) and id(dividend) not in self.dependent

    def _root(self, tensor):
        """id of the tensor that a tensor is computed from by arithmetic with constants alone."""
        while (node := self.producers.get(id(tensor))) is not None:
            inputs = self._dependent(node.inputs)
            units = is_identity(node.operation) or _is_a(node, ArithmeticTwin) or isinstance(node.operation, CASTS)
            if len(inputs) != 1 or not units or node.affine is not None:
                break
            (tensor,) = inputs
        return id(tensor)

    def _is_function_of(self, tensor, root, known):
        """Whether each entry of a tensor is a function of the same entry of the tensor with the id ``root``."""
        if id(tensor) == root:
            return True
        if id(tensor) not in known:
            node = self.producers.get(id(tensor))
            known[id(tensor)] = node is not None and self._acts_on_entries(node)
            if known[id(tensor)]:
                known[id(tensor)] = all(self._is_function_of(t, root, known) for t in self._dependent(node.inputs))
        return known[id(tensor)]

    def _acts_on_entries(self, node):
        if node.affine is not None and "weights" in node.affine.kinds:
            return False
        twin_class = twin_class_of(node.operation)
        elementwise = twin_class is not None and twin_class.is_elementwise and not activation_of(node.operation).along_axis
        if not (elementwise or is_identity(node.operation)):
            return False
        return all(t.shape == node.output.shape for t in self._dependent(node.inputs))


def _changes_units(node):
    """Whether a node adds constants, multiplies by them, or changes the type."""
    if node.affine is not None and "rescaling" in node.affine.kinds:
        return True
    return _is_a(node, ArithmeticTwin) or isinstance(node.operation, CASTS) or activation_of(node.operation).scales
