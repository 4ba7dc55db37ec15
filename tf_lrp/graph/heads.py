"""Softmax and sigmoid at the outputs, the heads: scores (logits) are explained, so heads are removed.

Heads are also removed where layers follow that only move values. Sigmoid commutes with all of these, as
sigmoid(z)[i] = sigmoid(z[i]); softmax with those that keep its classes along one axis.
"""

from __future__ import annotations

import inspect
import logging
import warnings
from dataclasses import replace

import numpy as np
from keras import tree

from tf_lrp.graph import routing
from tf_lrp.graph.gating import dependent_tensors
from tf_lrp.graph.nodes import constants_in, like, placeholder, pruned, unique_name, without_idle_placeholders
from tf_lrp.operations import axes
from tf_lrp.operations.activation_table import activation_name, activation_of
from tf_lrp.operations.routing_table import is_identity, routing_of
from tf_lrp.twins import twin_class_of

logger = logging.getLogger("tf_lrp")

#: An output is computed from no probabilities, from probabilities that scores can replace, or from others.
_NONE, _SCORES, _PROBABILITIES = "none", "scores", "probabilities"


def strip_softmax(graph):
    """Removes softmax and sigmoid at the outputs, so that scores (logits) are explained instead of probabilities.

    This includes heads that are followed by layers which only move values: reshaping, slicing, transposing, casting, copying,
    layers that act in training only, concatenation of several heads; after a sigmoid also maxima and minima. A softmax is
    removed if the entries of each distribution still lie along one axis. If one probability of an output cannot be replaced,
    as in [p, 1 - p] or after padding, the output keeps all its probabilities, because their sizes are compared.

    A head that is also used inside the model stays there. The output of its layer, where relevance at the layer is asked for,
    then is the scores.
    """
    outputs = _Outputs(graph)
    stripped = [t for t in tree.flatten(graph.outputs) if outputs.below(t) == _SCORES]
    if not stripped:
        return graph
    return _without(graph, outputs, {id(t) for t in stripped})


def heads_of(graph):
    """The nodes that `strip_softmax` would remove."""
    outputs = _Outputs(graph)
    heads = {}
    for tensor in tree.flatten(graph.outputs):
        if outputs.below(tensor) == _SCORES:
            heads.update((id(node), node) for node in outputs.heads_below(tensor))
    return list(heads.values())


def warn_of_probabilities(graph):
    """Warns if an output is still computed from probabilities after `strip_softmax`.

    Args:
        graph: what `strip_softmax` returned.
    """
    outputs = _Outputs(graph)
    head = next((outputs.blamed for t in tree.flatten(graph.outputs) if outputs.below(t) == _PROBABILITIES), None)
    if head is None:
        return
    before, function = graph.producers().get(id(head.inputs[0])), activation_name(head.operation)
    name = repr(before.path[-1]) if before is not None else "..."
    warnings.warn(
        f"A probability is explained, not a score: the output is computed from what {head.name!r} ({function}) "
        "returns, by steps from which it cannot be removed. A probability is positive even if the score is negative, evidence "
        "against the class: the map then has the opposite sign. To explain scores, use a model that ends before it, such as "
        f"keras.Model(model.inputs, model.get_layer({name}).output). (strip_softmax=False explains the model as it is, without "
        "this warning.)",
        UserWarning,
        stacklevel=_level_of_caller(),
    )


class _Outputs:
    """The operations between the outputs of a graph and the last layers with weights before them."""

    def __init__(self, graph):
        self.producers, self.dependent = graph.producers(), dependent_tensors(graph)
        self.without = set()  # ids of tensors that are not computed from a head
        self.blamed = None  # the last head whose probabilities could not be replaced

    def below(self, tensor, path=()):
        """What a tensor is computed from: _NONE, _SCORES or _PROBABILITIES.

        Args:
            tensor: KerasTensor.
            path: the nodes between the tensor and the output, in that order.
        """
        node = self.producers.get(id(tensor))
        if node is None or id(tensor) in self.without:
            return _NONE
        answer = self._at(node, path)
        if answer == _NONE:
            self.without.add(id(tensor))
        return answer

    def _at(self, node, path):
        if is_head(node):
            if not activation_of(node.operation).along_axis or _keeps_classes(node, path):
                return _SCORES
            self.blamed = node
            return _PROBABILITIES
        if routing.rearranges(node) or routing.picks(node):
            answers = {self.below(t, (node, *path)) for t in routing.carried(node, self.dependent)}
            if _PROBABILITIES in answers or _SCORES not in answers:
                return _PROBABILITIES if _PROBABILITIES in answers else _NONE
            if self._commutes(node):
                return _SCORES
        head = self.probabilities_in(node.output)
        self.blamed = head or self.blamed
        return _NONE if head is None else _PROBABILITIES

    def _commutes(self, node):
        if not routing.keeps_to_its_inputs(node, self.dependent):
            return False
        # A maximum over scores and other quantities would have no meaning.
        return routing.rearranges(node) or all(self.below(t) == _SCORES for t in node.inputs)

    def heads_below(self, tensor):
        node = self.producers.get(id(tensor))
        if node is None or id(tensor) in self.without:
            return []
        if is_head(node):
            return [node]
        return [head for t in routing.carried(node, self.dependent) for head in self.heads_below(t)] if _moves(node) else []

    def probabilities_in(self, tensor):
        """A head from whose probabilities alone a tensor is computed without any weights, or None.

        A product with another quantity is no probability: there the head is a gate or an attention weight. A sum of
        probabilities times numbers is an expected value, and no probability either.
        """
        node = self.producers.get(id(tensor))
        if node is None or id(tensor) not in self.dependent:
            return None
        if is_head(node):
            return node
        kinds = frozenset() if node.affine is None else node.affine.kinds
        if not _is_arithmetic(node):
            return None
        if any(np.size(c) > 1 for c in _operands(node)) or (kinds & {"add"} and self._weighs(node)):
            return None
        heads = [self.probabilities_in(t) for t in routing.carried(node, self.dependent) if not self._is_mask(t)]
        return heads[0] if heads and None not in heads else None

    def _is_mask(self, tensor):
        """Whether a tensor holds integers of an input, unchanged."""
        while (node := self.producers.get(id(tensor))) is not None and routing.rearranges(node):
            tensor = next(iter(routing.carried(node, self.dependent)), node.inputs[0])
        return node is None and "int" in tensor.dtype

    def _weighs(self, node):
        """Whether a node is a sum of products with several numbers."""
        below = self.producers.get(id(node.inputs[0]))
        return len(node.inputs) == 1 and below is not None and any(np.size(c) > 1 for c in _operands(below))


