"""`load`: a Keras model from Caffe's two files."""

from __future__ import annotations

import os
import warnings
import weakref
from collections.abc import Sequence
from dataclasses import replace

import keras

from tf_lrp.caffe import layers
from tf_lrp.caffe.blobs import Blob, Step, checked, keras_name
from tf_lrp.caffe.reading import read_prototxt, read_weights
from tf_lrp.caffe.structure import DATA_TYPES, Network, network_of
from tf_lrp.errors import CaffeError, UnsupportedLayerError

#: Layers that compute no scores: they are left out, and so are unknown ones whose results nothing reads.
_LEFT_OUT = ("Accuracy", "ArgMax", "HDF5Output", "Silence")

#: Model -> its `Network`. (A model that Keras saves and reads again is not here: Keras keeps no notes of others.)
_NETWORKS: weakref.WeakKeyDictionary[keras.Model, Network] = weakref.WeakKeyDictionary()


def load(
    prototxt: str | os.PathLike,
    caffemodel: str | os.PathLike,
    *,
    input_shape: Sequence[int] | None = None,
    stages: Sequence[str] = (),
    level: int = 0,
) -> keras.Model:
    """A Keras model that computes what a Caffe network computes in its test phase.

    Images are (N, H, W, C), with the channels in the network's own order (B, G, R in most of Caffe's networks) and prepared as
    the network was trained: neither the mean nor a scale is part of the files. A layer of the model is called as in Caffe, with
    "." in place of "/"; weights are those of the caffemodel's layers of the same name.

    Args:
        prototxt: path of the network, of either generation. Losses and accuracies in it are left out.
        caffemodel: path of the weights, of either generation.
        input_shape: (C, H, W) of the images, in place of what the prototxt says, or where it reads images from a database.
        stages, level: Caffe's network state, besides the phase TEST, which `include` and `exclude` ask for.

    Returns:
        `keras.Model` in Keras's default type. If the network has several outputs, they are a list in Caffe's order, which is
        alphabetical by the names of blobs. `tf_lrp.caffe.network` lists its layers as Caffe counts them.

    Raises:
        CaffeError: if a file is damaged, or they do not fit each other: a layer without weights, weights of another shape.
        UnsupportedLayerError: for a layer of a type that has no counterpart.
        OSError: if a file cannot be read.
    """
    described = network_of(read_prototxt(prototxt), stages, level)
    weights = read_weights(caffemodel)
    model, found = _build(described, weights, input_shape)
    _NETWORKS[model] = found
    return model


def network(model: keras.Model) -> Network:
    """The Caffe network that a model was loaded from: its layers with their positions, as the LRP Toolbox counts them.

    Raises:
        ValueError: if `load` has not made this model in this process.
    """
    try:
        return _NETWORKS[model]
    except (KeyError, TypeError):
        raise ValueError(
            "The positions of a Caffe network's layers are known for models that tf_lrp.caffe.load has returned, and not for "
            "their copies; load the network again."
        ) from None


def _build(described, weights, input_shape):
    names = set()
    blobs, inputs = _inputs(described, input_shape, names)
    left_out, read, done = {}, set(), []
    for layer in described.layers:
        if layer.message is None or layer.type == "Input" or (layer.type in DATA_TYPES and not layer.bottoms):
            tensors = tuple(blobs[name].tensor for name in layer.tops if name in blobs)
            done.append(replace(layer, tensors=tensors))
            continue
        missing = [name for name in layer.bottoms if name not in blobs]
        convert = layers.TABLE.get(layer.type)
        if convert is None or (layer.type in _LEFT_OUT or layer.type.endswith("Loss")):
            left_out |= dict.fromkeys(layer.tops, layer)
            for top in layer.tops:
                blobs.pop(top, None)
            read.update(layer.bottoms if layer.type == "Silence" else ())
            done.append(layer)
            continue
        if missing:
            raise _unreadable(layer, missing[0], left_out)
        step = Step(layer, [blobs[name] for name in layer.bottoms], weights.get(layer.name, []), names)
        results = _converted(convert, step, weights)
        read.update(layer.bottoms)
        read.difference_update(layer.tops)
        blobs |= dict(zip(layer.tops, results, strict=True))
        made = {"tensors": tuple(b.tensor for b in results), "weighted": tuple(step.weighted)}
        done.append(replace(layer, channels=step.bottoms[0].shape[0], **made))
    outputs = [blobs[name].tensor for name in sorted(set(blobs) - read) if all(blobs[name].tensor is not x for x in inputs)]
    _warn_of_left_out(left_out)
    if not outputs:
        raise CaffeError("The network computes nothing that could be explained: no layer of it has an output.")
    model = keras.Model(
        inputs if len(inputs) > 1 else inputs[0], outputs if len(outputs) > 1 else outputs[0], name=keras_name(described.name)
    )
    return model, replace(described, layers=tuple(done))


def _inputs(described, input_shape, names):
    blobs = {}
    for name, with_batch in described.inputs.items():
        shape = tuple(with_batch[1:]) if input_shape is None else tuple(input_shape)
        if not shape:
            raise CaffeError(
                f"The size of the input {name!r} is not in the prototxt, which reads it from elsewhere: give it as "
                "input_shape=(C, H, W), or use the network's deploy.prototxt."
            )
        try:
            checked(Blob(None, shape))
        except CaffeError as error:
            raise CaffeError(f"The input {name!r}: {error}.") from None
        axes = (*shape[1:], shape[0]) if len(shape) == 3 else shape
        names.add(keras_name(name))
        blobs[name] = Blob(keras.Input(axes, name=keras_name(name)), shape)
    if not blobs:
        raise CaffeError("The network has no input: neither `input` nor a layer that images come from.")
    return blobs, [b.tensor for b in blobs.values()]


def _converted(convert, step, weights):
    layer = step.layer
    try:
        results = convert(step)
        results = [results] if isinstance(results, Blob) else list(results)
        if len(results) != len(layer.tops):
            raise CaffeError(f"it has {len(layer.tops)} tops, and {len(results)} results")
        return [checked(b) for b in results]
    except CaffeError as error:
        hint = ""
        if "the caffemodel has" in str(error):
            known = ", ".join(list(weights)[:8]) + (", ..." if len(weights) > 8 else "")
            hint = f" (The caffemodel has weights for {known}. Do both files belong to one network?)"
        raise CaffeError(f"The layer {layer.name!r} ({layer.type}) cannot be read: {error}.{hint}") from None


def _unreadable(layer, blob, left_out):
    source = left_out.get(blob)
    if source is None:
        return CaffeError(f"The layer {layer.name!r} ({layer.type}) reads the blob {blob!r}, which holds labels.")
    return UnsupportedLayerError(
        f"The layer {source.name!r} is of the type {source.type!r}, which has no counterpart, and {layer.name!r} reads what it "
        f"computes. Supported are {', '.join(sorted(layers.TABLE))}. Cut the network before it, or build that part in Keras."
    )


def _warn_of_left_out(left_out):
    for layer in {id(layer): layer for layer in left_out.values()}.values():
        if layer.type not in _LEFT_OUT and not layer.type.endswith("Loss"):
            warnings.warn(
                f"The layer {layer.name!r} of the type {layer.type!r} has no counterpart and is left out: nothing reads it.",
                stacklevel=4,
            )
