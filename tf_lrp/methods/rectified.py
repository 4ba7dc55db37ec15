"""Backward passes that let only positive signals through ReLUs."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tf_lrp.methods.base import Method
from tf_lrp.operations.activation_table import activation_name
from tf_lrp.twins import GradientTwin, with_relevance


class _DeconvolvedTwin(GradientTwin):
    """y = relu(x) forward, max(R, 0) backward."""

    def call(self, *inputs):
        (x,) = inputs
        return with_relevance(self.run(inputs), [x], lambda relevance: [tf.nn.relu(relevance)])


class _GuidedTwin(GradientTwin):
    """y = relu(x) forward, relu'(x) max(R, 0) backward."""

    def call(self, *inputs):
        (x,) = inputs

        def backward(relevance):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(x)
                y: Any = self.run([x])
            seed: Any = tf.nn.relu(relevance)
            return [tape.gradient(y, x, seed)]

        return with_relevance(self.run(inputs), [x], backward)


class _Rectified(Method):
    #: The twin in the place of each ReLU.
    _at_relus: type[GradientTwin]

    def twin_of(self, node, **arguments):
        rectified = activation_name(node.operation) in ("relu", "relu6")
        return (self._at_relus if rectified else GradientTwin)(**arguments)

    def assumptions(self):
        return ("scores", "derivatives", "relus", "only_relus")


class DeconvNet(_Rectified):
    """The gradient with R -> max(R, 0) at each ReLU, whatever passed it forward; it begins with the score's value.

    Sums to nothing in particular; what it shows hardly depends on the explained class.

    Args:
        model, **options: see `Method`.

    Source: Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks".
    """

    _at_relus = _DeconvolvedTwin


class GuidedBackprop(_Rectified):
    """The gradient with R -> 1[x > 0] max(R, 0) at each ReLU; it begins with the score's value.

    Sums to nothing in particular; what it shows hardly depends on the explained class.

    Args:
        model, **options: see `Method`.

    Source: Springenberg et al. 2015, "Striving for simplicity: the all convolutional net".
    """

    _at_relus = _GuidedTwin