def _is_arithmetic(node):
    """Whether a node computes with its inputs alone, without weights or other quantities."""
    computing = twin_class_of(node.operation) if node.affine is None else node.affine
    return is_identity(node.operation) or (computing is not None and computing.is_arithmetic)


def is_head(node):
    """Whether a node turns scores into probabilities."""
    return node.affine is None and activation_of(node.operation).probability


def _moves(node):
    return routing.rearranges(node) or routing.picks(node)


def _operands(node):
    """Numbers and arrays that a node computes with."""
    return constants_in((node.args, node.kwargs))


# -- the graph without heads ----------------------------------------------------------------------------------------------


def _without(graph, outputs, stripped):
    """The graph with scores instead of probabilities at the given outputs.

    Args:
        graph: `Graph`.
        outputs: its `_Outputs`.
        stripped: ids of those outputs.
    """
    wanted = set(stripped)  # ids of the tensors that need a counterpart made of scores
    for node in reversed(graph.nodes):
        if any(id(t) in wanted for t in node.outputs):
            below = node.inputs if is_head(node) else routing.carried(node, outputs.dependent)
            wanted.update(id(t) for t in below if outputs.below(t) != _NONE)
    scores = {}  # id of a tensor -> its counterpart
    nodes, again, taken = [], [], graph.names()

    def current(structure):
        return tree.map_structure(lambda t: scores.get(id(t), t), structure)

    for node in graph.nodes:
        if not any(id(t) in wanted for t in node.outputs):
            nodes.append(node)
            continue
        if is_head(node):
            logger.debug("Explaining the logits: %r (%s) at the output is removed.", node.name, activation_name(node.operation))
            x = node.inputs[0]  # a mask may be another
            name = unique_name(f"{node.name}_output", taken)
            stand_in = placeholder(node.path, name, current(x), like(current(x)))
            # If the probabilities are used inside the model too, their relevance also arrives through this layer.
            kept = replace(node, args=(stand_in.output, *node.args[1:])) if node.args and id(x) not in scores else node
            nodes += [stand_in, kept]
        else:
            name = unique_name(f"{node.name}_scores", taken)
            stand_in = replace(
                node, args=current(node.args), kwargs=current(node.kwargs), outputs=tuple(map(like, node.outputs)), name=name
            )
            nodes += [node, stand_in]
            again.append((node, stand_in))
        taken.add(name)
        scores.update((id(old), new) for old, new in zip(node.outputs, stand_in.outputs, strict=False))
    returned = tree.map_structure(lambda t: scores[id(t)] if id(t) in stripped else t, graph.outputs)
    results = {name: [scores.get(id(t), t) for t in tensors] for name, tensors in graph.layer_outputs.items()}
    result = pruned(replace(graph, nodes=tuple(nodes), outputs=returned, layer_outputs=results))
    kept = {id(node) for node in result.nodes}
    # A node whose original was pruned takes over its name.
    names = {new.name: old.name for old, new in again if id(old) not in kept}
    renamed = tuple(replace(n, name=names.get(n.name, n.name)) for n in result.nodes)
    return without_idle_placeholders(replace(result, nodes=renamed))


# -- the axis of a softmax's classes -----------------------------------------------------------------------------------------


def _keeps_classes(node, path):
    """Whether the entries of each of a softmax's distributions, or part of them, lie along one axis of the output.

    Args:
        node: the softmax.
        path: the nodes between it and the output, in order.
    """
    axis = getattr(node.operation, "axis", -1)
    shape = node.output.shape
    if axis is None or isinstance(axis, (list, tuple)):
        return not path
    place = axis % len(shape)
    for step in path:
        after = step.output.shape
        place = routing_of(step.operation).axis_after(step, place, shape, after)
        if place is axes.GONE:
            return True  # a single class is left of each distribution
        if place is None:
            return False
        shape = after
    return True


def _level_of_caller():
    """The ``stacklevel`` of the first caller outside this library."""
    frame, level = inspect.currentframe().f_back, 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "tf_lrp":
        frame, level = frame.f_back, level + 1
    return level
