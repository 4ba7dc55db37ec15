"""What all methods share: a model in, maps of its inputs' relevance out."""

from __future__ import annotations

import functools
import inspect
import time
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from tf_lrp.explain import neurons
from tf_lrp.explain.inputs import InputSpec
from tf_lrp.explain.layer import ExplanationLayer
from tf_lrp.graph.category_inputs import NO_CATEGORIES
from tf_lrp.graph.nodes import model_of
from tf_lrp.keras_compat import models
from tf_lrp.messages.names import meant

#: Backward passes of one forward pass that are laid out in one graph; more are run in portions of this size.
_TARGETS_AT_ONCE = 16
#: Seconds after which a run with batches left counts as long and shows its progress.
_LONG_RUN = 2.0


class Explainer:
    """A method that explains one model: batches, selected neurons, several targets, inner layers, compilation, export.

    A method says how it attributes (`attribute`) and what it is called in exported files (`configuration`).

    Args:
        model_name: of the explained model.
        twin: keras.Model that returns the explained outputs, and whose gradient the method takes.
        results: layer name -> the twin's tensors for what this layer returns, one for each use.
        output_names: one for each of the twin's outputs.
        batch_size: samples that are explained at once by `analyze`.
        verbose: "auto" shows a progress bar on long runs, True always, False never.
        jit_compile: whether XLA compiles the pass; "auto" where TensorFlow sees a GPU.
        categories: `CategoryInputs` of the twin, if it takes strings or looks up integers.
    """

    #: Whether the backward pass begins with 1 at the explained neuron, as derivatives do, and not with its value.
    starts_at_one = False
    #: Whether `layers` can be asked for.
    explains_layers = True

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = _noting_arguments(cls.__init__)

    def __init__(
        self,
        model_name,
        twin,
        results,
        output_names,
        *,
        batch_size=32,
        verbose="auto",
        jit_compile="auto",
        categories=NO_CATEGORIES,
    ):
        _check_batch_size(batch_size)
        if verbose not in ("auto", True, False):
            raise ValueError(f'verbose is "auto", True or False, got {verbose!r}.')
        if jit_compile not in ("auto", True, False):
            raise ValueError(f'jit_compile is "auto", True or False, got {jit_compile!r}.')
        self.batch_size, self.verbose = batch_size, verbose
        self._categories = categories
        categories.check_compiled(jit_compile)
        automatic = bool(tf.config.list_logical_devices("GPU")) and not categories.uncompiled
        self.jit_compile = automatic if jit_compile == "auto" else jit_compile
        self.model_name = model_name
        self._twin, self._results, self._output_names = twin, results, output_names
        self._inputs = InputSpec(models.input_structure(twin))
        self._runs = {}

    @property
    def twin(self):
        """The keras.Model that is run: the model's values forward, what the method propagates backward."""
        return self._twin

    # -- what a method says -------------------------------------------------------------------------------------------

    def attribute(self, probe, inputs, starts):
        """The explanation as a function of tensors.

        Args:
            probe: keras.Model, or a function like one, that returns [explained output, *inner tensors].
            inputs: flat list of input tensors; in place of strings, and of integers that are looked up, their `Entries`.
            starts: list of `neurons.Start`, one for each explained target.

        Returns:
            (explained output, for each start a list of the relevances of [*inputs, *inner tensors]).
        """
        explained, _, found = propagate(probe, inputs, starts)
        return explained, found

    def probe(self, target, names):
        """The keras.Model that `attribute` runs.

        Args:
            target: position of the explained output.
            names: of the inner layers whose relevance is wanted, or None.
        """
        inner = [t for name in names or () for t in self._results[name]]
        core = self._categories.core or self.twin
        return model_of(core.inputs, [core.outputs[target], *inner])

    def configuration(self):
        """What makes the method what it is, as a dict for JSON."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it is configured")

    # -- copies -------------------------------------------------------------------------------------------------------

    def learned(self):
        """What the method has estimated since it was made, as arguments of its class that make it so again."""
        return {}

    def __reduce__(self):
        """Pickles and deep copies are made anew: of the model with its weights of now, and the arguments given."""
        args, arguments = self._made_of
        named = dict(zip(inspect.signature(type(self)).parameters, args, strict=False))
        arguments = {**named, **arguments, **self.learned()}
        settings = {"batch_size": self.batch_size, "verbose": self.verbose}
        return _made_anew, (type(self), tree.map_structure(_without_tensors, arguments), settings)

    def __copy__(self):
        """Shares the model, the twin and what was compiled."""
        copied = object.__new__(type(self))
        vars(copied).update(vars(self), _runs=dict(self._runs))
        return copied

    # -- explaining ---------------------------------------------------------------------------------------------------

    def analyze(self, x, neuron_selection=None, *, layers=None, output=None, batch_size=None, verbose=None, dtype=None):
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

    def with_output(self, x, neuron_selection=None, *, layers=None, output=None, batch_size=None, verbose=None, dtype=None):
        """As `analyze`, from one and the same pass with what the model returns there.

        Args:
            x, neuron_selection, layers, output, batch_size, verbose, dtype: as for `analyze`.

        Returns:
            (output, relevance): the explained output, an array (N, ...) (a stripped softmax's argument), and what `analyze`
            returns.
        """
        leaves, pack = self._inputs.flatten(x)
        arrays = self._inputs.arrays(leaves)
        self._categories.check(arrays)
        samples = len(arrays[0])
        target = self._target(output)
        explained = self.twin.outputs[target]
        selection = neurons.check(neuron_selection, samples, explained.shape, explained.dtype)
        names = self._layer_names(layers)

        if batch_size is not None:
            _check_batch_size(batch_size)
        # A model built for one batch size takes no other.
        batch_size = self._inputs.tensors[0].shape[0] or batch_size or self.batch_size

        parts = []
        for values in _portions(selection):
            batches = self._batches(samples, batch_size, self.verbose if verbose is None else verbose)
            found = [
                self._run_padded(
                    [a[chosen] for a in arrays],
                    neurons.Selection(selection.mode, None if values is None else values[chosen]),
                    names,
                    target,
                    min(batch_size, samples),
                    dtype,
                )
                for chosen in batches
            ]
            parts.append([np.concatenate(pieces) for pieces in zip(*(map(np.asarray, flat) for flat in found), strict=True)])
        (scores, *_), *found = zip(*parts, strict=True)
        flat = [np.concatenate(pieces, axis=1) if len(pieces) > 1 else pieces[0] for pieces in found]
        return scores, self._pack(flat, names, pack)

    def __call__(self, x, neuron_selection=None, *, layers=None, output=None, dtype=None):
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
        leaves, pack = self._inputs.flatten(x)
        names, target = self._layer_names(layers), self._target(output)
        tensors = self._inputs.tensors_of(leaves)
        selection = neurons.check_tensor(neuron_selection, self.twin.outputs[target], tf.shape(tensors[0])[0])
        return self._pack(_as(dtype, self._run(tensors, selection, names, target)[1]), names, pack)

    def export(
        self,
        path,
        format="saved_model",
        *,
        layers=None,
        output=None,
        neuron_selection=None,
        labels=None,
        metadata=None,
        selecting=False,
        batch_size=1,
        input_shape=None,
        overwrite=False,
    ):
        """Writes the explanation as a file or folder that runs without this library and without Keras.

        The weights are those of now, folded and split by sign as the rules need them.

        - "saved_model": a folder with the signatures ``serving_default`` (inputs by name -> "relevance", "output") and
          ``select`` (also "neuron_selection": (N,) int32 indices, or floats of the output's shape where an index does not
          name a neuron). The number of samples stays free, and lengths that are free in the model.
        - "onnx": a file for onnxruntime. Needs ``pip install "tf_lrp[onnx]"``.
        - "litert": a file for LiteRT (TensorFlow Lite), with its description in FILE.json beside it.

        The last two hold forward operations alone, for a fixed number of samples; what was written is run once in its own
        runtime and compared to this analyzer.

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
        from tf_lrp import export  # loaded when needed: it holds the way to other runtimes

        explained = {"layers": layers, "output": output, "neuron_selection": neuron_selection}
        options = {"selecting": selecting, "batch_size": batch_size, "input_shape": input_shape, "overwrite": overwrite}
        return export.export(self, path, format, **explained, labels=labels, metadata=metadata, **options)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _run_padded(self, arrays, selection, names, target, full, dtype):
        """As `_run` for NumPy arrays, as one list. XLA compiles for each number of samples: a smaller last one is filled up."""
        count = len(arrays[0])
        missing = full - count if self.jit_compile else 0

        def filled(array):
            return tf.constant(np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) if missing else array)

        values = None if selection.values is None else filled(selection.values)
        explained, relevances = self._run([filled(a) for a in arrays], neurons.Selection(selection.mode, values), names, target)
        found = [explained, *_as(dtype, relevances)]
        return [r[:count] for r in found] if missing else found

    def _run(self, inputs, selection, names, target):
        """(explained output, relevances as a flat list), by the pass compiled for this kind of selection."""
        targets = selection.values.shape[1] if selection.mode in neurons.SEVERAL else None
        key = (selection.mode, targets, names, target)
        if key not in self._runs:
            self._runs[key] = self._compiled(*key)
        return self._runs[key](inputs) if selection.values is None else self._runs[key](inputs, selection.values)

    def _compiled(self, mode, targets, names, target):
        explain, signature = self._way(mode, targets, names, target)
        # TensorFlow counts traces by code object and would take many analyzers for one function that retraces: a partial
        # is a function of its own.
        return tf.function(
            functools.partial(explain), input_signature=signature, autograph=False, jit_compile=self.jit_compile or None
        )

    def _way(self, mode, targets, names, target):
        """(function inputs, values -> (explained output, relevances as a flat list), its signature)."""
        outputs, probe = self.twin.outputs, self.probe(target, names)

        def explain(inputs, values=None):
            if targets is None:
                starts = [neurons.Start(mode, values, self.starts_at_one)]
            else:
                starts = [neurons.Start(neurons.SEVERAL[mode], values[:, k], self.starts_at_one) for k in range(targets)]
            run, numbers = self._categories.bind(probe, inputs)
            explained, each = self.attribute(run, numbers, starts)
            if targets is None:
                return explained, each[0]
            return explained, [tf.stack(of_one, axis=1) for of_one in zip(*each, strict=True)]

        batch, *entries = outputs[target].shape
        several = () if targets is None else (targets,)
        of_shape = (entries, outputs[target].dtype)
        of_one = {"index": ((), tf.int32), "position": ((len(entries),), tf.int32), "mask": of_shape, "relevance": of_shape}
        shape, dtype = of_one.get(neurons.SEVERAL.get(mode, mode), (None, None))
        value_spec = None if shape is None else tf.TensorSpec((batch, *several, *shape), dtype)
        signature = [[tf.TensorSpec(t.shape, t.dtype) for t in self._inputs.tensors]]
        if value_spec is not None:
            signature.append(value_spec)
        return explain, signature

    def _pack(self, flat, names, pack):
        count = len(self._inputs.tensors)
        relevance = pack(flat[:count])
        if names is None:
            return relevance
        maps, rest = {"input": relevance}, flat[count:]
        for name in names:
            uses = len(self._results[name])
            maps[name] = rest[0] if uses == 1 else rest[:uses]
            rest = rest[uses:]
        return maps

    def _batches(self, samples, batch_size, verbose):
        """Index slices of the batches, with a progress bar where that is due."""
        starts = range(0, samples, batch_size)
        bar, began = None, time.monotonic()
        for done, start in enumerate(starts):
            if bar is None and (verbose is True or (verbose == "auto" and time.monotonic() - began > _LONG_RUN)):
                bar = keras.utils.Progbar(len(starts), unit_name="batch")
            yield slice(start, start + batch_size)
            if bar is not None:
                bar.update(done + 1)

    def _target(self, output):
        """Position of the explained output."""
        position, names = self._position(output), self._output_names
        dtype = self.twin.outputs[position].dtype
        if not keras.backend.is_float_dtype(dtype):
            raise ValueError(f"The output {names[position]!r} is of type {dtype}: explain the scores that it was made of.")
        return position

    def _position(self, output):
        names = self._output_names
        if output is None and len(names) == 1:
            return 0
        if isinstance(output, str) and names.count(output) == 1:
            return names.index(output)
        if isinstance(output, int) and not isinstance(output, bool) and 0 <= output < len(names):
            return output
        raise ValueError(
            f"The model has {len(names)} output(s): {', '.join(map(repr, names))}. Say which one is explained, output=name or "
            f"output=index; got {output!r}."
        )

    def _layer_names(self, layers):
        if layers is None:
            return None
        if not self.explains_layers:
            raise ValueError(f"{type(self).__name__} explains inputs only; layers needs to be None, got {layers!r}.")
        if not isinstance(layers, (str, list, tuple)):
            raise TypeError(f"layers is a list of layer names, got {type(layers).__name__}: {layers!r}.")
        return self._existing((layers,) if isinstance(layers, str) else tuple(layers))

    def _existing(self, names):
        """The names of layers, if there are such."""
        for name in names:
            if name not in self._results:
                raise ValueError(
                    f"There is no layer {name!r} below the explained outputs.{meant(name, self._results)} The model's "
                    f"{len(self._results)} layers go from {next(iter(self._results), None)!r} to "
                    f"{next(reversed(self._results), None)!r}; model.summary() shows them."
                )
        return names


