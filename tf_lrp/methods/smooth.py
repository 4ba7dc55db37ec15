"""Statistics of a method's maps under noise at the input."""

from __future__ import annotations

import keras
import tensorflow as tf

from tf_lrp.explain.explainer import Explainer
from tf_lrp.messages import checks
from tf_lrp.methods.gradient import Gradient
from tf_lrp.methods.sampling import accumulate

_STATISTICS = ("mean", "variance", "mean_square")


class SmoothGrad(Explainer):
    """A statistic of R(x + noise) over ``samples`` draws of Gaussian noise, for the maps R of any method.

    ================  =======================================================  =========================
    "mean"            (1/n) sum_k R(x + e_k)                                    SmoothGrad [1]
    "variance"        (1/n) sum_k (R(x + e_k) - mean)^2                         VarGrad [2]
    "mean_square"     (1/n) sum_k R(x + e_k)^2                                  SmoothGrad-squared [3]
    ================  =======================================================  =========================

    The neuron that is strongest at x is explained throughout. All samples of all batches get the same draws, so a result
    depends only on the seed and the sample. (XLA has another random generator: compiled, a seed gives other draws.)

    Args:
        explainer: any explainer, such as ``tf_lrp.Analyzer(model, "cmp_a2_flat")``; for a keras.Model its `Gradient`.
        samples: int, n; costs as many times the method's passes.
        noise_scale: standard deviation of the noise, as a part of each sample's range (largest minus smallest value of an
            input); in the input's units with ``relative=False``.
        relative: see there.
        statistic: "mean", "variance" or "mean_square".
        seed: int.
        **options: ``batch_size``, ``verbose``, ``jit_compile``, ``trace``.

    Sources:
        [1] Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise".
        [2] Adebayo et al. 2018, "Local explanation methods for deep neural networks lack sensitivity to parameter values".
        [3] Hooker et al. 2019, "A benchmark for interpretability methods in deep neural networks".
    """

    def __init__(self, explainer, samples=50, noise_scale=0.15, *, relative=True, statistic="mean", seed=0, **options):
        if statistic not in _STATISTICS:
            raise ValueError(f"statistic is one of {', '.join(map(repr, _STATISTICS))}; got {statistic!r}.")
        checks.integer("samples", samples)
        if not 0 <= noise_scale < float("inf"):
            raise ValueError(f"noise_scale needs a finite number >= 0, got {noise_scale!r}.")
        if isinstance(explainer, keras.Model):
            explainer = Gradient(explainer)
        if not isinstance(explainer, Explainer):
            raise TypeError(f"SmoothGrad needs an explainer or a keras.Model, got {type(explainer).__name__}.")
        self.explainer, self.samples, self.noise_scale, self.relative = explainer, samples, noise_scale, relative
        self.statistic, self.seed = statistic, seed
        self.seed_with_one, self.explains_layers = explainer.seed_with_one, explainer.explains_layers
        super().__init__(
            explainer.model_name,
            explainer.twin,
            explainer.layer_outputs,
            explainer.output_names,
            categories=explainer.category_inputs,
            **options,
        )

    @property
    def passes(self):
        return self.samples * self.explainer.passes

    def configuration(self):
        names = ("samples", "noise_scale", "relative", "statistic", "seed")
        own = {name: getattr(self, name) for name in names}
        return {"method": type(self).__name__, "parameters": own, "around": self.explainer.configuration()}

    def probe(self, position, layers):
        return self.explainer.probe(position, layers)

    def attribute(self, probe, inputs, seeds):
        explained = tf.nest.flatten(probe(inputs, training=False))[0]
        seeds = [seed.fixed(explained) for seed in seeds]
        shapes = tf.nest.map_structure(tf.zeros_like, self.explainer.attribute(probe, inputs, seeds)[1])

        def step(index, sums):
            noisy = [x + self._noise(index, n, x) for n, x in enumerate(inputs)]
            _, maps = self.explainer.attribute(probe, noisy, seeds)
            means, squares = sums
            if self.statistic == "mean_square":
                return means, tf.nest.map_structure(lambda s, r: s + r**2, squares, maps)
            # Welford: sums of squares minus a square would cancel.
            count = tf.cast(index + 1, inputs[0].dtype)
            new = tf.nest.map_structure(lambda m, r: m + (r - m) / count, means, maps)
            if self.statistic == "variance":
                squares = tf.nest.map_structure(lambda s, r, m, n: s + (r - m) * (r - n), squares, maps, means, new)
            return new, squares

        means, squares = accumulate(self.samples, step, (shapes, shapes))
        if self.statistic == "mean":
            return explained, means
        return explained, tf.nest.map_structure(lambda s: s / self.samples, squares)

    def _noise(self, index, position, x):
        """One draw for an input (N, ...), the same for all samples but for its scale."""
        seed = tf.stack([tf.constant(self.seed, tf.int32), index * len(self.input_spec.tensors) + position])
        draw = tf.random.stateless_normal(tf.concat([[1], tf.shape(x)[1:]], 0), seed, dtype=x.dtype)
        if not self.relative:
            return tf.constant(self.noise_scale, x.dtype) * draw
        axes = list(range(1, x.shape.rank))
        extent = tf.reduce_max(x, axes, keepdims=True) - tf.reduce_min(x, axes, keepdims=True)
        return tf.constant(self.noise_scale, x.dtype) * extent * draw
