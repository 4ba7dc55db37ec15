"""A graph as a keras.Model again, with a layer of one's choice in the place of each node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from keras import tree

from tf_lrp.graph.nodes import model_of


@dataclass(frozen=True, eq=False)
class Built:
    """What became of a graph.

    Attributes:
        model: the keras.Model.
        layers: the layer in the place of each node.
        taken, returned: for each node the tensors of the model that its layer takes, and those that it returns.
        results: layer name -> the model's tensors for what this layer returns, one for each use.
    """

    model: keras.Model
    layers: tuple
    taken: tuple
    returned: tuple
    results: dict[str, list]


def working_type(graph):
    """float64 if anything in the graph is, else float32.

    One type for all: Keras gives inputs and the results of some functions the default type, not that of the layers.
    """
    tensors = [*tree.flatten(graph.inputs), *(t for n in graph.nodes for t in n.outputs)]
    return "float64" if any(t.dtype == "float64" for t in tensors) else "float32"


def build(graph, layer_at, dtype, name) -> Built:
    """Replays a graph.

    Args:
        graph: `Graph`.
        layer_at: node position -> the layer that is called on the node's inputs, in their order.
        dtype: type of the inputs. (A token or an integer picture is explained by real numbers.)
        name: of the model.
    """

    def input_like(tensor):
        return keras.Input(batch_shape=tensor.shape, dtype=dtype, name=tensor.name)

    inputs = tree.map_structure(input_like, graph.inputs)
    tensors: dict[int, Any] = {id(old): new for old, new in zip(tree.flatten(graph.inputs), tree.flatten(inputs), strict=True)}

    def current(structure):
        return tree.map_structure(lambda t: tensors.get(id(t), t), structure)

    layers, taken, returned = [], [], []
    for position, node in enumerate(graph.nodes):
        layers.append(layer_at(position))
        taken.append(tuple(current(node.inputs)))
        returned.append(tuple(tree.flatten(layers[-1](*taken[-1]))))
        tensors.update((id(old), new) for old, new in zip(node.outputs, returned[-1], strict=True))
    model = model_of(inputs, current(graph.outputs), name)
    kept = {layer: found for layer, found in current(graph.results).items() if all(hasattr(t, "_keras_history") for t in found)}
    return Built(model, tuple(layers), tuple(taken), tuple(returned), kept)