def _noting_arguments(init):
    """A class's ``__init__`` that keeps what the outermost one was called with."""

    @functools.wraps(init)
    def noting(self, *args, **arguments):
        if "_made_of" not in vars(self):
            self._made_of = args, arguments
        init(self, *args, **arguments)

    return noting


@dataclass(frozen=True)
class _InputLike:
    """A symbolic input, as it can be pickled."""

    shape: tuple
    dtype: str
    name: str


def _without_tensors(leaf):
    return _InputLike(leaf.shape, leaf.dtype, leaf.name) if isinstance(leaf, keras.KerasTensor) else leaf


def _with_tensors(leaf):
    return keras.Input(batch_shape=leaf.shape, dtype=leaf.dtype, name=leaf.name) if isinstance(leaf, _InputLike) else leaf


def _made_anew(explainer_class, arguments, settings):
    made = explainer_class(**tree.map_structure(_with_tensors, arguments))
    vars(made).update(settings)
    return made


def propagate(probe, inputs, starts):
    """One forward pass, and a backward pass for each start.

    Args:
        probe, inputs, starts: as of `Explainer.attribute`.

    Returns:
        (explained output, values of [*inputs, *inner tensors], for each start a list of what reached them).
    """
    with tf.GradientTape(persistent=len(starts) > 1, watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        explained, *reached = tree.flatten(probe(inputs, training=False))
    values, none = [*inputs, *reached], tf.UnconnectedGradients.ZERO
    found = [tape.gradient(explained, values, s(explained), unconnected_gradients=none) for s in starts]
    # Of an input that is looked up in, TensorFlow returns the slices that were taken.
    return explained, values, [[tf.convert_to_tensor(r) for r in reached] for reached in found]


def _check_batch_size(batch_size):
    if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
        raise ValueError(f"batch_size needs an integer >= 1, got {batch_size!r}.")


def _as(dtype, relevances):
    return relevances if dtype is None else [tf.cast(r, dtype) for r in relevances]


def _portions(selection):
    """The selection's values in portions that fit one graph."""
    if selection.mode not in neurons.SEVERAL:
        return [selection.values]
    count = selection.values.shape[1]
    return [selection.values[:, k : k + _TARGETS_AT_ONCE] for k in range(0, count, _TARGETS_AT_ONCE)]


def output_names(twin, model):
    """One name for each output: the keys of a dict (dotted where dicts are nested), else Keras's output names."""
    structure = models.output_structure(twin)
    if isinstance(structure, dict):
        return [".".join(map(str, path)) for path, _ in tree.flatten_with_path(structure)]
    names = getattr(model, "output_names", ())  # a Sequential model has none
    return list(names) if len(names) == len(twin.outputs) else [f"output_{n}" for n in range(len(twin.outputs))]
