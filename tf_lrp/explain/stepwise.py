"""One pass through a graph, twin by twin: what did not change since the pass before is not computed again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from keras import tree

from tf_lrp.graph.nodes import Graph
from tf_lrp.keras_compat.own_operations import Entries
from tf_lrp.rules import Stop
from tf_lrp.twins.propagation import evaluate


@dataclass(eq=False)
class Run:
    """One node's twin, called on values.

    Attributes:
        twin: the twin.
        inputs: the values of the node's inputs.
        sources: id of an input that takes a gradient -> its value.
        outputs: what the twin returned, a flat list.
        tape: the persistent tf.GradientTape that recorded it.
    """

    twin: Any
    inputs: list
    sources: dict
    outputs: list
    tape: tf.GradientTape

    @classmethod
    def of(cls, twin, node, inputs):
        """Calls the twin of a node on the values of its inputs."""
        sources = {id(t): x for t, x in zip(node.inputs, inputs, strict=True) if x.dtype.is_floating}
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(list(sources.values()))
            outputs = tree.flatten(twin(*inputs))
        return cls(twin, inputs, sources, outputs, tape)

    def handed_on(self, received):
        """id of each input that gets any -> its relevance, for the relevance of the outputs (None where none arrived)."""
        pairs = [(y, r) for y, r in zip(self.outputs, received, strict=True) if r is not None]
        targets, relevance = [y for y, _ in pairs], [r for _, r in pairs]
        handed = self.tape.gradient(targets, list(self.sources.values()), relevance)
        return {key: tf.convert_to_tensor(r) for key, r in zip(self.sources, handed, strict=True) if r is not None}


class StepwisePass:
    """Values of all tensors of a graph for one batch, and the relevance that a seed gives them.

    Twins are exchanged by `forward`. A twin runs again where it was exchanged or its inputs were; relevance is propagated again
    through those, and from there to the inputs. Tensors are named by the ``id`` of the graph's own symbolic tensors.

    Args:
        graph: canonized `Graph`.
        inputs: flat list of the values of the graph's inputs.
        output: position of the output that is explained; None for all of them.

    Attributes:
        explained: the graph's outputs that are explained.
        nodes: (position in the graph, node) of those that they need, in topological order.
        runs: position -> `Run`.
        values: id of a tensor -> its value.
        ratios: ids of the tensors at which relevance arrives divided by their value.
    """

    def __init__(self, graph: Graph, inputs: list, output: int | None = None):
        outputs = tree.flatten(graph.outputs)
        self.explained = outputs if output is None else [outputs[output]]
        self.values = {id(t): x for t, x in zip(tree.flatten(graph.inputs), inputs, strict=True)}
        needed, nodes = {id(t) for t in self.explained}, []
        for position, node in reversed(list(enumerate(graph.nodes))):
            if any(id(t) in needed for t in node.outputs):
                nodes.append((position, node))
                needed.update(id(t) for t in node.inputs)
        self.nodes = nodes[::-1]
        self.runs: dict[int, Run] = {}
        self._outputs = {}  # (position, whether the output is clamped) -> values
        self.ratios = set()
        self._propagated = {}  # (name of a seed, position) -> (run, relevance that arrived, relevance handed on)
        self._sums = {}  # (name of a seed, id of a tensor) -> (addends, sum)

    @property
    def nbytes(self):
        """Bytes of the values."""
        tensors = {id(x): x for x in self.values.values()}
        return sum(x.dtype.size * x.shape.num_elements() for x in tensors.values())

    def forward(self, chosen, twins, between: Callable[[], Any] | None = None):
        """Computes `values`.

        Args:
            chosen: `Chosen` of each node of the graph.
            twins: of each node; the same object where nothing changed.
            between: is called before each node. After an exception that it raises, `forward` has to be called again.
        """
        self.ratios = set()
        for position, node in self.nodes:
            if between is not None:
                between()
            plan, twin = chosen[position].plan, twins[position]
            inputs = [self.values[id(t)] for t in node.inputs]
            run = self.runs.get(position)
            if run is None or run.twin is not twin or any(x is not y for x, y in zip(run.inputs, inputs, strict=True)):
                run = self.runs[position] = Run.of(twin, node, inputs)
            # Rules and plans change no values except by clamping: what follows need not run again.
            if (position, plan.clamp_output) not in self._outputs:
                self._outputs[position, plan.clamp_output] = self._clamped(position, node, run, plan.clamp_output)
            values = self._outputs[position, plan.clamp_output]
            self.values.update((id(t), value) for t, value in zip(node.outputs, values, strict=True))
            if plan.grad_is_ratio:
                self.ratios.update(id(t) for t in node.outputs)

    def backward(self, name, seed, between: Callable[[], Any] | None = None):
        """The relevance of each tensor that relevance reached, for one explained output: id -> tensor.

        Args:
            name: of the seed. Of the last pass with a seed of this name, what did not change is not computed again.
            seed: relevance of the explained output; the same object where it did not change.
            between: is called before each node, and may raise an exception.
        """
        (explained,) = self.explained
        arrived: dict[int, tuple] = {id(explained): (seed,)}
        for position, node in reversed(self.nodes):
            if between is not None:
                between()
            run = self.runs[position]
            received = tuple(self._sum(name, id(t), arrived.get(id(t), ())) for t in node.outputs)
            if all(r is None for r in received) or isinstance(run.twin.rule, Stop) or isinstance(node.operation, Entries):
                continue
            last = self._propagated.get((name, position))
            if last is None or last[0] is not run or any(r is not q for r, q in zip(last[1], received, strict=True)):
                last = self._propagated[name, position] = run, received, run.handed_on(received)
            for key, relevance in last[2].items():
                arrived[key] = (*arrived.get(key, ()), relevance)
        sums = {key: self._sum(name, key, addends) for key, addends in arrived.items()}
        return {key: r * self.values[key] if key in self.ratios else r for key, r in sums.items()}

    def activation(self, tensor):
        """The value of a tensor of the graph as the model has it: not clamped at 0."""
        for position, node in self.nodes:
            if any(t is tensor for t in node.outputs):
                if (position, False) not in self._outputs:
                    self._outputs[position, False] = self._clamped(position, node, self.runs[position], False)
                return self._outputs[position, False][[t is tensor for t in node.outputs].index(True)]
        return self.values[id(tensor)]

    def explained_with(self, replaced: dict):
        """The value of the explained output with other values in place of some tensors; `values` stay as they are.

        Args:
            replaced: id of a tensor -> its value.
        """
        values, changed = {**self.values, **replaced}, set(replaced)
        for position, node in self.nodes:
            if changed.isdisjoint(id(t) for t in node.inputs):
                continue
            outputs = tree.flatten(self.runs[position].twin(*(values[id(t)] for t in node.inputs)))
            for tensor, value in zip(node.outputs, outputs, strict=True):
                if id(tensor) not in replaced:
                    values[id(tensor)] = value
                    changed.add(id(tensor))
        return values[id(self.explained[0])]

    def _clamped(self, position, node, run, clamp):
        """The outputs of a node, clamped at 0 or not. They depend on the first presets alone, not on those in between."""
        others = self._outputs.get((position, not clamp))
        if others is None:
            return run.outputs
        return [tf.nn.relu(t) for t in others] if clamp else [evaluate(node.affine, run.inputs, run.inputs[0].dtype)]

    def _sum(self, name, key, addends):
        """The sum of what arrived at a tensor, the same object for the same addends; None if nothing did."""
        if len(addends) < 2:
            return addends[0] if addends else None
        last = self._sums.get((name, key))
        if last is None or len(last[0]) != len(addends) or any(a is not b for a, b in zip(last[0], addends, strict=True)):
            last = self._sums[name, key] = addends, tf.add_n(addends)
        return last[1]
