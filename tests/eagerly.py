"""Tests of numbers run TensorFlow's functions uncompiled: to trace a graph takes seconds, to run a small one milliseconds.

``pytest.mark.eager`` does this for a test or, as ``pytestmark``, for a module. What depends on graphs is marked ``compiled``
(unknown shapes, loops, exports, XLA, how often a graph is traced): there, explainers trace their first pass already. Tests
without a mark run as users run them.
"""

import contextlib

import tensorflow as tf

from tf_lrp.explain import explainer


@contextlib.contextmanager
def eagerly(on=True):
    """Every ``tf.function``, those of analyzers included, runs its Python code; with ``on=False`` its graph again."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(on)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


@contextlib.contextmanager
def traced_at_once():
    """Explainers trace a graph for their first pass, unless they are told otherwise."""
    before = explainer.EAGER_PASSES
    explainer.EAGER_PASSES = 0
    try:
        yield
    finally:
        explainer.EAGER_PASSES = before
