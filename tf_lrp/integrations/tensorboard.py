"""Watching relevance while a model is trained: heatmaps and balances for TensorBoard.

    watch = tf_lrp.callbacks.RelevanceCallback(x_val[:8], "logs/relevance", neuron_selection=y_val[:8])
    model.fit(x, y, epochs=20, callbacks=[watch])

The events are written by TensorFlow; TensorBoard is needed to view them, not to write them.
"""

from __future__ import annotations

import inspect
import logging
import os
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree
from PIL import Image

from tf_lrp import heatmap
from tf_lrp.analyzer import Analyzer
from tf_lrp.conservation import Conservation
from tf_lrp.explain import neurons
from tf_lrp.explain.inputs import ModelInput
from tf_lrp.integrations import training_pictures
from tf_lrp.messages import checks
from tf_lrp.presets import Preset, as_preset
from tf_lrp.rules import Rule

__all__ = ["RelevanceCallback", "Snapshot"]

logger = logging.getLogger("tf_lrp")


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What the model decides at one moment, and why.

    Attributes:
        relevance: NumPy, structured like ``x`` with its first N samples: (N, ...), or (N, K, ...) for (N, K) neurons.
        output: float64 (N,) or (N, K), the explained output: the sum of R_init.
        neurons: int (N,) or (N, K), the explained neurons; None where they have no index (R_init as floats, "all", outputs
            that are maps).
        conservation: `tf_lrp.conservation.Conservation` of the first samples together, or None.
    """

    relevance: Any
    output: np.ndarray
    neurons: np.ndarray | None
    conservation: Conservation | None


class RelevanceCallback(keras.callbacks.Callback):
    """Logs to TensorBoard, epoch by epoch, how a model in training explains a few samples.

    Logged are (all of the first ``max_images`` samples of ``x``, with ``name`` in place of "relevance"):

    - ``relevance/maps``: each picture above its heatmap, titled by the explained neuron and its output. Drawn are inputs
      (N, H, W, C), channels last. Others (signals, tables, tokens) have scalars only; (N, H, W) is drawn where
      ``pictures`` has pictures for it, since it may as well be a sequence. With several drawn inputs each has its own
      ``relevance/maps/<input>``.
    - ``relevance/sum``, ``relevance/output``: the mean over samples of the relevance's sum and of the explained output.
    - ``relevance/conservation/input``: the share of the explained output that reached the inputs, sum / output. Where
      ``conservation`` asks for the balance of each layer, also what ``.../biases``, ``.../stabilizers``,
      ``.../zero_denominators``, ``.../padding``, ``.../stops`` and ``.../formula`` kept (see `tf_lrp.conservation.Kept`);
      together they sum to 1. No point is written where the output is 0.

    An epoch takes longer by one `Analyzer.analyze` of these samples and by drawing.

    Steps are Keras's epochs, as in ``keras.callbacks.TensorBoard``: the first is 0. Give it a folder that is not that
    callback's: TensorBoard follows one file in each folder.

    One Analyzer is built when training begins, and kept for later calls of ``fit`` on the same model. It reads the model's
    own variables, moving statistics included, at each explanation, so nothing is built or traced again. The exception are
    weights that a ``call`` transforms by functions of `keras.ops` alone, which an Analyzer takes as they are when it is
    built; for such models ``rebuild=True`` builds it again each time.

    Where weights have become NaN or infinite, scalars are logged and pictures left out, with a warning: ending the training
    is for `keras.callbacks.TerminateOnNaN`.

    Args:
        x: samples to explain, as for `Analyzer.analyze`: array (N, ...), or list or dict of arrays.
        log_dir: folder of the event files.
        preset: as for `Analyzer`.
        neuron_selection: as for `Analyzer.analyze`. Entries for each sample are given for all of ``x``. By default each
            sample's strongest output, which may change from epoch to epoch; labels keep the question the same.
        every: logs after each ``every``-th epoch.
        at_start: whether the model before its first epoch is logged too, at the step before that epoch's (-1).
        pictures: what is shown above the heatmaps, (N, h, w), (N, h, w, 1) or (N, h, w, 3) for all of ``x``, integers in
            0..255 or floats in [0, 1] or [0, 255]; dict input name -> pictures for several drawn inputs. By default ``x``
            itself, stretched from its smallest to its largest value (other than 1 or 3 channels: their mean, in grey).
        max_images: only the first so many samples of ``x`` are explained, so the cost does not grow with ``x``. A model
            built for one batch size takes all of them, and draws so many.
        cmap, percentile, scale: as in `heatmap.to_rgb`. ``scale`` makes colours comparable between epochs; else each map
            has its own range.
        conservation: for how many of the first samples the balance of every layer is computed: none by default.
            That runs layer by layer, uncompiled: about a second for a large network, whose maps may take less. The shares
            are then those of these samples; of (N, K) neurons of the first.
        output: name or index of the explained output, for a model with several.
        rebuild: whether a new Analyzer is built for each logging, at the cost of tracing it.
        name: first part of the tags.
        **options: further arguments of `Analyzer`: ``batch_size``, ``jit_compile``, ``strip_softmax``, ``fold_batchnorm``,
            ``inputs``.

    Attributes:
        analyzer: the `Analyzer` of the model in training; None before it is built.

    Raises:
        TypeError, ValueError: at once for a preset, colour map, number or option that is wrong; when training begins for an
            ``x``, neuron or output that does not fit the model (as `Analyzer.analyze` does), for ``pictures`` that do not fit
            ``x``, and for a model that cannot be explained.

    Example:
        >>> watch = RelevanceCallback(x_val[:8], "logs/relevance", neuron_selection=y_val[:8])
        >>> model.fit(x, y, epochs=20, callbacks=[watch])
    """

    def __init__(
        self,
        x: ModelInput,
        log_dir: str | os.PathLike[str],
        preset: str | Preset | Rule = "cmp_a2_flat",
        neuron_selection: neurons.NeuronSelection = None,
        *,
        every: int = 1,
        at_start: bool = False,
        pictures: Any = None,
        max_images: int = 16,
        cmap: str = "seismic",
        percentile: float | None = None,
        scale: float | None = None,
        conservation: int | bool = 0,
        output: str | int | None = None,
        rebuild: bool = False,
        name: str = "relevance",
        **options: Any,
    ):
        super().__init__()
        self._every = checks.integer("every", every)
        self._max_images = checks.integer("max_images", max_images)
        conservation = int(conservation) if isinstance(conservation, bool) else conservation
        self._accounted = checks.integer("conservation", conservation, 0)
        self._preset = as_preset(preset)
        unknown = set(options) - set(inspect.signature(Analyzer).parameters)
        if unknown:
            raise TypeError(f"RelevanceCallback and Analyzer have no argument {', '.join(map(repr, sorted(unknown)))}.")
        self._colours = {"cmap": cmap, "percentile": percentile, "scale": scale}
        heatmap.to_rgb(np.zeros((1, 1)), **self._colours)
        self._x, self._neuron_selection, self._pictures = x, neuron_selection, pictures
        self._log_dir, self._output, self._name, self._options = str(log_dir), output, name, options
        self._at_start, self._rebuild = at_start, rebuild
        self.analyzer: Any = None
        self._explained_model = self._writer = None
        self._starting, self._warned = True, False

    model: Any  # Keras sets it

    # -- what Keras calls ---------------------------------------------------------------------------------------------

    def on_train_begin(self, logs=None):
        self._starting = True
        # fit builds models before this; a loop of one's own need not have.
        if self.model.built:
            self._prepare()

    def on_epoch_begin(self, epoch, logs=None):
        if self._at_start and self._starting and self.model.built:
            self.log(epoch - 1)
        self._starting = False

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self._every == 0:
            self.log(epoch)

    def on_train_end(self, logs=None):
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    # -- what it does -------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Explains the samples by the model as it is now.

        Returns:
            `Snapshot`.

        Raises:
            ValueError, TypeError: as the class says of the beginning of training.
        """
        self._prepare()
        x = self._packed(self._arrays)
        outputs, relevance = self.analyzer.with_output(x, self._selected, output=self._output, verbose=False)
        start, indices = self._explained(outputs)
        balance = None
        if self._accounted:
            # A model built for one batch size takes no part of it.
            count = len(self._arrays[0]) if self._fixed else self._accounted
            first = self._selected.each()[0].rows(slice(count))
            balance = self.analyzer.conservation(self._packed([a[:count] for a in self._arrays]), first, output=self._output)
        return Snapshot(relevance, start, indices, balance)

    def draw(self, snapshot: Snapshot) -> dict[str, Image.Image]:
        """The pictures above their heatmaps.

        Args:
            snapshot: of `snapshot`.

        Returns:
            Dict input name -> PIL.Image, for each drawn input; (N, K) neurons have K heatmaps below each picture.

        Raises:
            ValueError: for relevance that is NaN or infinite.
        """
        leaves, _ = self.analyzer.input_spec.flatten(snapshot.relevance)
        sheets = {}
        for position, shown in self._shown.items():
            relevance = leaves[position] if snapshot.output.ndim == 2 else leaves[position][:, None]
            relevance = relevance[: len(shown)]
            maps = [heatmap.to_rgb(relevance[:, k], **self._colours) for k in range(relevance.shape[1])]
            sheets[self._input_names[position]] = training_pictures.sheet([shown, *maps], _titles(snapshot)[: len(shown)])
        return sheets

    def log(self, step: int) -> Snapshot:
        """Explains, draws and writes; the epochs of ``fit`` call it, and a training loop of one's own can.

        Args:
            step: int, the TensorBoard step.

        Returns:
            The `Snapshot` that was logged.

        Raises:
            ValueError, TypeError: as `snapshot`.
        """
        snapshot = self.snapshot()
        leaves = [np.asarray(leaf, np.float64) for leaf in tree.flatten(snapshot.relevance)]
        finite = all(np.isfinite(leaf).all() for leaf in leaves)
        maps = self.draw(snapshot) if finite else {}
        if not finite and not self._warned:
            self._warned = True
            logger.warning("Relevance is NaN or infinite at step %d: the heatmaps are left out until it is finite.", step)
        scalars = {"sum": sum(leaf.sum() for leaf in leaves) / snapshot.output.size, "output": snapshot.output.mean()}
        scalars |= {f"conservation/{what}": share for what, share in _shares(scalars, snapshot.conservation).items()}
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(self._log_dir)
        with self._writer.as_default():
            for tag, value in scalars.items():
                _write_scalar(f"{self._name}/{tag}", value, step)
            for input_name, image in maps.items():
                _write_image(f"{self._name}/maps" + f"/{input_name}" * (len(maps) > 1), image, step)
        self._writer.flush()
        return snapshot

    # -- inside -------------------------------------------------------------------------------------------------------

    def _prepare(self):
        """Builds the Analyzer if there is none for this model, and checks ``x`` and what belongs to it."""
        if self.model is None:
            raise ValueError("RelevanceCallback has no model yet: give it to fit, or call set_model(model).")
        if self._explained_model is self.model and not self._rebuild:
            return
        analyzer = Analyzer(self.model, self._preset, **self._options)
        spec, target = analyzer.input_spec, analyzer.output_position(self._output)
        leaves, self._packed = spec.flatten(self._x)
        arrays = spec.arrays(leaves)
        total, explained = len(arrays[0]), analyzer.twin.outputs[target]
        checked = neurons.check(self._neuron_selection, total, explained.shape, explained.dtype)
        self._fixed = spec.tensors[0].shape[0] is not None
        count = total if self._fixed else min(total, self._max_images)
        self._arrays = [a[:count] for a in arrays]
        self._selected = checked.rows(slice(count))
        # Inputs in a dict go by its keys, as in x.
        self._input_names = sorted(spec.structure) if isinstance(spec.structure, dict) else spec.names
        self._shown = training_pictures.pictures_of(self._input_names, arrays, self._pictures, min(total, self._max_images))
        if not self._shown:
            logger.info("RelevanceCallback logs scalars only: no input is of pictures, shape (N, H, W, C).")

        self.analyzer, self._explained_model = analyzer, self.model

    def _explained(self, outputs):
        """What the selection explains of the outputs, float64 (N,) or (N, K), and the neurons' indices, or None."""
        count, selection = len(outputs), self._selected
        outputs = tf.constant(outputs)
        if selection.mode in ("max_activation", "index", "indices"):
            start = neurons.InitialRelevance(selection.mode, selection.values).fixed(outputs)
            flat, columns = np.reshape(outputs, (count, -1)).astype(np.float64), np.asarray(start.values).reshape(count, -1)
            chosen = np.take_along_axis(flat, columns, axis=1).reshape(np.shape(start.values))
            return chosen, np.asarray(start.values) if outputs.shape.rank <= 2 else None
        starts = [neurons.InitialRelevance(one.mode, one.values)(outputs) for one in selection.each()]
        sums = [np.asarray(start, np.float64).reshape(count, -1).sum(axis=1) for start in starts]
        return np.stack(sums, axis=1) if selection.mode in neurons.SEVERAL else sums[0], None


