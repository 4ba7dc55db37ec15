"""Where relevance can go at all: what depends on the inputs, and which factor of a product is its signal."""

from __future__ import annotations

from keras import layers, tree

from tf_lrp.graph import routing
from tf_lrp.graph.activations import activation_name
from tf_lrp.keras_compat import internals
from tf_lrp.keras_compat.operations import Entries, Gated
from tf_lrp.keras_compat.side_effects import Noise
from tf_lrp.twins.identities import is_identity

#: Products of branches, element by element.
PRODUCTS = (layers.Multiply, internals.Multiply, Gated)
QUOTIENTS = (internals.Divide, internals.TrueDivide, *internals.operation_classes("DivideNoNan"))
MATMULS = internals.operation_classes(
    "Matmul", "Einsum", "Tensordot", "Dot", "Inner", "Outer", "Vdot", "Kron", "Cross", "Correlate"
)
ATTENTION = internals.operation_classes("DotProductAttention")

#: How much a function looks like a gate: between 0 and 1; bounded; any other.
_GATES = {"sigmoid", "hard_sigmoid", "softmax", "sparse_sigmoid", "sparsemax"}
_BOUNDED = {"tanh", "erf", "softsign", "hard_tanh", "relu6", "clip", "sin", "cos", "bounded_relu", "arctan"}
_NORMALIZERS = internals.operation_classes("Rsqrt", "Reciprocal")
#: Operations that return values and their places.
_RANKINGS = internals.operation_classes("TopK")
#: Types whose values say which or whether, and never how much.
_WITHOUT_SIZE = ("bool", "string")
_ARITHMETIC = (internals.Add, internals.Subtract, internals.Multiply, internals.Divide, internals.TrueDivide)
#: What is but a change of units or of type.
_UNITS = (layers.Rescaling, *internals.operation_classes("Negative", "Cast", "SaturateCast"))


def signals(graph):
    """ids of the tensors whose values depend on the model's inputs by more than a yes or no."""
    as_entries = {id(t) for node in graph.nodes if isinstance(node.operation, Entries) for t in node.inputs}
    found = {id(t) for t in tree.flatten(graph.inputs) if t.dtype not in _WITHOUT_SIZE and id(t) not in as_entries}
    for node in graph.nodes:
        starts = isinstance(node.operation, Entries)
        if starts or (any(id(t) in found for t in node.inputs) and not _indicates(node)):
            values = node.outputs[:1] if isinstance(node.operation, _RANKINGS) else node.outputs
            found.update(id(t) for t in values if t.dtype not in _WITHOUT_SIZE)
    return found


def _indicates(node):
    return isinstance(node.operation, (*internals.INDICATORS, internals.SizeOf))


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
        if isinstance(node.operation, ATTENTION):
            # query, key, value come first; the weights A in A v are a gate.
            roles[node.name] = (tuple(n == 2 and flag for n, flag in enumerate(flags)), False)
        elif isinstance(node.operation, QUOTIENTS) and flags[:2] == (True, True):
            roles[node.name] = ((True, False), True)
        elif isinstance(node.operation, Gated):
            roles[node.name] = ((True, False), False)
        elif isinstance(node.operation, (*PRODUCTS, *MATMULS)) and sum(flags) > 1:
            roles[node.name] = _signal_of(node, flags, producers, found)
    return roles


def _signal_of(node, flags, producers, found):
    ranks = [_rank(t, producers, found) if flag else None for t, flag in zip(node.inputs, flags, strict=True)]
    known = [r for r in ranks if r is not None]
    everyone = (flags, False)
    if isinstance(node.operation, PRODUCTS) and len(node.inputs) == 2 and all(flags):
        signal = _own_gate(node, producers, found)
        if signal is not None:
            return tuple(n == signal for n in (0, 1)), True
    top = max(known)
    if top == 0 or known.count(top) == len(known):
        return everyone
    return tuple(r is not None and r < top for r in ranks), top == _NORMALIZER


def _own_gate(node, producers, found):
    """Which factor of x f(x), a function of x element by element, is x; None for other products."""
    plain = [_plain_root(t, producers, found) for t in node.inputs]
    for signal, gate in ((0, 1), (1, 0)):
        if plain[gate] != plain[signal] and _is_function_of(node.inputs[gate], plain[signal], producers, found, {}):
            return signal
    return None


def _is_negative(exponent):
    return isinstance(exponent, (int, float)) and exponent < 0


_NORMALIZER = 4


def _rank(tensor, producers, found):
    """How much a factor looks like a gate: 0 not at all, 1 an activation, 2 bounded, 3 a gate, 4 a normalizer."""
    while (node := producers.get(id(tensor))) is not None:
        inputs = [t for t in node.inputs if id(t) in found]
        operation = node.operation
        if isinstance(operation, Entries):
            break
        if isinstance(operation, _NORMALIZERS) or (isinstance(operation, QUOTIENTS) and id(_first(node)) not in found):
            return _NORMALIZER
        if isinstance(operation, internals.Power) and _is_negative(node.args[-1]):
            return _NORMALIZER
        if isinstance(operation, PRODUCTS) and len(inputs) == 2 and _own_gate(node, producers, found) is not None:
            return 1  # x f(x) written out is an activation
        name = _function_of(operation)
        if name in _GATES:
            return 3
        if name in _BOUNDED:
            return 2
        if name and name != "linear":
            return 1
        moves = routing.rearranges(node)
        inputs = [t for t in routing.carried(node, found) if id(t) in found] if moves else inputs
        if moves and len(inputs) > 1:  # a gate put together from several is as much of one as the least of them
            return min(_rank(t, producers, found) for t in inputs)
        if len(inputs) != 1 or not (moves or isinstance(operation, (*_ARITHMETIC, *_UNITS))):
            return 0
        (tensor,) = inputs
    # An input of integers that reaches a product as a number is a mask; tokens go through an embedding.
    return 3 if "int" in tensor.dtype else 0


def _first(node):
    return node.args[0] if node.args else next(iter(node.kwargs.values()))


def _function_of(operation):
    if isinstance(operation, layers.ReLU) and operation.max_value is not None:
        return "bounded_relu"
    if isinstance(operation, internals.operation_classes("Erf")):
        return "erf"
    if isinstance(operation, _UNITS):
        return ""
    return activation_name(operation)


def _plain_root(tensor, producers, found):
    """What a tensor is but for factors and units: id of the tensor behind arithmetic with constants."""
    while (node := producers.get(id(tensor))) is not None:
        inputs = [t for t in node.inputs if id(t) in found]
        units = is_identity(node.operation) or isinstance(node.operation, (*_ARITHMETIC, *internals.operation_classes("Cast")))
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
    entries = (
        *_ARITHMETIC,
        *internals.ELEMENTWISE_FUNCTIONS,
        layers.Activation,
        layers.ReLU,
        *internals.operation_classes("Cast"),
    )
    if not (is_identity(node.operation) or isinstance(node.operation, entries)):
        return False
    if activation_name(node.operation) in ("softmax", "log_softmax"):
        return False
    return all(t.shape == node.output.shape for t in node.inputs if id(t) in found)
