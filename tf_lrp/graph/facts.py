"""What is known about each node before anything runs: its kind, its place among the layers with weights, signs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from keras import layers as L

from tf_lrp import keras_internals as K
from tf_lrp.graph.activations import activation_name
from tf_lrp.graph.flow import ATTENTION, MATMULS, PRODUCTS, QUOTIENTS, gates, signals
from tf_lrp.graph.nodes import constants_in
from tf_lrp.operations import layer_of
from tf_lrp.rules import Pass, Rule, SignalTakesAll, WinnerTakesAll
from tf_lrp.twins.categories import CATEGORY_LAYERS
from tf_lrp.twins.structural import ROUTING_OPERATIONS

_ACTIVATION_LAYERS = (L.Activation, L.ReLU, L.LeakyReLU, L.PReLU, L.ELU, L.Softmax)
_EMBEDDINGS = (L.Embedding, *K.operation_classes("OneHot"))
_SCALINGS = (L.RMSNormalization, L.UnitNormalization, *K.operation_classes("RMSNorm", "Normalize"))
_RECURRENT = (L.RNN, K.CONVOLUTIONAL_LSTM)
_MAX_POOLING = (
    L.MaxPooling1D, L.MaxPooling2D, L.MaxPooling3D, L.AdaptiveMaxPooling1D, L.AdaptiveMaxPooling2D, L.AdaptiveMaxPooling3D,
    *K.operation_classes("MaxPool", "AdaptiveMaxPool"),
)  # fmt: skip
_GLOBAL_MAX_POOLING = (
    L.GlobalMaxPooling1D, L.GlobalMaxPooling2D, L.GlobalMaxPooling3D, *K.operation_classes("Max", "Amax", "Min", "Amin"),
)  # fmt: skip

#: Functions that are never negative, whatever they are given.
_NONNEGATIVE_FUNCTIONS = {"relu", "relu6", "sigmoid", "hard_sigmoid", "softmax", "softplus", "exponential", "sparse_plus",
                          "squareplus", "sparse_sigmoid", "exp"}  # fmt: skip
#: Functions that are not negative where their argument is not.
_SIGN_PRESERVING_FUNCTIONS = {"linear", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "hard_silu", "tanh", "softsign",
                              "hard_tanh", "tanh_shrink", "soft_shrink", "hard_shrink", "mish", "prelu"}  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What a preset may ask about a node.

    Attributes:
        name: unique name of the node, the layer's own where that is unique.
        path: dotted names of the models it lies in and its own.
        layer_class: class name of the layer or operation.
        kinds: what it is: "conv", "dense", "depthwise", "conv_transpose", "pooling", "max_pooling", "average_pooling",
            "global_pooling", "merge", "add", "subtract", "average", "maximum", "minimum", "activation",
            "normalization", "batch_normalization", "rescaling", "resampling", "product", "matmul", "attention", "softmax",
            "recurrent", "embedding", "structural", "weights" (has weights that a rule must be chosen for).
        index: position among the layers with weights, from the input, 0-based; None for the others.
        weighted: number of layers with weights in the graph.
        upstream: kind -> the largest number of layers of that kind on a path from an input to this node.
        downstream: likewise to an output.
        nonnegative: whether its inputs are known to be >= 0.
        depends: whether what it returns depends on the model's inputs by more than a yes or no.
        signals: for each input whether it does.
        takers: for a product, which inputs take relevance when the signal takes all; else as ``signals``.
        only_takers: whether no rule gives the other factors anything: they are normalizers, or functions of the signal.
        default_rule: the rule it has unless a preset addresses it; None if it needs one.
    """

    name: str
    path: str
    layer_class: str
    kinds: frozenset
    index: int | None
    weighted: int
    upstream: Counter
    downstream: Counter
    nonnegative: bool
    depends: bool
    signals: tuple
    takers: tuple
    only_takers: bool
    default_rule: Rule | None


def gather(graph):
    """Facts of each node, in the order of ``graph.nodes``."""
    depends = signals(graph)
    roles = gates(graph, depends)
    flags = [tuple(id(t) in depends for t in node.inputs) for node in graph.nodes]
    kinds = [_kinds(node, sum(flags[n])) for n, node in enumerate(graph.nodes)]
    weights = [n for n, k in enumerate(kinds) if "weights" in k]
    signs = _nonnegative_tensors(graph, kinds)
    upstream = _longest_counts(graph.nodes, kinds, lambda n: n.inputs, lambda n: n.outputs)
    downstream = _longest_counts(graph.nodes[::-1], kinds[::-1], lambda n: n.outputs, lambda n: n.inputs)[::-1]
    return [
        Facts(
            name=node.name,
            path=".".join(node.path),
            layer_class=type(layer_of(node.operation)).__name__,
            kinds=kinds[n],
            index=weights.index(n) if n in weights else None,
            weighted=len(weights),
            upstream=upstream[n],
            downstream=downstream[n],
            nonnegative=bool(node.inputs) and all(id(t) in signs for t in node.inputs),
            depends=any(id(t) in depends for t in node.outputs),
            signals=flags[n],
            takers=roles.get(node.name, (flags[n], False))[0],
            only_takers=roles.get(node.name, (flags[n], False))[1],
            default_rule=_default_rule(node, kinds[n]),
        )
        for n, node in enumerate(graph.nodes)
    ]


