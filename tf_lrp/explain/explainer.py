"""What all methods share: a model in, maps of its inputs' relevance out."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from tf_lrp.explain import batches, names, neurons
from tf_lrp.explain.copies import Reconstructible
from tf_lrp.explain.inputs import InputSpec, ModelInput
from tf_lrp.explain.layer import ExplanationLayer
from tf_lrp.explain.neurons import NeuronSelection
from tf_lrp.explain.passes import PassKind, collector_paused, compiled, pass_function, propagate
from tf_lrp.graph.category_inputs import NO_CATEGORIES
from tf_lrp.graph.nodes import model_of
from tf_lrp.keras_compat import models
from tf_lrp.messages import checks
from tf_lrp.twins import Twin

#: Passes of one kind that are run operation by operation before a graph is traced. To trace one takes as long as about five.
EAGER_PASSES = 2
#: Bytes of a batch's activations above which a graph is traced at once: it shares memory among the operations of a layer.
EAGER_BYTES = 2**29


class Explainer(Reconstructible):
    """A method that explains one model: batches, selected neurons, several targets, inner layers, compilation, export.

    A method defines how it attributes (`attribute`) and what it is called in exported files (`configuration`).

    Args:
        model_name: of the explained model.
        twin: keras.Model that returns the explained outputs, and whose gradient the method takes.
        layer_outputs: layer name -> the twin's tensors for what this layer returns, one for each use.
        output_names: one for each of the twin's outputs.
        batch_size: samples that are explained at once by `analyze`.
        verbose: "auto" shows a progress bar on long runs, True always, False never.
        jit_compile: whether XLA compiles the pass; "auto" where TensorFlow sees a GPU.
        trace: "auto" runs the first passes operation by operation and traces a graph once that repays: where a call needs
            more than two passes, for the third pass of its kind, and for batches whose activations take more than 512 MiB. To
            trace a graph takes as long as several such passes; then it runs several times as fast. Recurrent networks are
            traced at once, and so is everything with ``jit_compile=True``. "always" traces at once, "never" not at all.
            Inside a ``tf.function`` it makes no difference.
        categories: `CategoryInputs` of the twin, if it takes strings or looks up integers.

    Attributes:
        input_spec: `InputSpec`: the model's inputs, and how a user's structure maps to them.
        layer_outputs, output_names: as above.
        category_inputs: the `CategoryInputs`.
        traced_at_once: whether ``trace="auto"`` traces the first pass.
        compiled_passes: `PassKind` -> the tf.function that explains it, for the kinds that have been traced.
    """

    #: Whether the backward pass is seeded with 1 at the explained neuron, as derivatives are, and not with its value.
    seed_with_one = False
    #: Whether the method has relevance of inner layers, which ``layers`` asks for.
    explains_layers = True
    #: Forward passes of the network that `attribute` takes for one batch.
    passes = 1

    copied_settings = ("batch_size", "verbose")

    def __init__(
        self,
        model_name: str,
        twin: keras.Model,
        layer_outputs: Mapping[str, list],
        output_names: Sequence[str],
        *,
        batch_size: int = 32,
        verbose: bool | Literal["auto"] = "auto",
        jit_compile: bool | Literal["auto"] = "auto",
        trace: Literal["auto", "always", "never"] = "auto",
        categories=NO_CATEGORIES,
    ):
        checks.integer("batch_size", batch_size)
        if verbose not in ("auto", True, False):
            raise ValueError(f'verbose is "auto", True or False, got {verbose!r}.')
        if jit_compile not in ("auto", True, False):
            raise ValueError(f'jit_compile is "auto", True or False, got {jit_compile!r}.')
        if trace not in ("auto", "always", "never"):
            raise ValueError(f'trace is "auto", "always" or "never", got {trace!r}.')
        if trace == "never" and jit_compile is True:
            raise ValueError('XLA compiles graphs: with jit_compile=True, trace needs to be "auto" or "always", got "never".')
        self.batch_size, self.verbose = batch_size, verbose
        categories.check_compiled(jit_compile)
        automatic = bool(tf.config.list_logical_devices("GPU")) and not categories.uncompiled
        self.jit_compile = automatic if jit_compile == "auto" else jit_compile
        self.model_name, self.category_inputs = model_name, categories
        self.layer_outputs, self.output_names = layer_outputs, output_names
        self.input_spec = InputSpec(models.input_structure(twin))
        self.trace = trace
        self.compiled_passes, self._functions, self._eager_passes = {}, {}, Counter()
        has_loops = any(isinstance(layer, Twin) and layer.is_loop for layer in (categories.core or twin).layers)
        self.traced_at_once = jit_compile is True or has_loops
        self._twin = twin

    @property
    def twin(self) -> keras.Model:
        """The keras.Model that is run: the model's values forward, what the method propagates backward."""
        return self._twin

    # -- what a method defines ----------------------------------------------------------------------------------------

    def attribute(self, probe, inputs: list, seeds: list) -> tuple:
        """The explanation as a function of tensors.

        Args:
            probe: keras.Model, or a function like one, that returns [explained output, *inner tensors].
            inputs: flat list of input tensors; in place of strings, and of integers that are looked up, their `Entries`.
            seeds: list of `neurons.InitialRelevance`, one for each explained target.

        Returns:
            (explained output, for each seed a list of the relevances of [*inputs, *inner tensors]).
        """
        explained, _, relevances = propagate(probe, inputs, seeds)
        return explained, relevances

    def probe(self, position: int, layers: Sequence[str] | None) -> Any:
        """The keras.Model that `attribute` runs.

        Args:
            position: of the explained output.
            layers: names of the inner layers whose relevance is wanted, or None.
        """
        inner = [t for name in layers or () for t in self.layer_outputs[name]]
        core = self.category_inputs.core or self.twin
        return model_of(core.inputs, [core.outputs[position], *inner])

    def configuration(self) -> dict[str, Any]:
        """What identifies the method and its parameters, as a dict for JSON."""
        raise NotImplementedError(f"{type(self).__name__} has no configuration()")

    # -- what other parts of the library ask --------------------------------------------------------------------------

    def output_position(self, output: str | int | None) -> int:
        """Position of the output that a user names; raises ValueError for none, or for one that holds no floats."""
        return names.output_position(output, self.output_names, self.twin.outputs)

    def checked_layers(self, layers) -> tuple[str, ...] | None:
        """``layers`` of `analyze` as a tuple, or None; raises ValueError or TypeError for layers that cannot be explained."""
        if layers is not None and not self.explains_layers:
            raise ValueError(f"{type(self).__name__} explains inputs only; layers needs to be None, got {layers!r}.")
        return names.layer_names(layers, self.layer_outputs)

    def pack(self, relevances: list, layers: tuple[str, ...] | None, pack: Callable[[list], Any]) -> Any:
        """What `analyze` returns.

        Args:
            relevances: flat list, of the inputs and then of each use of the layers.
            layers: of `checked_layers`.
            pack: of ``input_spec.flatten``.
        """
        count = len(self.input_spec.tensors)
        of_inputs = pack(relevances[:count])
        if layers is None:
            return of_inputs
        maps, rest = {"input": of_inputs}, relevances[count:]
        for name in layers:
            uses = len(self.layer_outputs[name])
            maps[name] = rest[0] if uses == 1 else rest[:uses]
            rest = rest[uses:]
        return maps

    def __copy__(self):
        """Shares the model, the twin and the compiled passes."""
        copied = object.__new__(type(self))
        vars(copied).update(vars(self), compiled_passes=dict(self.compiled_passes), _functions=dict(self._functions))
        return copied

    # -- explaining ---------------------------------------------------------------------------------------------------

    def analyze(
        self,
        x: ModelInput,
        neuron_selection: NeuronSelection | neurons.Selection = None,
        *,
        layers: str | Sequence[str] | None = None,
        output: str | int | None = None,
        batch_size: int | None = None,
        verbose: bool | Literal["auto"] | None = None,
        dtype: str | None = None,
    ) -> Any:
        """Relevance of each input element for the explained output, as NumPy.

        Args:
            x: array (N, ...), or list or dict of arrays for several inputs; tensors are fine. Integers are read as floats.
            neuron_selection: which neuron of the output is explained:
                None or "max_activation": each sample's largest; "all": the whole output vector (R_init = output);
                int: the same for all samples; ints (N,): one per sample; ints (N, K): K per sample from one forward pass;
                `tf_lrp.target.neuron` or `tf_lrp.target.region`: an entry or a part of an output of any rank, or a list of K;
                floats of the output's shape: R_init itself.
            layers: names of layers whose outputs' relevance is wanted too.
            output: name or index of the explained output, for a model with several.
            batch_size, verbose: instead of the analyzer's own.
            dtype: type in which relevance is returned, such as "bfloat16" or "float16" to save memory; it is propagated in
                float32 (float64) all the same.

        Returns:
            Relevance with the structure and shape of ``x`` ((N, K, ...) for K targets), float32 (float64 for float64
            models), in units of the output. With ``layers`` a dict {"input": ..., layer name: ...}; a layer used several
            times has a list with one array for each use.

        Raises:
            ValueError, TypeError: for inputs of the wrong shape, type or length, with NaN or infinite values, for a neuron
                or layer that is not there.
        """
        return self.with_output(
            x, neuron_selection, layers=layers, output=output, batch_size=batch_size, verbose=verbose, dtype=dtype
        )[1]

    def with_output(
        self,
        x: ModelInput,
        neuron_selection: NeuronSelection | neurons.Selection = None,
        *,
        layers: str | Sequence[str] | None = None,
        output: str | int | None = None,
        batch_size: int | None = None,
        verbose: bool | Literal["auto"] | None = None,
        dtype: str | None = None,
    ) -> tuple[np.ndarray, Any]:
        """The explained output and its relevance, from the same pass.

        Args:
            x, neuron_selection, layers, output, batch_size, verbose, dtype: as for `analyze`.

        Returns:
            (output, relevance): the explained output, an array (N, ...) (a stripped softmax's argument), and what `analyze`
            returns.
        """
        leaves, pack = self.input_spec.flatten(x)
        arrays = self.input_spec.arrays(leaves)
        self.category_inputs.check(arrays)
        position, layers = self.output_position(output), self.checked_layers(layers)
        explained = self.twin.outputs[position]
        selection = neurons.check(neuron_selection, len(arrays[0]), explained.shape, explained.dtype)
        if batch_size is not None:
            checks.integer("batch_size", batch_size)

        # A model built for one batch size takes no other.
        size = self.input_spec.tensors[0].shape[0] or batch_size or self.batch_size
        ahead = itertools.count(batches.number(len(arrays[0]), selection, size), -1)

        def explain(inputs, part):
            explained, relevances = self._run(inputs, part, layers, position, next(ahead))
            return [explained, *_cast(relevances, dtype)]

        scores, relevances = batches.run(
            explain,
            arrays,
            selection,
            size,
            padded=self.jit_compile,
            verbose=self.verbose if verbose is None else verbose,
        )
        return scores, self.pack(relevances, layers, pack)

    def __call__(
        self,
        x: Any,
        neuron_selection: Any = None,
        *,
        layers: str | Sequence[str] | None = None,
        output: str | int | None = None,
        dtype: str | None = None,
    ) -> Any:
        """As `analyze`, in pure TensorFlow: tensors in, tensors out, without checks of values.

        Works inside ``tf.function`` and ``dataset.map(analyzer)``; a dataset of (x, label) explains the labels. On a
        ``keras.Input`` it is a layer of a Functional model.

        Returns:
            Tensors structured as what `analyze` returns.

        Raises:
            tf.errors.InvalidArgumentError: when it runs, for a neuron that is not there (not under XLA).
        """
        if any(isinstance(leaf, keras.KerasTensor) for leaf in tree.flatten((x, neuron_selection))):
            layer = ExplanationLayer(self, layers=layers, output=output, dtype=dtype)
            return layer(x, neuron_selection=neuron_selection)
        leaves, pack = self.input_spec.flatten(x)
        position, layers = self.output_position(output), self.checked_layers(layers)
        tensors = self.input_spec.convert(leaves)
        selection = neurons.check_tensor(neuron_selection, self.twin.outputs[position], tf.shape(tensors[0])[0])
        _, relevances = self._run(tensors, selection, layers, position)
        return self.pack(_cast(relevances, dtype), layers, pack)

    def export(
        self,
        path: str | os.PathLike[str],
        format: str = "saved_model",
        *,
        layers: str | Sequence[str] | None = None,
        output: str | int | None = None,
        neuron_selection: NeuronSelection = None,
        labels: Sequence[str] | None = None,
        metadata: Any = None,
        selecting: bool = False,
        batch_size: int = 1,
        input_shape: Sequence | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Writes the explanation as a file or folder that runs without this library and without Keras.

        The weights are those of now, folded and split by sign as the rules need them.

        - "saved_model": a folder with the signatures ``serving_default`` (inputs by name -> "relevance", "output") and
          ``select`` (also "neuron_selection": (N,) int32 indices, or floats of the output's shape where an index does not
          name a neuron). The number of samples stays free, and lengths that are free in the model.
        - "onnx": a file for onnxruntime. Needs ``pip install "tf_lrp[onnx]"``.
        - "litert": a file for LiteRT (TensorFlow Lite), with its description in FILE.json beside it.

        The last two hold forward operations only, for a fixed number of samples. The file is run once in its own runtime and
        compared with this analyzer. `tf_lrp.export.register_target` adds a format.

        Args:
            path: where it goes.
            format: "saved_model", "onnx" or "litert".
            layers: names of layers whose outputs' relevance is among the results, under their names.
            output: name or index of the explained output, for a model with several.
            neuron_selection: what the file explains, the same for all samples: an int, a target of `tf_lrp.target` or a list of
                K, ints (1, K), "all"; by default each sample's strongest neuron.
            labels: class names, one for each neuron.
            metadata: anything that JSON can hold; it travels along with preset, labels and versions: as asset ``tf_lrp.json``
                of a SavedModel, as entry "tf_lrp" of ONNX's metadata.
            selecting: for ONNX and LiteRT, whether "neuron_selection" is an input.
            batch_size: for ONNX and LiteRT, the number of samples.
            input_shape: for ONNX and LiteRT, the shape of a sample (a list of shapes for several inputs) where the model leaves
                lengths free.
            overwrite: whether an earlier export may be replaced.

        Returns:
            pathlib.Path of what was written.

        Raises:
            FileExistsError: if something is there already.
            ImportError: if a converter is not installed.
            RuntimeError: if the converted file computes something else.
            ValueError: for unknown layers, outputs, formats; for labels that do not fit; for lengths left open.
        """
        from tf_lrp import export  # imported here: export imports explain

        explained = {"layers": layers, "output": output, "neuron_selection": neuron_selection}
        options = {"selecting": selecting, "batch_size": batch_size, "input_shape": input_shape, "overwrite": overwrite}
        return export.export(self, path, format, **explained, labels=labels, metadata=metadata, **options)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _run(self, inputs, selection, layers, position, ahead=1):
        """(explained output, relevances as a flat list) of one batch, the first of ``ahead`` that are known to come."""
        kind = PassKind.of(selection, layers, position)
        run = self._pass(kind, ahead, inputs[0].shape[0])
        with contextlib.nullcontext() if kind in self.compiled_passes else collector_paused():
            return run(inputs) if selection.values is None else run(inputs, selection.values)

    def _pass(self, kind, ahead, samples):
        """The function that runs a pass of this kind: compiled where that repays, see ``trace``."""
        if kind in self.compiled_passes:
            return self.compiled_passes[kind]
        if kind not in self._functions:
            self._functions[kind] = pass_function(self, kind)
        function, signature = self._functions[kind]
        if tf.executing_eagerly() and not self._repays(kind, ahead, samples):
            self._eager_passes[kind] += self.passes
            return function
        self.compiled_passes[kind] = compiled(function, signature, self.jit_compile)
        return self.compiled_passes[kind]

    def _repays(self, kind, ahead, samples):
        """Whether to trace a graph for passes of this kind saves time or memory, or is asked for."""
        if self.trace != "auto":
            return self.trace == "always"
        passes = self._eager_passes[kind] + ahead * self.passes
        return self.traced_at_once or passes > EAGER_PASSES or samples * self._sample_bytes > EAGER_BYTES

    @functools.cached_property
    def _sample_bytes(self):
        """Bytes of what the layers return for one sample, unknown lengths counted as 1."""
        tensors = {id(t): t for uses in self.layer_outputs.values() for t in uses}
        return sum(4 * math.prod(length or 1 for length in t.shape[1:]) for t in tensors.values())


def _cast(relevances, dtype):
    return relevances if dtype is None else [tf.cast(r, dtype) for r in relevances]
