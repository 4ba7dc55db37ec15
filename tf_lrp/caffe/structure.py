"""A Caffe network as a list of layers: what Caffe makes of a prototxt before it computes anything."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tf_lrp.caffe.schema import message
from tf_lrp.errors import CaffeError

#: Names of types in the first generation that are not the later ones in capitals.
_RENAMED = {
    "BNLL": "BNLL", "HDF5_DATA": "HDF5Data", "HDF5_OUTPUT": "HDF5Output", "INNER_PRODUCT": "InnerProduct", "LRN": "LRN",
    "MVN": "MVN", "RELU": "ReLU", "SOFTMAX_LOSS": "SoftmaxWithLoss", "TANH": "TanH", "ABSVAL": "AbsVal", "ARGMAX": "ArgMax",
}  # fmt: skip

#: Types of layers that read images from elsewhere; their first top holds them, the second one labels.
DATA_TYPES = ("Data", "ImageData", "MemoryData", "HDF5Data", "WindowData", "DummyData", "Python")


@dataclass(frozen=True)
class CaffeLayer:
    """One layer of a network.

    Attributes:
        index: its position in the network of the LRP Toolbox's Caffe, where the layers that Caffe inserts to split blobs count,
            and `Input` layers do not; None for these.
        name, type: as in the file, the type as in the second generation ("Convolution").
        bottoms, tops: names of the blobs that it reads and writes.
        message: its LayerParameter; None for a Split that Caffe inserts.
        tensors: of the Keras model, one for each top.
        weighted: names of the Keras layers that hold its weights.
        channels: of the first blob that it reads.
    """

    index: int | None
    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    message: Any = None
    tensors: tuple = ()
    weighted: tuple[str, ...] = ()
    channels: int = 0

    def __str__(self):
        return f"{'-' if self.index is None else self.index} {self.type} {self.name}"


@dataclass(frozen=True)
class Network:
    """A network as Caffe sees it.

    Attributes:
        name: of the network.
        inputs: blobs that come from outside: name -> shape with the batch axis, () where the file does not say.
        layers: in the order in which they run.
    """

    name: str
    inputs: dict[str, tuple[int, ...]]
    layers: tuple[CaffeLayer, ...] = field(repr=False)

    def __str__(self):
        return "\n".join(map(str, self.layers))


def network_of(net: Any, stages: Sequence[str] = (), level: int = 0) -> Network:
    """The layers of a NetParameter that take part in testing, in order, with the splits that Caffe inserts.

    Args:
        net: what `tf_lrp.caffe.reading.read_prototxt` returns.
        stages, level: Caffe's network state, which `include` and `exclude` ask for, besides that of the file.

    Raises:
        CaffeError: if a blob is read that nothing writes, or the shape of an input is missing.
    """
    state = message("NetState")(phase=1, level=level or net.state.level, stage=[*net.state.stage, *stages])
    layers = [_second_generation(layer) for layer in net.layers] or list(net.layer)
    layers = [layer for layer in layers if _takes_part(layer, state)]
    inputs = _inputs(net)
    splits, index, found = _splits(layers, inputs), itertools.count(), []

    def split(position, layer_name, blobs):
        for at, blob in enumerate(blobs):
            if (position, at) in splits:
                found.append(CaffeLayer(next(index), f"{blob}_{layer_name}_{at}_split", "Split", (blob,), (blob,)))

    split(-1, "input", inputs)
    for position, layer in enumerate(layers):
        counted = None if layer.type == "Input" else next(index)
        found.append(CaffeLayer(counted, layer.name, layer.type, tuple(layer.bottom), tuple(layer.top), layer))
        if layer.type == "Input":
            shapes = [tuple(s.dim) for s in layer.input_param.shape]
            inputs |= _shapes_of(layer.top, shapes, f"The Input layer {layer.name!r}")
        elif layer.type in DATA_TYPES and layer.top and not layer.bottom:
            inputs[layer.top[0]] = ()
        split(position, layer.name, layer.top)
    return Network(net.name or "caffe", inputs, tuple(found))


def _second_generation(old):
    """A V1LayerParameter as a LayerParameter."""
    name = old.DESCRIPTOR.fields_by_name["type"].enum_type.values_by_number[old.type].name
    camel = _RENAMED.get(name) or "".join(word.capitalize() for word in name.split("_"))
    new = message("LayerParameter")(name=old.name, type=camel, bottom=old.bottom, top=old.top, loss_weight=old.loss_weight)
    new.include.MergeFrom(old.include)
    new.exclude.MergeFrom(old.exclude)
    for described, value in old.ListFields():
        if described.name.endswith("_param"):
            getattr(new, described.name).CopyFrom(value)
    return new


def _takes_part(layer, state):
    if len(layer.include) and len(layer.exclude):
        raise CaffeError(f"The layer {layer.name!r} has both include and exclude rules; Caffe allows one kind only.")
    if len(layer.include):
        return any(_meets(state, rule) for rule in layer.include)
    return not any(_meets(state, rule) for rule in layer.exclude)


def _meets(state, rule):
    return (
        (not rule.HasField("phase") or rule.phase == state.phase)
        and (not rule.HasField("min_level") or state.level >= rule.min_level)
        and (not rule.HasField("max_level") or state.level <= rule.max_level)
        and set(rule.stage) <= set(state.stage)
        and set(rule.not_stage).isdisjoint(state.stage)
    )


def _inputs(net):
    names = list(net.input)
    if len(net.input_shape) and len(net.input_dim):
        raise CaffeError("The network has both input_shape and input_dim: it must have one of them.")
    if len(net.input_shape):
        shapes = [tuple(s.dim) for s in net.input_shape]
    elif len(net.input_dim) % 4:
        raise CaffeError(f"The network has {len(net.input_dim)} input_dim lines: each input needs four of them.")
    else:
        shapes = [tuple(net.input_dim[n : n + 4]) for n in range(0, len(net.input_dim), 4)]
    if len(set(names)) < len(names):
        raise CaffeError(f"The network has several inputs of one name: {', '.join(names)}.")
    return _shapes_of(names, shapes, "The network")


def _shapes_of(names, shapes, what):
    """Input -> shape; one shape may stand for all."""
    if len(shapes) == 1:
        shapes = shapes * len(names)
    if len(shapes) != len(names):
        raise CaffeError(f"{what} has {len(names)} input(s), and the shapes of {len(shapes)}.")
    return dict(zip(names, shapes, strict=True))


def _splits(layers, inputs):
    """The tops that several layers read: positions (layer, top), where the layer -1 stands for the network's inputs."""
    writer = {name: (-1, n) for n, name in enumerate(inputs)}
    readers = Counter()
    for position, layer in enumerate(layers):
        for bottom in layer.bottom:
            if bottom not in writer:
                raise CaffeError(f"The layer {layer.name!r} reads the blob {bottom!r}, which no layer before it writes.")
            readers[writer[bottom]] += 1
        for at, top in enumerate(layer.top):
            if top in writer and top not in layer.bottom:
                raise CaffeError(f"The layer {layer.name!r} writes the blob {top!r}, which another layer has written already.")
            writer[top] = position, at
            readers[position, at] += bool(at < len(layer.loss_weight) and layer.loss_weight[at])
    return {top for top, count in readers.items() if count > 1}
