"""The LRP Toolbox's Caffe program: images in, heatmaps and text files out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from tf_lrp import heatmap
from tf_lrp.caffe.analysis import analyzer
from tf_lrp.caffe.images import output_path, prepare, raw_text, read_mean
from tf_lrp.caffe.loading import load
from tf_lrp.caffe.settings import Settings
from tf_lrp.errors import CaffeError
from tf_lrp.runs import atomic_files

_BEST, _FIVE_BEST = -1, -2


class Demonstrator:
    """A network and its explanations, as a configuration file says.

    Args:
        settings: `Settings`.
        faithful: see `tf_lrp.caffe.analyzer`.

    Attributes:
        classes: names, or None.

    Raises:
        CaffeError, ValueError, OSError: for files and settings that do not fit each other.
    """

    def __init__(self, settings: Settings, faithful: bool = False):
        self.settings, self.faithful = settings, faithful
        self.model = load(settings.param_file, settings.model_file)
        if len(self.model.inputs) != 1 or len(self.model.outputs) != 1 or len(self.model.inputs[0].shape) != 4:
            raise CaffeError(f"{settings.param_file!r} needs to have one input, images, and one output.")
        self.shape = tuple(self.model.inputs[0].shape[1:])
        if self.shape[2] not in (1, 3):
            raise CaffeError(f"{settings.param_file!r} takes images of {self.shape[2]} channels; files have 1 or 3.")
        kind = settings.use_mean_file_asbinaryprotoblob
        self.mean = read_mean(settings.mean_file, kind) if settings.mean_file else None
        self.analyzer = analyzer(
            self.model,
            settings.relpropformulatype,
            epsilon=settings.epsstab,
            beta=settings.alphabeta_beta,
            max_layer=settings.auxiliaryvariable_maxlayerindexforflatdistinconv,
            last_layer=settings.lastlayerindex,
            faithful=faithful,
        )
        self.count = int(np.prod(self.model.outputs[0].shape[1:]))
        explained = self.analyzer.twin.outputs[0].shape[1:]
        if tuple(explained) != (self.count,) or settings.numclasses not in (0, self.count):
            raise CaffeError(
                f"The network has {self.count} outputs, the explained layer {tuple(explained)}, and numclasses is "
                f"{settings.numclasses}: they must agree."
            )
        names = Path(settings.synsetfile).read_text(encoding="utf-8").splitlines() if settings.synsetfile else None
        if names is not None and len(names) < self.count:
            raise CaffeError(f"{settings.synsetfile!r} names {len(names)} classes, and the network has {self.count}.")
        self.classes = names

    def run(
        self, images: list[tuple[int, str, int]], prefix: str, complain: Callable[[int, str], None], batch: int, minimal: bool
    ) -> Iterator[tuple[str, np.ndarray, list[int], float]]:
        """Explains images and writes their outputs; (path, scores, explained classes, sum of relevance) for each.

        Args:
            images: (number of a line, path, class), as `tf_lrp.caffe.settings.read_file_list` returns them.
            prefix: put before each path.
            complain: called with (number of the line, what is wrong) for an image that cannot be explained; the others are.
            batch: images that are explained at once.
            minimal: whether only text files are written.
        """
        for first in range(0, len(images), batch):
            ready = []
            for number, name, wanted in images[first : first + batch]:
                path = os.path.join(prefix, name.lstrip(os.sep)) if prefix else name
                try:
                    if wanted >= self.count:
                        raise CaffeError(f"there is no class {wanted}, the network has the classes 0 to {self.count - 1}")
                    to = output_path(path, self.settings.standalone_outpath, self.settings.standalone_rootpath)
                    values, pixels = prepare(path, self.settings.baseimgsize, self.shape, self.mean, self.faithful)
                    ready.append((number, path, wanted, to, values, pixels))
                except (OSError, ValueError, Image.DecompressionBombError) as error:
                    complain(number, str(error))
            if ready:
                yield from self._explain(ready, complain, minimal)

    def _explain(self, ready, complain, minimal):
        x = np.stack([values for *_, values, _ in ready]).astype(keras.config.floatx())
        scores = np.asarray(self.model.predict_on_batch(x)).reshape(len(x), -1)
        started = np.asarray(self.analyzer.twin.predict_on_batch(x))
        order = np.argsort(-scores, axis=1, kind="stable")
        chosen = [
            list(order[n, : 5 if wanted == _FIVE_BEST else 1]) if wanted < 0 else [wanted]
            for n, (_, _, wanted, *_) in enumerate(ready)
        ]
        seeds = np.zeros_like(started)
        for n, classes in enumerate(chosen):
            seeds[n, classes] = started[n, classes]
        relevance = self.analyzer.analyze(x, seeds, batch_size=len(x), verbose=False)
        for n, (number, path, _, to, _, pixels) in enumerate(ready):
            try:
                self._write(to, relevance[n], scores[n], order[n], pixels, minimal)
            except OSError as error:
                complain(number, str(error))
                continue
            yield path, scores[n], [int(k) for k in chosen[n]], float(relevance[n].sum(dtype="float64"))

    def _write(self, to, relevance, scores, order, pixels, minimal):
        to.parent.mkdir(parents=True, exist_ok=True)
        best = "".join(f"{k} {scores[k]:g}\n" for k in order[:10])
        for ending, text in (("_rawhm.txt", raw_text(relevance)), ("_toptenscores.txt", best), ("_top10scores.txt", best)):
            atomic_files.write(Path(f"{to}{ending}"), text.encode())
        if not minimal:
            Image.fromarray(pixels.squeeze()).save(f"{to}_as_inputted_into_the_dnn.png")
            Image.fromarray(heatmap.to_rgb(relevance[None], cmap="jet")[0]).save(f"{to}_heatmap.png")
