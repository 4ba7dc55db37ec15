"""Networks as records: the modules of a `Sequential`, and the layers of a Keras model that are one after the other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import layers, tree

from tf_lrp.graph.unroll import unroll
from tf_lrp.toolbox.module_classes import KerasLayer
from tf_lrp.toolbox.records import Record
from tf_lrp.toolbox.sequential import Sequential

_ACTIVATIONS = {"relu": "Rect", "tanh": "Tanh", "softmax": "SoftMax"}
#: Layers that change nothing when a network predicts.
_IDLE = (layers.Identity, layers.Dropout, layers.SpatialDropout2D, layers.GaussianNoise, layers.GaussianDropout)


def records(network: Sequential) -> list[Record]:
    """What a file says of a network.

    Raises:
        ValueError: for layers of Keras that the toolbox has no module for, and for branches.
    """
    if not any(isinstance(module, KerasLayer) for module in network.modules):
        return [module.record() for module in network.modules]
    chosen = {layer.name: (module.lrp_var, module.lrp_param) for module in network.modules for layer in module.layers}
    return _of_model(network.keras_model(), chosen)


def _of_model(model: keras.Model, chosen: Mapping[str, tuple]) -> list[Record]:
    """The modules that compute what a Keras model computes."""
    graph = unroll(model)
    previous, *others = tree.flatten(graph.inputs)
    found, factor = [], 1.0  # what the modules so far return, times the factor, is what the layers return
    for node in graph.nodes:
        if others or len(node.inputs) != 1 or node.inputs[0] is not previous:
            raise ValueError(
                f"The toolbox has no branches, and {node.name!r} does not only take what the layer before it returns."
            )
        own, factor = _of_layer(node.operation, node.name, factor)
        lrp_var, lrp_param = chosen.get(node.name, (None, None))
        found += [replace(record, lrp_var=lrp_var, lrp_param=lrp_param) for record in own]
        previous = node.output
    if factor != 1:
        raise ValueError(
            "The network ends in an average, and SumPool is another multiple of the sum: the toolbox cannot hold it."
        )
    if not found:
        raise ValueError("The model has no layer that the toolbox has a module for.")
    return found


def _of_layer(layer: Any, name: str, factor: float) -> tuple[list[Record], float]:
    """(modules, factor of their output) of a layer whose input is a multiple of what the modules before return."""
    if isinstance(layer, _IDLE):
        return [], factor
    if type(layer) is layers.Rescaling and np.ndim(layer.scale) == 0 and layer.scale > 0 and not np.any(layer.offset):
        product = factor * float(layer.scale)
        return [], 1.0 if math.isclose(product, 1, rel_tol=1e-12) else product
    if type(layer) in (layers.Dense, layers.Conv2D):
        return [_weighted(layer, name, factor), *_activation(layer.activation, name)], 1.0
    if type(layer) is layers.ReLU and not (layer.negative_slope or layer.threshold or layer.max_value):
        return [Record("Rect")], factor
    if type(layer) is layers.Flatten and layer.data_format == "channels_last":
        return [Record("Flatten")], factor
    if type(layer) is layers.MaxPooling2D and _is_plain(layer):
        return [Record("MaxPool", (*layer.pool_size, *layer.strides))], factor
    if type(layer) is layers.AveragePooling2D and _is_plain(layer):
        return [Record("SumPool", (*layer.pool_size, *layer.strides))], factor / math.sqrt(math.prod(layer.pool_size))
    activation = None
    if type(layer) is layers.Activation:
        activation = _activation(layer.activation, name)
    elif type(layer) is layers.Softmax and layer.axis == -1:
        activation = [Record("SoftMax")]
    if activation is None:
        raise ValueError(
            f"The toolbox has no module for the layer {name!r} ({type(layer).__name__}, as configured): write a .keras file."
        )
    if factor != 1 and [record.name for record in activation] not in ([], ["Rect"]):
        raise ValueError(
            f"{name!r} follows an average pooling, of which SumPool is another multiple: the toolbox cannot hold it."
        )
    return activation, factor


def _weighted(layer, name, factor):
    kernel = factor * keras.ops.convert_to_numpy(layer.kernel).astype(np.float64)
    bias = keras.ops.convert_to_numpy(layer.bias).astype(np.float64) if layer.use_bias else np.zeros(kernel.shape[-1])
    if isinstance(layer, layers.Dense):
        if len(layer.input.shape) != 2:
            raise ValueError(f"Linear takes (N, m), and {name!r} more axes: the toolbox cannot hold it.")
        return Record("Linear", kernel.shape, kernel, bias)
    if not (_is_plain(layer) and layer.groups == 1 and set(layer.dilation_rate) == {1}):
        raise ValueError(
            f"The toolbox's Convolution has no padding, groups or dilation, and channels come last; {name!r} is another one: "
            "write a .keras file."
        )
    return Record("Convolution", (*kernel.shape, *layer.strides), kernel, bias)


def _is_plain(layer):
    return layer.padding == "valid" and layer.data_format == "channels_last"


def _activation(activation, name):
    word = getattr(activation, "__name__", str(activation))
    if word == "linear":
        return []
    if word not in _ACTIVATIONS or activation is not getattr(keras.activations, word):
        raise ValueError(f"The toolbox has no module for the activation {word!r} of the layer {name!r}: write a .keras file.")
    return [Record(_ACTIVATIONS[word])]
