"""`analyzer`: explains a Caffe network as the LRP Toolbox's Caffe program does."""

from __future__ import annotations

import math
import numbers
from typing import Any

import keras
import tensorflow as tf

from tf_lrp import select
from tf_lrp.analyzer import Analyzer
from tf_lrp.caffe.formulas import formula
from tf_lrp.caffe.loading import network
from tf_lrp.caffe.quirks import FirstGroupsBias, FlatPerPosition
from tf_lrp.caffe.structure import CaffeLayer, Network
from tf_lrp.explain.explainer import Explainer
from tf_lrp.keras_compat.own_layers import LocalResponseNormalization
from tf_lrp.messages.checks import is_integer
from tf_lrp.methods import DeconvNet, Gradient, GuidedBackprop
from tf_lrp.presets import Preset
from tf_lrp.rules import AlphaBeta, Epsilon, Flat, Renormalization, Rule, WSquare, ZRule
from tf_lrp.twins import AffineTwin, twin_class_of

#: Types of layers with weights that have a rule in the toolbox, and where their input channels are counted.
_CONVOLUTIONS = ("Convolution", "Deconvolution")


def analyzer(
    model: keras.Model,
    type: int = 100,
    *,
    epsilon: float = 1.0,
    beta: float = 1.0,
    max_layer: int = 0,
    last_layer: int | None = None,
    faithful: bool = False,
    **options: Any,
) -> Explainer:
    """An analyzer of a Caffe network by a formula type of the LRP Toolbox (`relpropformulatype`).

    ======  =========================================================================================
    0       epsilon; 2: alpha-beta; 100: epsilon at inner products, alpha-beta at convolutions
    54, 56  epsilon, below it flat, or w^2
    58, 60  alpha-beta, below it flat, or w^2
    102     100, below it flat; 104: 100, below it w^2; 114: epsilon, below it alpha-beta
    11      the derivative times the score; 99: its norm over the channels, in each channel
    26      deconvolution; 166: guided backpropagation, both begin with the score
    ======  =========================================================================================

    Max-pooling: the winner takes all. Average pooling and sums share by contribution. Local response normalization has the
    rule `tf_lrp.rules.Renormalization`. The pass begins with the value of the explained entry.

    Args:
        model: what `tf_lrp.caffe.load` returned.
        type: the formula type.
        epsilon: float >= 0, `epsstab`.
        beta: float >= 0, `alphabeta_beta`; alpha is 1 + beta.
        max_layer: the last position that has the rule "below" (`auxiliaryvariable_maxlayerindexforflatdistinconv`), counted as
            `tf_lrp.caffe.network` lists layers.
        last_layer: position of the layer whose output is explained (`lastlayerindex`); -1: the layer before the first Softmax;
            -2: the last InnerProduct; None: -2, or -1 in networks without one, or the only output in networks without either.
        faithful: whether relevance is computed bit for bit as the toolbox does, quirks included (docs/caffe.md): the flat rule
            per channel, the first group's biases in grouped convolutions under alpha-beta, and local response normalization
            without the division.
        **options: ``batch_size``, ``verbose``, ``jit_compile``, ``trace``, as for `tf_lrp.Analyzer`.

    Returns:
        `Explainer`; ``analyze(images, classes)`` returns relevance in the shape of the images, (N, H, W, C).

    Raises:
        ValueError: for a type, parameter or position that there is not, or a model that `load` has not returned.
    """
    chosen, found = formula(type), network(model)
    for name, value in (("epsilon", epsilon), ("beta", beta)):
        if not isinstance(value, numbers.Real) or isinstance(value, bool) or not 0 <= value < math.inf:
            raise ValueError(f"{name} needs to be a finite number >= 0, got {value!r}.")
    if not is_integer(max_layer) or (chosen.lower and max_layer < 0):
        raise ValueError(f"max_layer needs to be a position >= 0 for the formula type {type}, got {max_layer!r}.")
    explained = _up_to(model, found, last_layer)
    if chosen.method:
        return _METHODS[type](explained, faithful=bool(faithful), **options)
    rules = [
        (select.name(name), _rule(layer, chosen, epsilon, beta, max_layer, faithful))
        for layer in found.layers
        if layer.type in (*_CONVOLUTIONS, "InnerProduct")
        for name in layer.weighted
    ]
    normalizations = [
        (select.name(layer.name), Renormalization(divided=not faithful))
        for layer in explained.layers
        if isinstance(layer, LocalResponseNormalization)
    ]
    others = [(select.kind("average_pooling", "merge") & ~select.kind("maximum", "minimum"), ZRule())]
    preset = Preset((*rules, *normalizations, *others, (select.all(), Epsilon(float(epsilon)))), f"caffe {type}")
    return Analyzer(explained, preset, **options)


