"""Grad-CAM: a coarse map of the last convolution, as a reference; and guided by the pixels."""

from __future__ import annotations

import tensorflow as tf

from tf_lrp.explain import names
from tf_lrp.explain.passes import propagate
from tf_lrp.graph.facts import infer_facts
from tf_lrp.graph.nodes import model_of
from tf_lrp.graph.routing import takers_of
from tf_lrp.methods.base import Method
from tf_lrp.methods.rectified import GuidedBackprop


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

    seed_with_one = True
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
        names.layer_names([layer], self.layer_outputs)  # raises an error where there is no such layer
        tensor = self.layer_outputs[layer][-1]
        if len(tensor.shape) != 4:
            raise ValueError(f"Grad-CAM needs a layer that returns maps, (N, H, W, C); {layer!r} returns {tensor.shape}.")
        return tensor

    def _last_convolution(self):
        places = {id(n): i for i, n in enumerate(self.graph.nodes)}
        facts = infer_facts(self.graph)
        convolutions = [
            n for n, f in zip(self.graph.nodes, facts, strict=True) if "conv" in f.kinds and len(n.output.shape) == 4
        ]
        if not convolutions:
            raise ValueError("Grad-CAM needs a convolution, and the model has none: name the layer with layer=.")
        node = convolutions[-1]
        after = takers_of(self.graph, node.output)
        if len(after) == 1 and "activation" in facts[places[id(after[0])]].kinds:
            node = after[0]
        return self.built.returned[places[id(node)]][0]

    def probe(self, position, layers):
        return model_of(self.twin.inputs, [self.twin.outputs[position], self._maps])

    def attribute(self, probe, inputs, seeds):
        (x,) = inputs
        explained, heatmaps = self._heatmaps(probe, x, seeds)
        channels = tf.cast(tf.shape(x)[self.channel_axis], x.dtype)
        return explained, [[heatmap / channels * tf.ones_like(x)] for heatmap in heatmaps]

    def _heatmaps(self, probe, x, seeds):
        """(explained output, for each seed the enlarged map, shaped like ``x`` with one channel)."""
        explained, (_, maps), gradients = propagate(probe, [x], seeds)
        first = self.channel_axis == 1
        space = [2, 3] if first else [1, 2]
        size = tf.gather(tf.shape(x), space)

        def enlarged(gradient):
            weights = tf.reduce_mean(gradient, space, keepdims=True)
            cam = tf.reduce_sum(weights * maps, 1 if first else -1, keepdims=True)
            cam = tf.nn.relu(cam) if self.rectify else cam
            cam = tf.transpose(cam, [0, 2, 3, 1]) if first else cam
            cam = tf.cast(tf.image.resize(cam, size), x.dtype)
            return tf.transpose(cam, [0, 3, 1, 2]) if first else cam

        return explained, [enlarged(gradient) for _, gradient in gradients]


class GuidedGradCAM(GradCAM):
    """R_i = G_i max(0, sum_k alpha_k A_kp(i)): guided backpropagation, times the enlarged map of Grad-CAM at that place.

    G is what `GuidedBackprop` gives, begun with 1 at the explained score. Guided backpropagation says what, hardly dependent
    on the class; Grad-CAM says where. Sums to nothing in particular.

    Args:
        model, **options: see `Method`. It takes one input of pictures, (N, H, W, C).
        layer: name of the layer whose maps are used, by default the last convolution's, after its activation.

    Source: Selvaraju et al. 2017, "Grad-CAM: visual explanations from deep networks via gradient-based localization".
    """

    def __init__(self, model, layer=None, *, check=True, **options):
        super().__init__(model, layer, check=check, **options)
        self.guided = GuidedBackprop(model, check=False, **options)

    def assumptions(self):
        return ("scores", "relus", "only_relus")

    def parameters(self):
        return {"layer": self.layer}

    def probe(self, position, layers):
        return super().probe(position, layers), self.guided.probe(position, layers)

    def attribute(self, probe, inputs, seeds):
        of_maps, of_guided = probe
        explained, heatmaps = self._heatmaps(of_maps, inputs[0], seeds)
        # Rounding must not make the two passes explain different neurons.
        _, _, gradients = propagate(of_guided, inputs, [seed.fixed(explained) for seed in seeds])
        return explained, [[gradient * heatmap] for (gradient,), heatmap in zip(gradients, heatmaps, strict=True)]
