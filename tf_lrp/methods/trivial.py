"""References that look at no model: the input itself, and noise."""

from __future__ import annotations

import tensorflow as tf

from tf_lrp.methods.base import Method


class Input(Method):
    """R = x: how much of a heatmap is the picture itself.

    Args:
        model, **options: see `Method`.
    """

    explains_layers = False

    def attribute(self, probe, inputs, seeds):
        explained = tf.nest.flatten(probe(inputs, training=False))[0]
        return explained, [[tf.identity(x) for x in inputs] for _ in seeds]


class Random(Method):
    """R ~ N(0, stddev^2), the same for all samples and neurons: what any measure of explanations has to beat.

    Args:
        model, **options: see `Method`.
        stddev: float.
        seed: int.
    """

    explains_layers = False

    def __init__(self, model, stddev=1.0, seed=0, **options):
        super().__init__(model, **options)
        self.stddev, self.seed = stddev, seed

    def parameters(self):
        return {"stddev": self.stddev, "seed": self.seed}

    def attribute(self, probe, inputs, seeds):
        explained = tf.nest.flatten(probe(inputs, training=False))[0]

        def noise(n, x):
            draw = self.stddev * tf.random.stateless_normal(tf.concat([[1], tf.shape(x)[1:]], 0), (self.seed, n), dtype=x.dtype)
            return draw * tf.ones_like(x)

        maps = [noise(n, x) for n, x in enumerate(inputs)]
        return explained, [maps for _ in seeds]
