"""Every use of TensorFlow's private API: gradient tapes, the registry of custom gradients, the definitions of operations."""

from __future__ import annotations

import weakref

import tensorflow as tf
from tensorflow.python.eager import record
from tensorflow.python.framework import op_def_registry
from tensorflow.python.framework.ops import gradient_registry

#: The key under which an entry of the registry holds its function.
_FUNCTION = "type"


def record_gradient(outputs, inputs, gradient):
    """Tells the gradient tapes that listen how ``outputs`` were computed. For eager tensors.

    ``tf.custom_gradient`` does the same and takes longer than many kernels.

    Args:
        outputs: list of new tensors, which no tape has seen the computation of.
        inputs: list of tensors.
        gradient: gradients of the outputs (one argument for each) -> list of those of the inputs.
    """
    record.record_operation("Relevance", outputs, inputs, gradient)


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


def op_definition(name):
    """The definition of an operation of TensorFlow, with the names of its inputs, outputs and attributes (an ``OpDef``).

    Raises:
        KeyError: if there is no such operation.
    """
    definition = op_def_registry.get(name)
    if definition is None:
        raise KeyError(name)
    return definition
