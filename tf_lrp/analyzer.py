"""The Analyzer: explains the decisions of a Keras model."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import keras
import tensorflow as tf

from tf_lrp import conservation
from tf_lrp.explain import neurons
from tf_lrp.explain.explainer import Explainer
from tf_lrp.explain.inputs import ModelInput
from tf_lrp.explain.names import output_names
from tf_lrp.explain.neurons import NeuronSelection
from tf_lrp.explain.passes import collector_paused, propagate
from tf_lrp.explain.session import Session
from tf_lrp.files import preset_json
from tf_lrp.graph import Rewritten, canonize, rewrite, unroll
from tf_lrp.graph.heads import warn_of_probabilities
from tf_lrp.graph.kernels import warn_of_missing_kernels
from tf_lrp.graph.optimize import OPTIMIZATIONS
from tf_lrp.keras_compat.own_operations import Entries
from tf_lrp.messages import tables
from tf_lrp.presets import Preset, as_preset
from tf_lrp.rules import Rule


class Analyzer(Explainer):
    """Layer-wise relevance propagation for one model.

    LRP is the gradient of a rewritten model: the analyzer builds a twin of the model whose layers compute the same values
    and propagate relevance instead of derivatives. The initial relevance is the value of the explained output, so the
    relevance of an input sums to that value minus what biases, stabilizers, padding and others absorb (see `conservation`).

    Args:
        model: a built Keras 3 model: Sequential, Functional or subclassed, with nested models, shared layers, several
            inputs and outputs. It is not modified; later changes of its weights count.
        preset: a preset's name, a `tf_lrp.Preset`, or a rule from `tf_lrp.rules` for all layers with weights.
        batch_size: number of samples that `analyze` explains at once.
        verbose: "auto" shows a progress bar on long runs, True always, False never.
        jit_compile: whether XLA compiles the pass; "auto" where TensorFlow sees a GPU, and not on a CPU, where XLA's
            convolutions are slower than TensorFlow's own.
        trace: "auto" runs the first two passes of each kind operation by operation, so that the first map is there soon, and
            traces a graph for more; "always" traces at once, "never" not at all. See `tf_lrp.explain.explainer.Explainer`.
        strip_softmax: whether a softmax or sigmoid at an output is left out, so that scores (logits) are explained.
        fold_batchnorm: whether batch normalizations are merged into neighbouring linear layers where that is exact.
        optimize: whether the twin saves work and memory (see `tf_lrp.graph.optimize`). False computes each rule's formula as it
            stands: slower, equal up to rounding, and a twin to look into, whose gradient at every inner tensor is the relevance
            of that tensor, and whose inner tensors have the model's values.
        inputs: for a subclassed model, the keras.Input tensors it is explained for, nested as its ``call`` takes them; by
            default of the shapes it was first called on. ``keras.Input((None, 16))`` keeps a length free. For a Sequential
            model without an Input too, whose lengths are free by default where its layers take others.

    Raises:
        TypeError: if ``model`` is not a Keras model or ``preset`` not a preset.
        ValueError: for an unknown preset, or one that does not fit the model.
        UnsupportedLayerError: if a layer has no relevance rule.

    Example:
        >>> analyzer = tf_lrp.Analyzer(model, preset="cmp_a2_flat")
        >>> relevance = analyzer.analyze(pictures)
    """

    def __init__(
        self,
        model: keras.Model,
        preset: str | Preset | Rule = "cmp_a2_flat",
        *,
        batch_size: int = 32,
        verbose: bool | Literal["auto"] = "auto",
        jit_compile: bool | Literal["auto"] = "auto",
        trace: Literal["auto", "always", "never"] = "auto",
        strip_softmax: bool = True,
        fold_batchnorm: bool = True,
        optimize: bool = True,
        inputs: Any = None,
    ):
        options = {"batch_size": batch_size, "verbose": verbose, "jit_compile": jit_compile, "trace": trace}
        with collector_paused():
            graph = canonize(unroll(model, inputs), strip_heads=strip_softmax, fold=fold_batchnorm)
            warn_of_missing_kernels(graph, jit_compile)
            if strip_softmax:
                warn_of_probabilities(graph)
            rewritten = rewrite(graph, as_preset(preset), model.name, OPTIMIZATIONS if optimize else ())
        others = {"strip_softmax": strip_softmax, "fold_batchnorm": fold_batchnorm, "optimize": optimize, "inputs": inputs}
        self._set_up(model, as_preset(preset), rewritten, {**options, **others}, options)

    def _set_up(self, model, preset, rewritten, arguments, options):
        """Makes an analyzer of a model that has been rewritten."""
        self.preset, self._model, self._arguments = preset, model, arguments
        self._warned = set()  # positions of outputs
        self._rewritten = rewritten
        names = output_names(rewritten.model, model)
        super().__init__(model.name, rewritten.model, rewritten.results, names, categories=rewritten.categories, **options)

    def with_preset(self, preset: str | Preset | Rule) -> Analyzer:
        """An analyzer of the same model by another preset, with all other options of this one.

        The model is not opened again. For many presets on the same few samples see `session`.

        Args:
            preset: as for `Analyzer`.
        """
        analyzer = object.__new__(Analyzer)
        settings = {name: getattr(self, name) for name in self.copied_settings}
        arguments = {**self._arguments, **settings}
        preset, before = as_preset(preset), self._rewritten
        analyzer.copy_as_constructed_with(model=self._model, preset=preset, **arguments)
        facts = [c.facts for c in before.chosen]
        with collector_paused():
            rewritten = rewrite(before.graph, preset, self.model_name, before.optimizations, facts=facts)
        options = {name: arguments[name] for name in ("batch_size", "verbose", "jit_compile", "trace")}
        analyzer._set_up(self._model, preset, rewritten, arguments, options)
        return analyzer

    def session(self, x: ModelInput, neuron_selection: NeuronSelection = None, *, output: str | int | None = None) -> Session:
        """A `tf_lrp.explain.Session`: the same samples explained by many presets, from one forward pass.

        Args:
            x, neuron_selection, output: as for `analyze`; all samples are one batch.

        Example:
            >>> session = analyzer.session(picture)
            >>> maps = {name: session.analyze(name) for name in ("epsilon", "cmp_a1_flat", "cmp_a2_flat")}
        """
        return Session(self, self._rewritten, x, neuron_selection, output=output)

    def probe(self, position, layers):
        reason = self._rewritten.unreached[position]
        if reason and position not in self._warned:
            self._warned.add(position)
            warnings.warn(f"No relevance of {self.output_names[position]!r} reaches the inputs: {reason}", stacklevel=2)
        return super().probe(position, layers)

    def attribute(self, probe, inputs, seeds):
        explained, values, relevances = propagate(probe, inputs, seeds)
        is_ratio = [False] * len(inputs) + [id(t) in self._rewritten.ratios for t in probe.outputs[1:]]
        flags = list(zip(values, is_ratio, strict=True))
        return explained, [[r * value if d else r for r, (value, d) in zip(each, flags, strict=True)] for each in relevances]

    def configuration(self):
        return {"preset": preset_json.as_dict(self.preset)}

    @property
    def rewritten(self) -> Rewritten:
        """The graph of the model, and for each node what the preset has chosen."""
        return self._rewritten

    def rules(self) -> RuleTable:
        """The rule of each layer and the reason: a `RuleTable`, which prints as a table."""
        return RuleTable([s for s in self._rewritten.steps if not isinstance(s.node.operation, Entries)], self.preset.name)

    def conservation(
        self, x: ModelInput, neuron_selection: NeuronSelection = None, *, output: str | int | None = None
    ) -> conservation.Conservation:
        """The balance of relevance: what each layer received, passed on and absorbed.

        Args:
            x, neuron_selection, output: as for `analyze` (one neuron per sample). The balance is that of the whole batch.

        Returns:
            `tf_lrp.conservation.Conservation`, which prints as a table.
        """
        leaves, _ = self.input_spec.flatten(x)
        arrays = self.input_spec.arrays(leaves)
        target = self.output_position(output)
        explained = self.twin.outputs[target]
        selection = neurons.check(neuron_selection, len(arrays[0]), explained.shape, explained.dtype)
        if selection.mode in neurons.SEVERAL:
            raise ValueError("conservation explains one target per sample; got (N, K) indices or a list of targets.")
        values = None if selection.values is None else tf.constant(selection.values)
        inputs = [tf.constant(a) for a in arrays]
        self.category_inputs.check(arrays)
        return conservation.account(self._rewritten, target, selection.mode, inputs, values)


class RuleTable(tuple):
    """The steps of a rewriting, read as (layer, class, rule, reason); prints as a table.

    Attributes:
        preset_name: str.
        nonnegative: for each row, whether the layer's inputs are known to be >= 0.
    """

    preset_name: str
    nonnegative: tuple[bool, ...]

    def __new__(cls, steps, preset_name):
        rows = [(s.facts.name, s.facts.layer_class, str(s.choice.rule), s.choice.reason) for s in steps]
        table = super().__new__(cls, rows)
        table.preset_name = preset_name
        table.nonnegative = tuple(s.facts.nonnegative for s in steps)
        return table

    def __str__(self):
        columns = [("layer", "left"), ("class", "left"), ("rule", "left"), ("why", "left"), ("inputs", "left")]
        rows = [(*row, ">= 0" if sign else "any") for row, sign in zip(self, self.nonnegative, strict=True)]
        return tables.render(f"rules of the preset {self.preset_name}", columns, rows)

    __repr__ = __str__
