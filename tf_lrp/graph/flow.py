"""Where relevance can go at all: what depends on the inputs, and which factor of a product is its signal."""

from __future__ import annotations

from keras import tree

from tf_lrp.graph import routing
from tf_lrp.keras_compat import internals
from tf_lrp.keras_compat.operations import Entries
from tf_lrp.keras_compat.side_effects import Noise
from tf_lrp.operations.activation_table import Gate, activation_of
from tf_lrp.operations.indicators import indicates
from tf_lrp.operations.routing_table import CASTS, is_identity, routing_of
from tf_lrp.twins import twin_class_of
from tf_lrp.twins.products import ArithmeticTwin, MatmulTwin, ProductTwin, QuotientTwin

#: Types whose values say which or whether, and never how much.
_WITHOUT_SIZE = ("bool", "string")


def signals(graph):
    """ids of the tensors whose values depend on the model's inputs by more than a yes or no."""
    as_entries = {id(t) for node in graph.nodes if isinstance(node.operation, Entries) for t in node.inputs}
    found = {id(t) for t in tree.flatten(graph.inputs) if t.dtype not in _WITHOUT_SIZE and id(t) not in as_entries}
    for node in graph.nodes:
        starts = isinstance(node.operation, Entries)
        if starts or (any(id(t) in found for t in node.inputs) and not indicates(node.operation)):
            values = node.outputs[:1] if routing_of(node.operation).ranks else node.outputs
            found.update(id(t) for t in values if t.dtype not in _WITHOUT_SIZE)
    return found


def noise(graph):
    """ids of the tensors that hold random numbers, or what was computed from these alone: constants at inference."""
    found, sizes = set(), set()
    for node in graph.nodes:
        inputs = {id(t) for t in node.inputs}
        outputs = {id(t) for t in node.outputs}
        if isinstance(node.operation, internals.SizeOf):
            sizes |= outputs
        elif isinstance(node.operation, Noise) or (inputs & found and inputs <= found | sizes):
            found |= outputs
    return found


def gates(graph, found):
    """For each product of branches: which factors take relevance under signal-takes-all.

    Args:
        graph: `Graph`.
        found: what `signals` returned for it.

    Returns:
        Dict node name -> (tuple of bools, one for each input; whether that holds under every rule).
    """
    producers = graph.producers()
    roles = {}
    for node in graph.nodes:
        flags = tuple(id(t) in found for t in node.inputs)
        twin_class = None if node.affine is not None else twin_class_of(node.operation, flags)
        if twin_class is None:
            continue
        role = twin_class.signal_factors(flags)
        if role is None and issubclass(twin_class, (ProductTwin, MatmulTwin)) and sum(flags) > 1:
            role = _signal_of(node, flags, producers, found)
        if role is not None:
            roles[node.name] = role
    return roles


def _is_a(node, twin_class):
    """Whether an operation has this twin, or a special one of its kind."""
    found = twin_class_of(node.operation)
    return found is not None and issubclass(found, twin_class)


def _signal_of(node, flags, producers, found):
    ranks = [_rank(t, producers, found) if flag else None for t, flag in zip(node.inputs, flags, strict=True)]
    known = [r for r in ranks if r is not None]
    everyone = (flags, False)
    if _is_a(node, ProductTwin) and len(node.inputs) == 2 and all(flags):
        signal = _own_gate(node, producers, found)
        if signal is not None:
            return tuple(n == signal for n in (0, 1)), True
    top = max(known)
    if top == 0 or known.count(top) == len(known):
        return everyone
    return tuple(r is not None and r < top for r in ranks), top == Gate.NORMALIZER


def _own_gate(node, producers, found):
    """Which factor of x f(x), a function of x element by element, is x; None for other products."""
    plain = [_plain_root(t, producers, found) for t in node.inputs]
    for signal, gate in ((0, 1), (1, 0)):
        if plain[gate] != plain[signal] and _is_function_of(node.inputs[gate], plain[signal], producers, found, {}):
            return signal
    return None


def _is_negative(exponent):
    return isinstance(exponent, (int, float)) and exponent < 0


def _rank(tensor, producers, found):
    """How much a factor looks like a gate: `Gate`."""
    while (node := producers.get(id(tensor))) is not None:
        inputs = [t for t in node.inputs if id(t) in found]
        operation = node.operation
        if isinstance(operation, Entries):
            break
        if _is_a(node, QuotientTwin) and id(_first(node)) not in found:
            return Gate.NORMALIZER
        if isinstance(operation, internals.Power) and _is_negative(node.args[-1]):
            return Gate.NORMALIZER
        if _is_a(node, ProductTwin) and len(inputs) == 2 and _own_gate(node, producers, found) is not None:
            return Gate.ACTIVATION  # x f(x) written out
        function = activation_of(operation)
        if function.gate != Gate.NONE:
            return function.gate
        moves = routing.rearranges(node)
        inputs = [t for t in routing.carried(node, found) if id(t) in found] if moves else inputs
        if moves and len(inputs) > 1:  # a gate put together from several is as much of one as the least of them
            return min(_rank(t, producers, found) for t in inputs)
        if len(inputs) != 1 or not (moves or _changes_units(node)):
            return Gate.NONE
        (tensor,) = inputs
    # An input of integers that reaches a product as a number is a mask; tokens go through an embedding.
    return Gate.GATE if "int" in tensor.dtype else Gate.NONE


def _changes_units(node):
    """Whether a node adds constants, multiplies by them, or changes the type."""
    if node.affine is not None and "rescaling" in node.affine.kinds:
        return True
    return _is_a(node, ArithmeticTwin) or isinstance(node.operation, CASTS) or activation_of(node.operation).scales


def _first(node):
    return node.args[0] if node.args else next(iter(node.kwargs.values()))


def _plain_root(tensor, producers, found):
    """What a tensor is but for factors and units: id of the tensor behind arithmetic with constants."""
    while (node := producers.get(id(tensor))) is not None:
        inputs = [t for t in node.inputs if id(t) in found]
        units = is_identity(node.operation) or _is_a(node, ArithmeticTwin) or isinstance(node.operation, CASTS)
        if len(inputs) != 1 or not units or node.affine is not None:
            break
        (tensor,) = inputs
    return id(tensor)


def _is_function_of(tensor, root, producers, found, known):
    """Whether each entry of a tensor is a function of the same entry of the tensor with the id ``root``."""
    if id(tensor) == root:
        return True
    if id(tensor) not in known:
        node = producers.get(id(tensor))
        known[id(tensor)] = node is not None and _acts_on_entries(node, found)
        if known[id(tensor)]:
            inputs = [t for t in node.inputs if id(t) in found]
            known[id(tensor)] = all(_is_function_of(t, root, producers, found, known) for t in inputs)
    return known[id(tensor)]


def _acts_on_entries(node, found):
    if node.affine is not None and "weights" in node.affine.kinds:
        return False
    if activation_of(node.operation).along_axis:
        return False
    twin_class = twin_class_of(node.operation)
    if not is_identity(node.operation) and (twin_class is None or not twin_class.is_elementwise):
        return False
    return all(t.shape == node.output.shape for t in node.inputs if id(t) in found)
