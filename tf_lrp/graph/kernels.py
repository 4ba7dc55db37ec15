"""Warnings about operations for which TensorFlow has no kernel on this machine, before they are run."""

from __future__ import annotations

import functools
import warnings

import tensorflow as tf
from keras import layers, ops

_FORWARD = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
_TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)


def warn_of_missing_kernels(graph, jit_compile):
    """Warns of convolutions with channels first where TensorFlow has no kernel for them: on a CPU without oneDNN.

    Args:
        graph: `Graph`.
        jit_compile: the explainer's argument; XLA has kernels of its own.
    """
    convolutions = [
        node
        for node in graph.nodes
        if isinstance(node.operation, _FORWARD + _TRANSPOSED) and node.operation.data_format == "channels_first"
    ]
    if jit_compile is True or not convolutions:
        return
    missing = [n.name for n in convolutions if not _runs(n.operation.rank, isinstance(n.operation, _TRANSPOSED))]
    if missing:
        shown = ", ".join(map(repr, missing[:3])) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        warnings.warn(
            f"The convolution of {shown} takes its channels first, for which TensorFlow has no kernel on this CPU: neither the "
            "model nor its explanation runs here as it is. Set the environment variable TF_ENABLE_ONEDNN_OPTS=1 before "
            "TensorFlow is imported, run it on a GPU, compile it (jit_compile=True), or build the model with channels last.",
            stacklevel=4,
        )


@functools.cache
def _runs(rank, transposed):
    """Whether a convolution of this rank runs with channels first on the device that TensorFlow chooses."""
    x, kernel = tf.zeros((1, 2, *[3] * rank)), tf.zeros((*[2] * rank, 2, 2))
    convolve = ops.conv_transpose if transposed else ops.conv
    try:
        with tf.init_scope():  # also while a graph is traced
            convolve(x, kernel, 1, data_format="channels_first")
    except (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError):
        return False
    return True
