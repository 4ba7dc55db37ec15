"""Many presets on the same samples: the forward pass is shared, and what a change does not concern is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from keras import tree

from tf_lrp.explain import neurons
from tf_lrp.explain.inputs import ModelInput
from tf_lrp.explain.neurons import NeuronSelection
from tf_lrp.explain.stepwise import StepwisePass
from tf_lrp.graph.build import working_type
from tf_lrp.graph.categories import entries_of
from tf_lrp.graph.rewrite import Rewritten, choose, twin_for
from tf_lrp.presets import Preset, as_preset
from tf_lrp.rules import Rule

if TYPE_CHECKING:
    from tf_lrp.analyzer import Analyzer


class Session:
    """Explains the same samples by one preset after the other.

    The model is opened once and run once. For another preset only the layers whose rules changed, and those between them and
    the inputs, are propagated again. The results are those of `tf_lrp.Analyzer`, up to rounding.

    Everything runs operation by operation and no graph is traced; all activations of the samples stay in memory. So it is for
    few samples and many presets; `Analyzer.with_preset` is for many samples. A session is used by one thread at a time. It
    explains the weights at the time when it was made, and of those that have changed since, a mixture: make another.

    Args:
        analyzer: `tf_lrp.Analyzer`, whose preset is the first; its method ``session`` makes one.
        rewritten: its `tf_lrp.graph.rewrite.Rewritten`.
        x, neuron_selection, output: as for `Analyzer.analyze`; all samples are one batch.

    Attributes:
        output: the explained output, NumPy (N, ...).
        preset: the `Preset` that explained last.

    Raises:
        ValueError, TypeError: as `Analyzer.analyze`.

    Example:
        >>> session = tf_lrp.Analyzer(model, "epsilon").session(picture)
        >>> first = session.analyze()
        >>> other = session.analyze("cmp_a2_flat")
    """

    def __init__(
        self,
        analyzer: Analyzer,
        rewritten: Rewritten,
        x: ModelInput,
        neuron_selection: NeuronSelection | neurons.Selection = None,
        *,
        output: str | int | None = None,
    ):
        self._analyzer, self._graph, self._optimizations = analyzer, rewritten.graph, rewritten.optimizations
        leaves, self._pack_inputs = analyzer.input_spec.flatten(x)
        arrays = analyzer.input_spec.arrays(leaves)
        analyzer.category_inputs.check(arrays)
        position = analyzer.output_position(output)
        self._explained, self._samples = analyzer.twin.outputs[position], len(arrays[0])
        selection = self._checked(neuron_selection)
        self._dtype = working_type(self._graph)
        self._chosen, self._twins = rewritten.chosen, [step.twin for step in rewritten.steps]
        self.preset = analyzer.preset
        self._pass = StepwisePass(self._graph, [tf.constant(a) for a in arrays], position)
        self._pass.forward(self._chosen, self._twins)
        self._is_complete = True
        self.output = self._pass.values[id(self._pass.explained[0])].numpy()
        self._select(selection)

    def select(self, neuron_selection: NeuronSelection | neurons.Selection = None) -> None:
        """From now on, explains other neurons of the same samples.

        Args:
            neuron_selection: as for `Analyzer.analyze`.

        Raises:
            ValueError, TypeError: as `Analyzer.analyze`; the session stays as it was.
        """
        self._select(self._checked(neuron_selection))

    def analyze(
        self,
        preset: str | Preset | Rule | None = None,
        *,
        layers: str | Sequence[str] | None = None,
        dtype: str | None = None,
        between: Callable[[], Any] | None = None,
    ) -> Any:
        """Relevance of each input element, as `Analyzer.analyze` returns it.

        Args:
            preset: as for `Analyzer`; None stands for the preset that explained last.
            layers, dtype: as for `Analyzer.analyze`.
            between: is called before each layer, forward and backward. An exception that it raises ends the work.

        Raises:
            ValueError, UnsupportedLayerError: for a preset that does not fit the model; the session stays as it was, as it
                does after an exception of ``between``.
        """
        layers = self._analyzer.checked_layers(layers)
        if preset is not None or not self._is_complete:
            self._change(self.preset if preset is None else as_preset(preset), between)
        maps = [self._pass.backward(name, seed, between) for name, seed in enumerate(self._seeds)]
        relevances = [self._relevances(of_target, layers) for of_target in maps]
        if self._selection.count() is None:
            (flat,) = relevances
        else:
            flat = [np.stack(of_targets, axis=1) for of_targets in zip(*relevances, strict=True)]
        if dtype is not None:
            flat = [tf.cast(r, dtype).numpy() for r in flat]
        return self._analyzer.pack(flat, layers, self._pack_inputs)

    @property
    def nbytes(self) -> int:
        """Bytes of the activations that it holds. Once it has explained, denominators take up to twice as many."""
        return self._pass.nbytes

    def activations(self, layers: str | Sequence[str]) -> dict[str, Any]:
        """What layers return for the samples, as the model computes it with normalizations folded.

        Args:
            layers: as for `Analyzer.analyze`.

        Returns:
            layer name -> NumPy (N, ...); a list with one for each use where a layer is used several times.
        """
        found = {}
        for name in self._analyzer.checked_layers(layers) or ():
            uses = [self._pass.activation(t).numpy() for t in self._graph.layer_outputs[name]]
            found[name] = uses[0] if len(uses) == 1 else uses
        return found

    def ablated(self, layer: str, channels: Sequence[int]) -> np.ndarray:
        """The explained output, NumPy (N, ...), if some channels of a layer's output were 0.

        Args:
            layer: name of a layer.
            channels: indices along the last axis of its output.

        Raises:
            ValueError: if there is no such layer or channel.
        """
        name = (self._analyzer.checked_layers([layer]) or (layer,))[0]
        replaced = {}
        for tensor in self._graph.layer_outputs[name]:
            value = self._pass.values[id(tensor)]
            count = value.shape[-1] if value.shape.rank > 1 else 0
            outside = [c for c in channels if not 0 <= c < count]
            if outside:
                raise ValueError(f"There is no channel {outside[0]} of the layer {name!r}, which has {count}.")
            kept = np.ones(count)
            kept[list(channels)] = 0
            replaced[id(tensor)] = value * tf.constant(kept, value.dtype)
        return self._pass.explained_with(replaced).numpy()

    def _checked(self, neuron_selection):
        return neurons.check(neuron_selection, self._samples, self._explained.shape, self._explained.dtype)

    def _select(self, selection):
        value = self._pass.values[id(self._pass.explained[0])]
        self._selection, self._seeds = selection, [self._seed(one)(value) for one in selection.each()]

    def _change(self, preset, between):
        """Exchanges the twins whose rules, plans or inputs of relevance differ."""
        facts = [c.facts for c in self._chosen]
        chosen = choose(self._graph, facts, preset, self._optimizations)
        # The twin of a recurrent layer holds the rules of its cell, which other parts of the preset choose.
        kept = [
            old.same_twin(new) and not (hasattr(twin, "rewritten") and preset != self.preset)
            for old, new, twin in zip(self._chosen, chosen, self._twins, strict=True)
        ]
        twins = [
            twin if keep else twin_for(new, preset, self._optimizations, self._dtype)
            for keep, new, twin in zip(kept, chosen, self._twins, strict=True)
        ]
        self._is_complete = False
        self._pass.forward(chosen, twins, between)
        self._is_complete = True
        self._chosen, self._twins, self.preset = chosen, twins, preset

    def _relevances(self, of_tensors, layers):
        """NumPy relevances of the inputs, and then of each use of the layers."""
        entries = entries_of(self._graph)
        inputs = [entries.get(id(t), t) for t in tree.flatten(self._graph.inputs)]
        inner = [t for name in layers or () for t in self._graph.layer_outputs[name]]
        return [self._relevance(t, of_tensors) for t in (*inputs, *inner)]

    def _seed(self, selection):
        values = None if selection.values is None else tf.constant(selection.values)
        return neurons.InitialRelevance(selection.mode, values, self._analyzer.seed_with_one)

    def _relevance(self, tensor, of_tensors):
        if id(tensor) in of_tensors:
            return of_tensors[id(tensor)].numpy()
        if id(tensor) in self._pass.values:
            return np.zeros(self._pass.values[id(tensor)].shape, self._dtype)
        shape = [len(self.output) if n == 0 else d for n, d in enumerate(tensor.shape)]
        return np.zeros(shape, self._dtype)