def start(found: Network, last_layer: int | None) -> CaffeLayer | None:
    """The layer whose output is explained; None for the network's only output. See `analyzer`.

    Raises:
        ValueError: if there is none.
    """
    products = [layer for layer in found.layers if layer.type == "InnerProduct"]
    softmax = next((n for n, layer in enumerate(found.layers) if layer.type == "Softmax"), 0)
    if last_layer is None and (products or softmax):
        last_layer = -2 if products else -1
    if last_layer is None:
        return None
    if last_layer == -2 and products:
        return products[-1]
    if last_layer == -1 and softmax:
        return found.layers[softmax - 1]
    at = next((layer for layer in found.layers if layer.index is not None and layer.index == last_layer), None)
    if at is None:
        what = {-1: "a Softmax with a layer before it", -2: "an InnerProduct"}.get(last_layer, f"a layer {last_layer!r}")
        raise ValueError(f"The network {found.name!r} has no position {last_layer!r}: it lacks {what}. Its layers:\n{found}")
    return at


def _up_to(model, found, last_layer):
    """The model that returns what is explained, (N, classes) where that is a number for each class."""
    layer = start(found, last_layer)
    if layer is None:
        if len(model.outputs) > 1:
            raise ValueError(
                f"The network {found.name!r} has {len(model.outputs)} outputs, and neither an InnerProduct nor a Softmax: say "
                f"which layer is explained, last_layer=position. Its layers:\n{found}"
            )
        tensors = model.outputs
    else:
        tensors = layer.tensors
    if len(tensors) != 1 or any(tensors[0] is x for x in model.inputs):
        raise ValueError(f"The layer {layer} has no single output that could be explained.")
    output = tensors[0]
    if len(output.shape) > 2 and all(length == 1 for length in output.shape[1:-1]):
        output = keras.layers.Flatten()(output)
    return keras.Model(model.inputs if len(model.inputs) > 1 else model.inputs[0], output, name=model.name)


def _rule(layer, chosen, epsilon, beta, max_layer, faithful) -> Rule:
    is_conv = layer.type in _CONVOLUTIONS
    name = chosen.lower if chosen.lower and layer.index <= max_layer else chosen.conv if is_conv else chosen.dense
    groups = layer.message.convolution_param.group if is_conv else 1
    if name == "epsilon":
        return Epsilon(float(epsilon))
    if name == "w^2":
        return WSquare()
    if name == "flat":
        return FlatPerPosition(channels=layer.channels // groups) if faithful and is_conv else Flat()
    alpha_beta = {"alpha": 1.0 + beta, "beta": float(beta), "stabilizer": 0.0}
    return FirstGroupsBias(groups=groups, **alpha_beta) if faithful and groups > 1 else AlphaBeta(**alpha_beta)


class _Toolbox:
    """A method that begins with the score's value, and knows the toolbox's rules of layers that have no derivative in it.

    Args:
        model, **options: as for the method.
        faithful: as for `analyzer`.
    """

    seed_with_one = False

    def __init__(self, model, faithful, **options):
        self.faithful = faithful
        super().__init__(model, **options)

    def assumptions(self):
        return ()

    def parameters(self):
        return {"faithful": self.faithful}


class _Sensitivity(_Toolbox, Gradient):
    """Formula type 11: R = f df/dx."""


class _Norm(_Sensitivity):
    """Formula type 99: the Euclidean norm of type 11 over the channels, in each channel."""

    def attribute(self, probe, inputs, seeds):
        explained, maps = super().attribute(probe, inputs, seeds)
        return explained, [[tf.broadcast_to(tf.norm(r, axis=-1, keepdims=True), tf.shape(r)) for r in each] for each in maps]


class _SharingByContribution(_Toolbox):
    """Average pooling and local response normalization share by their rules, not by derivatives."""

    def twin_of(self, node, **arguments):
        options = {name: arguments[name] for name in ("name", "dtype", "arguments")}
        if isinstance(node.operation, LocalResponseNormalization):
            twin = twin_class_of(node.operation)
            return twin(node.operation, Renormalization(divided=not self.faithful), **options)
        if node.affine is not None and "average_pooling" in node.affine.kinds:
            return AffineTwin(node.operation, ZRule(), affine=node.affine, **options)
        return super().twin_of(node, **arguments)


class _Deconvolution(_SharingByContribution, DeconvNet):
    """Formula type 26."""


class _GuidedBackpropagation(_SharingByContribution, GuidedBackprop):
    """Formula type 166."""


_METHODS = {11: _Sensitivity, 26: _Deconvolution, 99: _Norm, 166: _GuidedBackpropagation}
