"""Every use of TensorFlow's private API: the registry in which ``tf.custom_gradient`` enters its gradients."""

from __future__ import annotations

import weakref

import tensorflow as tf
from tensorflow.python.framework.ops import gradient_registry

#: The key under which an entry of the registry holds its function.
_FUNCTION = "type"


@tf.autograph.experimental.do_not_convert  # plain Python, whichever function is being traced
def release_with_graph(output):
    """Lets a custom gradient live as long as the graph that uses it.

    In a graph ``tf.custom_gradient`` enters each gradient in a registry that is never emptied. The gradient holds tensors, so
    every graph that was ever traced would stay in memory. Here the graph holds the gradient, the registry a weak reference to
    the graph, and the entry goes when the graph does.

    Args:
        output: tensor that a function decorated with ``tf.custom_gradient`` has just returned in a graph.
    """
    graph, name = output.graph, output.op.get_attr("_gradient_op_type").decode()
    if not hasattr(graph, "_relevance_gradients"):
        graph._relevance_gradients = {}
    entry = gradient_registry._registry[name]
    graph._relevance_gradients[name] = entry[_FUNCTION]
    graph_of = weakref.ref(graph)

    def gradient(op, *relevance):
        graph = graph_of()
        if graph is None:
            raise RuntimeError(f"The graph in which the gradient {name!r} was defined no longer exists: trace it again.")
        return graph._relevance_gradients[name](op, *relevance)

    entry[_FUNCTION] = gradient
    weakref.finalize(graph, gradient_registry._registry.pop, name, None).atexit = False
