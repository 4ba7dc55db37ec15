"""Grad-CAM: a coarse map of the last convolution, as a reference."""

from __future__ import annotations

import tensorflow as tf

from tf_lrp.explainer import propagate
from tf_lrp.graph.facts import gather
from tf_lrp.graph.nodes import model_of
from tf_lrp.graph.routing import takers_of
from tf_lrp.methods.base import Method


class GradCAM(Method):
    """R_p = max(0, sum_k alpha_k A_kp) with alpha_k = mean over places p of df/dA_kp, enlarged to the input's size.

    A are the maps that the last convolution (or the layer given) returns, after its activation. The enlarged map (bilinear)
    is shared evenly among the input's channels, so that summing over channels, as heatmaps do, gives it back. It says
    where, in a grid as coarse as A, and not what.

    Where global average pooling follows the convolution, df/dA_kp is the same at all places p, and sum_k alpha_k A_kp is the
    relevance of A under LRP-0 above it, summed over channels; with other heads, or other rules, it is not.

    Args:
        model, **options: see `Method`. It takes one input of pictures, (N, H, W, C).
        layer: name of the layer whose maps are used.
        rectify: whether negative values are set to 0.

    Source: Selvaraju et al. 2017, "Grad-CAM: visual explanations from deep networks via gradient-based localization".
    """

    starts_at_one = True
    explains_layers = False

    def __init__(self, model, layer=None, rectify=True, **options):
        super().__init__(model, **options)
        self.layer, self.rectify = layer, rectify
        shapes = [tuple(t.shape) for t in self.twin.inputs]
        if len(shapes) != 1 or len(shapes[0]) != 4:
            raise ValueError(f"Grad-CAM explains models with one input of pictures, (N, H, W, C); this one takes {shapes}.")
        self._maps = self._last_convolution() if layer is None else self._returned_by(layer)

    def parameters(self):
        return {"layer": self.layer, "rectify": self.rectify}

    def _returned_by(self, layer):
        (name,) = self._existing([layer])
        tensor = self._results[name][-1]
        if len(tensor.shape) != 4:
            raise ValueError(f"Grad-CAM needs a layer that returns maps, (N, H, W, C); {layer!r} returns {tensor.shape}.")
        return tensor

    def _last_convolution(self):
        places = {id(n): i for i, n in enumerate(self.graph.nodes)}
        facts = gather(self.graph)
        found = [n for n, f in zip(self.graph.nodes, facts, strict=True) if "conv" in f.kinds and len(n.output.shape) == 4]
        if not found:
            raise ValueError("Grad-CAM needs a convolution, and the model has none: name the layer with layer=.")
        node = found[-1]
        after = takers_of(self.graph, node.output)
        if len(after) == 1 and "activation" in facts[places[id(after[0])]].kinds:
            node = after[0]
        return self.built.returned[places[id(node)]][0]

    def probe(self, target, names):
        return model_of(self.twin.inputs, [self.twin.outputs[target], self._maps])

    def attribute(self, probe, inputs, starts):
        (x,) = inputs
        explained, (_, maps), found = propagate(probe, inputs, starts)
        first = self.channel_axis == 1
        space = [2, 3] if first else [1, 2]
        size = tf.gather(tf.shape(x), space)

        def enlarged(gradient):
            weights = tf.reduce_mean(gradient, space, keepdims=True)
            cam = tf.reduce_sum(weights * maps, 1 if first else -1, keepdims=True)
            cam = tf.nn.relu(cam) if self.rectify else cam
            cam = tf.transpose(cam, [0, 2, 3, 1]) if first else cam
            cam = tf.cast(tf.image.resize(cam, size), x.dtype)
            cam = tf.transpose(cam, [0, 3, 1, 2]) if first else cam
            return cam / tf.cast(tf.shape(x)[self.channel_axis], x.dtype) * tf.ones_like(x)

        return explained, [[enlarged(gradient)] for _, gradient in found]
