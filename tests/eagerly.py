"""Tests of numbers run TensorFlow's functions uncompiled: to trace a graph takes seconds, to run a small one milliseconds.

``pytest.mark.eager`` does this for a test or, as ``pytestmark``, for a module; ``pytest.mark.compiled`` takes one test out
of such a module. What depends on graphs stays compiled: unknown shapes, loops, exports, XLA, how often a graph is traced.
"""

import contextlib

import tensorflow as tf


@contextlib.contextmanager
def eagerly(on=True):
    """Every ``tf.function``, those of analyzers included, runs its Python code; with ``on=False`` its graph again."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(on)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)
