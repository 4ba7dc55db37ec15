"""Derivatives of the score with respect to the inputs, and their product with the inputs."""

from __future__ import annotations

import tensorflow as tf

from tf_lrp.explain.passes import propagate
from tf_lrp.methods.base import Method

#: What is made of a derivative: name -> function (derivative, channel axis).
_TAKES = {
    "raw": lambda g, axis: g,
    "absolute": lambda g, axis: tf.abs(g),
    "squared": lambda g, axis: tf.square(g),
    "l2": lambda g, axis: tf.math.divide_no_nan(tf.square(g), tf.norm(g, axis=axis, keepdims=True)),
}


class Gradient(Method):
    """R_i = df/dx_i: how the explained score f changes with each input element.

    ``take`` says what is made of it:

    ============  ====================================================================================
    "raw"         df/dx_i, in score units per input unit
    "absolute"    |df/dx_i|
    "squared"     (df/dx_i)^2, the LRP Toolbox's sensitivity analysis
    "l2"          (df/dx_i)^2 / ||df/dx||_2 with the norm over the channels of a pixel: summed over the
                  channels, as heatmaps are, this is that norm, Simonyan's saliency by L2
    ============  ====================================================================================

    The sum over inputs means nothing: a gradient says what would change the score, not what made it.

    Args:
        model, **options: see `Method`.
        take: "raw", "absolute", "squared" or "l2".

    Source: Simonyan et al. 2014, "Deep inside convolutional networks".
    """

    seed_with_one = True

    def __init__(self, model, take="raw", **options):
        if take not in _TAKES:
            raise ValueError(f"take is one of {', '.join(map(repr, _TAKES))}; got {take!r}.")
        self.take = take
        super().__init__(model, **options)

    def assumptions(self):
        return ("scores", "derivatives")

    def parameters(self):
        return {"take": self.take}

    def attribute(self, probe, inputs, seeds):
        explained, _, gradients = propagate(probe, inputs, seeds)
        return explained, [[_TAKES[self.take](g, self.channel_axis) for g in each] for each in gradients]


class InputTimesGradient(Method):
    """R_i = x_i df/dx_i, in score units: exact, summing to the score, for ReLU networks without biases (there it is LRP-z).

    At inner layers the activation takes the input's place.

    Args:
        model, **options: see `Method`.

    Source: Shrikumar et al. 2016, "Not just a black box".
    """

    seed_with_one = True

    def assumptions(self):
        return ("scores", "derivatives")

    def attribute(self, probe, inputs, seeds):
        explained, values, gradients = propagate(probe, inputs, seeds)
        return explained, [[v * g for v, g in zip(values, each, strict=True)] for each in gradients]