def _shares(means, balance):
    """What became of the explained output, as parts of it."""
    if balance is None:
        return {"input": means["sum"] / means["output"]} if means["output"] else {}
    parts = {
        "input": balance.input,
        "biases": balance.bias,
        "stabilizers": balance.stabilizer,
        "zero_denominators": balance.zero_denominator,
        "padding": balance.padding,
        "stops": balance.stopped,
        "formula": balance.formula,
    }
    return {what: value / balance.output for what, value in parts.items()} if balance.output else {}


def _titles(snapshot):
    """One title for each sample: its neurons and their outputs."""
    outputs = snapshot.output.reshape(len(snapshot.output), -1)
    if snapshot.neurons is None:
        return [f"{row[0]:.3g}" for row in outputs]
    indices = np.reshape(snapshot.neurons, outputs.shape)
    return ["\n".join(f"{n}: {v:.3g}" for n, v in zip(*rows, strict=True)) for rows in zip(indices, outputs, strict=True)]


# tf.summary.scalar and .image need TensorBoard on the machine that trains. These write what it reads: the plugin that shows a
# tensor is chosen by its name, and its further settings have their default, the empty string.


def _write_scalar(tag, value, step):
    metadata = tf.compat.v1.SummaryMetadata(data_class="DATA_CLASS_SCALAR")
    metadata.plugin_data.plugin_name = "scalars"
    tf.summary.write(tag, tf.constant(value, tf.float32), step, metadata)


def _write_image(tag, image, step):
    metadata = tf.compat.v1.SummaryMetadata(data_class="DATA_CLASS_BLOB_SEQUENCE")
    metadata.plugin_data.plugin_name = "images"
    png = tf.io.encode_png(np.asarray(image))
    tf.summary.write(tag, tf.stack([str(image.width), str(image.height), png]), step, metadata)
