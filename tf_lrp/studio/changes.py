"""What a model predicts after a change of its input or of its neurons. In the worker's thread."""

from __future__ import annotations

import base64
import binascii

import numpy as np
import tensorflow as tf

from tf_lrp.evaluation.measures import perturbation
from tf_lrp.studio import schemas
from tf_lrp.studio.explaining import Check, Explaining, strongest
from tf_lrp.studio.pictures import png
from tf_lrp.studio.problems import ProblemError


class Changes:
    """Flips pixels and switches neurons off.

    Args:
        explaining: `Explaining`.
    """

    def __init__(self, explaining: Explaining):
        self._explaining, self._network = explaining, explaining.network
        twin = self._network.analyzer.twin
        self._scores = tf.function(lambda x: twin(x, training=False), autograph=False)

    def flip(self, request: schemas.FlipRequest) -> schemas.Flipped:
        """Predictions after the pixels of a mask were replaced."""
        x = self._values(request.picture)
        mask = decoded_mask(request.mask, x.shape[1:-1] if x.ndim > 2 else x.shape[1:])
        try:
            changed = perturbation.replaced(x, mask[np.newaxis], request.how, seed=request.seed)
        except ValueError as error:
            raise ProblemError(400, str(error)) from None
        after = self._scores(tf.constant(changed)).numpy()[0].astype(float)
        flipped = self._compared(request, after)
        image = None
        if self._network.kind == "picture":
            image = base64.b64encode(png(self._network.as_picture(changed[0]))).decode()
        return schemas.Flipped(**flipped, image=image, pixels=int(mask.sum()))

    def curve(self, request: schemas.CurveRequest, relevance: np.ndarray, target: int, check: Check) -> schemas.Curves:
        """The score of a class while more and more is replaced.

        Args:
            relevance: of the input, an array (1, ...).
            target: index of the class.
        """
        x = self._values(request.picture)
        inner = x.shape[1:-1] if x.ndim > 2 else x.shape[1:]
        patches = int(np.prod([-(-length // request.patch) for length in inner]))
        wanted = max(1, round(patches * request.percent / 100))
        at_once = max(1, round(wanted / request.points))
        steps = -(-wanted // at_once) if wanted == patches else max(1, round(wanted / at_once))
        options = {
            "patch": request.patch, "at_once": at_once, "steps": steps, "replacement": request.how,
            "seed": request.seed, "batch_size": 1,
        }  # fmt: skip
        curves = {}
        for order in perturbation.ORDERS:
            check()
            draws = request.draws if order == "random" else 1
            try:
                curves[order] = perturbation.flip(
                    self._network.analyzer.twin, x, relevance, target, order=order, draws=draws, **options
                )
            except ValueError as error:
                raise ProblemError(400, str(error)) from None
        names = {"morf": "most_relevant_first", "lerf": "least_relevant_first", "random": "random"}
        return schemas.Curves(
            fraction=curves["morf"].fraction[0].tolist(),
            **{names[order]: curve.scores[0].tolist() for order, curve in curves.items()},
            aopc={names[order]: float(curve.aopc[0]) for order, curve in curves.items()},
        )

    def ablate(self, request: schemas.AblateRequest) -> schemas.Changed:
        """Predictions with some channels of a layer set to 0."""
        after = self._explaining.session(request.picture).ablated(request.layer, request.channels)[0]
        return schemas.Changed(**self._compared(request, after.astype(float)))

    def _values(self, picture):
        """The model's input, as numbers that can be replaced."""
        if self._network.kind == "tokens":
            raise ProblemError(400, "Tokens cannot be flipped: they are numbers of words, and have no opposite.")
        return self._explaining.x(picture)

    def _compared(self, request, after):
        explaining = self._explaining
        before = explaining.scores(request.picture)
        target = explaining.target(request.target, before)
        if not np.isfinite(after).all():
            raise ProblemError(400, "The scores after the change are not finite.")
        first = list(dict.fromkeys([*strongest(before, request.top), target]))
        indices = list(dict.fromkeys([*strongest(after, request.top), *first]))
        old = explaining.class_scores(before, indices)
        return {
            "before": explaining.class_scores(before, first),
            "after": [
                schemas.ClassChange(
                    **now.model_dump(), before=then.score, change=now.score - then.score, probability_before=then.probability
                )
                for now, then in zip(explaining.class_scores(after, indices), old, strict=True)
            ],
        }


def decoded_mask(text: str, shape) -> np.ndarray:
    """A mask of a request as bool array of a shape.

    Raises:
        ProblemError: it is no base64, or of another size.
    """
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ProblemError(400, "A mask is base64 of one byte for each pixel.") from None
    size = int(np.prod(shape))
    if len(content) != size:
        wanted = " x ".join(map(str, shape))
        raise ProblemError(400, f"A mask has one byte for each pixel, {wanted} = {size}; got {len(content)}.")
    return np.frombuffer(content, np.uint8).reshape(shape) != 0