def _kinds(node, branches):
    """``branches``: how many of the inputs depend on the model's inputs."""
    operation = node.operation
    if node.affine is not None:
        return node.affine.kinds
    if isinstance(operation, ATTENTION):
        return frozenset({"attention"})
    if isinstance(operation, MATMULS):
        return frozenset({"matmul"})
    if isinstance(operation, (*PRODUCTS, *QUOTIENTS)) and branches > 1:
        return frozenset({"product"})
    if isinstance(operation, _RECURRENT):
        return frozenset({"recurrent", "weights"})
    if isinstance(operation, _EMBEDDINGS) or isinstance(layer_of(operation), CATEGORY_LAYERS):
        return frozenset({"embedding"})
    if isinstance(operation, _SCALINGS):
        return frozenset({"normalization"})
    if isinstance(operation, K.SOFTMAX) or activation_name(operation) == "softmax":
        return frozenset({"activation", "softmax"})
    if isinstance(operation, _GLOBAL_MAX_POOLING):
        return frozenset({"pooling", "max_pooling", "global_pooling"})
    if isinstance(operation, _MAX_POOLING):
        return frozenset({"pooling", "max_pooling"})
    if isinstance(operation, (K.Maximum, K.Minimum)) and len(node.inputs) == 1:
        return frozenset({"activation"})  # max(x, 0) is a function of x
    if isinstance(operation, (L.Maximum, K.Maximum)):
        return frozenset({"merge", "maximum"})
    if isinstance(operation, (L.Minimum, K.Minimum)):
        return frozenset({"merge", "minimum"})
    if isinstance(operation, (*_ACTIVATION_LAYERS, *K.ELEMENTWISE_FUNCTIONS)):
        return frozenset({"activation"})
    return frozenset({"structural"})


def _default_rule(node, kinds):
    if node.affine is not None:
        return node.affine.default_rule
    if kinds & {"product", "matmul", "attention"}:
        return SignalTakesAll()
    if "recurrent" in kinds:
        return None
    return WinnerTakesAll() if kinds & {"max_pooling", "maximum", "minimum"} else Pass()


def _longest_counts(nodes, kinds, before, after):
    """For each node the largest number of nodes of each kind met on one path before it."""
    at_tensor, counts = {}, []
    for node, of_kinds in zip(nodes, kinds, strict=True):
        count = Counter()
        for tensor in before(node):
            count |= at_tensor.get(id(tensor), Counter())  # the union of counters keeps the larger count
        counts.append(count)
        for tensor in after(node):
            at_tensor[id(tensor)] = at_tensor.get(id(tensor), Counter()) | (count + Counter(of_kinds))
    return counts


def _nonnegative_tensors(graph, kinds):
    """ids of the tensors that cannot be negative."""
    known = set()
    for node, of_kinds in zip(graph.nodes, kinds, strict=True):
        inputs = [id(t) in known for t in node.inputs]
        if _stays_nonnegative(node, of_kinds, bool(inputs) and all(inputs), any(inputs)):
            known.update(id(t) for t in node.outputs)
    return known


def _stays_nonnegative(node, kinds, all_inputs, any_input):
    if isinstance(node.operation, K.Maximum):
        return any_input or any(np.all(np.asarray(c) >= 0) for c in constants_in((node.args, node.kwargs)))
    if constants_in((node.args, node.kwargs)):
        return False
    if "activation" in kinds:
        function = activation_name(node.operation)
        return function in _NONNEGATIVE_FUNCTIONS or (all_inputs and function in _SIGN_PRESERVING_FUNCTIONS)
    if "maximum" in kinds:
        return any_input
    if kinds & {"weights", "normalization", "rescaling", "subtract", "embedding"}:
        return False
    if "resampling" in kinds:
        # Cubic and Lanczos kernels have negative lobes.
        return all_inputs and node.operation.interpolation == "bilinear"
    if "structural" in kinds and not isinstance(node.operation, _SIGN_KEEPING):
        return False
    return all_inputs


_SIGN_KEEPING = (
    L.Flatten, L.Reshape, L.Permute, L.RepeatVector, L.ZeroPadding1D, L.ZeroPadding2D, L.ZeroPadding3D, L.Cropping1D,
    L.Cropping2D, L.Cropping3D, L.UpSampling1D, L.UpSampling2D, L.UpSampling3D, L.Concatenate, L.Dropout, L.SpatialDropout1D,
    L.SpatialDropout2D, L.SpatialDropout3D, L.AlphaDropout, L.GaussianDropout, L.GaussianNoise, L.ActivityRegularization,
    L.Identity, *ROUTING_OPERATIONS,
)  # fmt: skip
