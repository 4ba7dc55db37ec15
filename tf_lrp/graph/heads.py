"""Softmax and sigmoid at the outputs: explanations are of scores, so they are left out, through all that only moves values.

An element-wise head gives way to everything that moves values, sigmoid(z)[i] = sigmoid(z[i]); a softmax to what keeps its
classes side by side.
"""

from __future__ import annotations

import logging
import sys
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

#: Below an output there may be: nothing of the kind, probabilities in whose place scores can stand, or others.
_NONE, _SCORES, _PROBABILITIES = "none", "scores", "probabilities"


def strip_softmax(graph):
    """Leaves out softmax and sigmoid at the outputs, so that scores (logits) are explained instead of probabilities.

    Also where layers follow that only move values: reshaping, slicing, transposing, casting, copying, what acts in training
    alone, concatenation of several heads; behind a sigmoid also the largest of some values. A softmax gives way where the
    entries of one of its distributions still lie along one axis. Where one probability of an output cannot give way, as in
    [p, 1 - p] or behind padding, all of that output stay: their sizes are compared.

    A head that something inside the model takes too stays there. What the layer returns, for those who ask for the relevance
    there, is then its scores.
    """
    outputs = _Outputs(graph)
    stripped = [t for t in tree.flatten(graph.outputs) if outputs.below(t) == _SCORES]
    if not stripped:
        return graph
    return _without(graph, outputs, {id(t) for t in stripped})


def heads_of(graph):
    """The nodes that `strip_softmax` would leave out."""
    outputs = _Outputs(graph)
    found = {}
    for tensor in tree.flatten(graph.outputs):
        if outputs.below(tensor) == _SCORES:
            found.update((id(node), node) for node in outputs.heads_below(tensor))
    return list(found.values())


def warn_of_probabilities(graph):
    """Gives a warning if an output of a graph without heads is still computed from probabilities.

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
        "returns, by steps from which it cannot be left out. A probability is positive also where the score speaks against the "
        "class: the map then has the opposite sign. To explain scores, explain a model that ends before it, such as "
        f"keras.Model(model.inputs, model.get_layer({name}).output). (strip_softmax=False explains the model as it is, without "
        "this warning.)",
        UserWarning,
        stacklevel=_level_of_caller(),
    )


class _Outputs:
    """What lies between the outputs of a graph and the last layers with weights below them."""

    def __init__(self, graph):
        self.producers, self.found = graph.producers(), dependent_tensors(graph)
        self.without = set()  # ids of tensors below which there is no head
        self.blamed = None  # the head whose probabilities were found last

    def below(self, tensor, path=()):
        """_NONE, _SCORES or _PROBABILITIES.

        Args:
            tensor: KerasTensor.
            path: the nodes that its values go through on their way to the output, in that order.
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
            gives_way = not activation_of(node.operation).along_axis or _survives(node, path)
            if not gives_way:
                self.blamed = node
            return _SCORES if gives_way else _PROBABILITIES
        if routing.rearranges(node) or routing.picks(node):
            found = {self.below(t, (node, *path)) for t in routing.carried(node, self.found)}
            if _PROBABILITIES in found or _SCORES not in found:
                return _PROBABILITIES if _PROBABILITIES in found else _NONE
            if self._commutes(node):
                return _SCORES
        head = self.probabilities_in(node.output)
        self.blamed = head or self.blamed
        return _NONE if head is None else _PROBABILITIES

    def _commutes(self, node):
        if not routing.keeps_to_its_inputs(node, self.found):
            return False
        # The larger of a score and something else means nothing.
        return routing.rearranges(node) or all(self.below(t) == _SCORES for t in node.inputs)

    def heads_below(self, tensor):
        node = self.producers.get(id(tensor))
        if node is None or id(tensor) in self.without:
            return []
        if is_head(node):
            return [node]
        return [head for t in routing.carried(node, self.found) for head in self.heads_below(t)] if _moves(node) else []

    def probabilities_in(self, tensor):
        """A head from whose probabilities a tensor is computed without any weights, or None.

        A product with something else is no probability: there the head is a gate, or a weight of attention. Nor is a sum of
        probabilities times numbers, an expected value.
        """
        node = self.producers.get(id(tensor))
        if node is None or id(tensor) not in self.found:
            return None
        if is_head(node):
            return node
        kinds = frozenset() if node.affine is None else node.affine.kinds
        if not _is_arithmetic(node):
            return None
        if any(np.size(c) > 1 for c in _operands(node)) or (kinds & {"add"} and self._weighs(node)):
            return None
        heads = [self.probabilities_in(t) for t in routing.carried(node, self.found) if not self._is_mask(t)]
        return heads[0] if heads and None not in heads else None

    def _is_mask(self, tensor):
        """Whether a tensor holds integers of an input, as they are."""
        while (node := self.producers.get(id(tensor))) is not None and routing.rearranges(node):
            tensor = next(iter(routing.carried(node, self.found)), node.inputs[0])
        return node is None and "int" in tensor.dtype

    def _weighs(self, node):
        """Whether a sum is one of products with several numbers."""
        below = self.producers.get(id(node.inputs[0]))
        return len(node.inputs) == 1 and below is not None and any(np.size(c) > 1 for c in _operands(below))


def _is_arithmetic(node):
    """Whether a node computes one probability from others, or something as close to them: no weights, no other quantity."""
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
    """The graph in which scores stand in the place of probabilities at some outputs.

    Args:
        graph: `Graph`.
        outputs: its `_Outputs`.
        stripped: ids of those outputs.
    """
    wanted = set(stripped)  # ids of the tensors to which there are scores
    for node in reversed(graph.nodes):
        if any(id(t) in wanted for t in node.outputs):
            below = node.inputs if is_head(node) else routing.carried(node, outputs.found)
            wanted.update(id(t) for t in below if outputs.below(t) != _NONE)
    scores = {}  # id of a tensor -> what stands in its place
    nodes, again, taken = [], [], graph.names()

    def current(structure):
        return tree.map_structure(lambda t: scores.get(id(t), t), structure)

    for node in graph.nodes:
        if not any(id(t) in wanted for t in node.outputs):
            nodes.append(node)
            continue
        if is_head(node):
            logger.debug(
                "Explaining the logits: %r (%s) at the output is left out.", node.name, activation_name(node.operation)
            )
            x = node.inputs[0]  # a mask may be another
            name = unique_name(f"{node.name}_output", taken)
            stand_in = placeholder(node.path, name, current(x), like(current(x)))
            # Should something inside take the probabilities as well, their relevance too arrives through this layer.
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
    results = {name: [scores.get(id(t), t) for t in tensors] for name, tensors in graph.results.items()}
    found = pruned(replace(graph, nodes=tuple(nodes), outputs=returned, results=results))
    left = {id(node) for node in found.nodes}
    # What moves scores only now keeps its name.
    names = {new.name: old.name for old, new in again if id(old) not in left}
    found = replace(found, nodes=tuple(replace(n, name=names.get(n.name, n.name)) for n in found.nodes))
    return without_idle_placeholders(found)


# -- where a softmax's classes go -----------------------------------------------------------------------------------------


def _survives(node, path):
    """Whether a softmax's distributions still lie along one axis at the output, whole or in part.

    Args:
        node: of the softmax.
        path: the nodes that its result goes through, in order.
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
    """The ``stacklevel`` of the line outside of this library that called it."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "tf_lrp":
        frame, level = frame.f_back, level + 1
    return level
