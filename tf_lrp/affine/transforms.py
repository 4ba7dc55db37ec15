"""Linear functions whose weights are fixed and lie inside an operation: Fourier transforms, sums over segments, warped images.

They can be applied, but their weights are not available one by one. So relevance is shared by contribution only.
"""

from __future__ import annotations

import inspect

import keras
import tensorflow as tf
from keras import tree

from tf_lrp.affine.base import Affine, affine_for
from tf_lrp.affine.contraction import WeightedMatmul
from tf_lrp.affine.elementwise import BatchNormalization
from tf_lrp.keras_compat import keras_classes, lengths
from tf_lrp.keras_compat.own_operations import ComplexPart
from tf_lrp.rules import Rule, ZRule, identity

#: Operation class -> the argument (or arguments) of its ``call`` in which it is linear.
_LINEAR_IN = {
    operation_class: argument
    for argument, names in {
        "x": ("IRFFT", "ISTFT", "Fold", "ExtractSequences"),
        "data": ("SegmentSum",),
        "values": ("Scatter",),
        "images": (
            "RGBToGrayscale", "GaussianBlur", "ScaleAndTranslate", "SobelEdges",
        ),
        "inputs": ("MapCoordinates",),
        "b": ("Solve", "SolveTriangular", "Lstsq"),
    }.items()
    for operation_class in keras_classes.operation_classes(*names)
}  # fmt: skip


class Transform(Affine):
    """z = kernel f(x) + f(0), where f is affine; the kernel is the number 1."""

    kinds = frozenset({"transform"})
    default_rule = ZRule()

    @classmethod
    def describes(cls, operation, call):
        linear = cls.linear_arguments(operation, call)
        others = [t for t in call.inputs if not any(t is x for x in linear)]
        # Integer inputs, such as indices of segments, are allowed. A second float input would make it a product.
        return bool(linear) and not any("float" in t.dtype for t in others)

    @classmethod
    def linear_arguments(cls, operation, call):
        """The KerasTensors in which the operation is linear."""
        given = inspect.signature(operation.call).bind(*call.args, **call.kwargs).arguments
        arguments = tree.flatten(given[_LINEAR_IN[type(operation)]])
        return [t for t in arguments if isinstance(t, keras.KerasTensor)]

    def __init__(self, operation, call=None):
        super().__init__(operation)
        self.call = call
        linear = self.linear_arguments(operation, call)
        self.types = [None if any(t is x for x in linear) else t.dtype for t in call.inputs]

    def check(self, rule):
        by_contribution = type(rule).terms is Rule.terms or all(
            term.parts == ((identity, identity),) and not term.bias_factor for term in rule.terms(nonnegative=False)
        )
        if not by_contribution:
            raise ValueError(
                "it is a linear function whose weights are not available one by one, so that it takes ZRule, Epsilon "
                f"(with bias_factor=0), Stop, or Pass where one input has the shape of the output; got {rule}"
            )

    def kernel(self, dtype):
        return tf.ones((), dtype)

    def bias(self, inputs, kernel):
        return self._run([tf.zeros_like(x) for x in inputs], inputs) if self._has_offset() else None

    def apply(self, inputs, kernel):
        z = self._run(inputs, inputs)
        if self._has_offset():
            z -= self._run([tf.zeros_like(x) for x in inputs], inputs)
        return kernel * z

    def _has_offset(self):
        """Whether pixels outside the image have a value other than 0."""
        return getattr(self.layer, "fill_mode", "constant") == "constant" and bool(getattr(self.layer, "fill_value", 0))

    def _run(self, values, inputs):
        """f, with ``values`` instead of the inputs in which it is linear."""
        leaves = iter(
            x if dtype is None else tf.cast(given, dtype) for x, given, dtype in zip(values, inputs, self.types, strict=True)
        )
        args, kwargs = tree.map_structure(
            lambda leaf: next(leaves) if isinstance(leaf, keras.KerasTensor) else leaf, (self.call.args, self.call.kwargs)
        )
        return tf.cast(self.layer.call(*args, **kwargs), values[0].dtype)


affine_for(*_LINEAR_IN)(Transform)


@affine_for(ComplexPart)
class FourierPart(Transform):
    """The real or the imaginary part of a Fourier transform, linear in the real and the imaginary part of its argument."""

    @classmethod
    def linear_arguments(cls, operation, call):
        return call.inputs


@affine_for(lengths.SizedSum)
class SumToSize(Transform):
    """A sum over segments, or scattered values, whose length becomes known when the graph runs."""

    @classmethod
    def linear_arguments(cls, operation, call):
        names = list(inspect.signature(operation.function).parameters)
        operand = names[operation.operand]
        given = dict(zip(names, call.args, strict=False)) | call.kwargs
        return [given[operand]] if isinstance(given[operand], keras.KerasTensor) else []


@affine_for(*keras_classes.operation_classes("ScatterUpdate"))
class ScatterAdd(Transform):
    """Values added to entries of a tensor, by keras.ops.scatter_update(reduction="add")."""

    @classmethod
    def describes(cls, operation, call):
        return operation.reduction == "add" and super().describes(operation, call)

    @classmethod
    def linear_arguments(cls, operation, call):
        given = inspect.signature(operation.call).bind(*call.args, **call.kwargs).arguments
        return [t for t in (given["inputs"], given["updates"]) if isinstance(t, keras.KerasTensor)]


@affine_for(*keras_classes.operation_classes("Vdot", "Correlate"))
class ProductFunction(WeightedMatmul):
    """Products with an array of weights that are linear in both."""


@affine_for(*keras_classes.operation_classes("Cross"))
class CrossFunction(WeightedMatmul):
    """x_1 y_2 - x_2 y_1, for each pair of axes."""

    keeps_nonnegative = False


@affine_for(*keras_classes.operation_classes("BatchNorm"))
class BatchNormalizationFunction(BatchNormalization):
    """keras.ops.batch_normalization, whose statistics are arguments."""

    @classmethod
    def describes(cls, operation, call):
        return len(call.inputs) == 1  # with statistics of the batch it is opened

    def __init__(self, operation, call=None):
        super().__init__(operation, call)
        self.operation = operation
        self.layer = _Statistics(operation, inspect.signature(operation.call).bind(*call.args, **call.kwargs).arguments)

    @property
    def activation(self):
        return None

    def output_spec(self, *args, **kwargs):
        return self.operation.compute_output_spec(*args, **kwargs)


class _Statistics:
    """The arguments of keras.ops.batch_normalization under the names that they have in the layer."""

    def __init__(self, operation, given):
        self.axis, self.epsilon = operation.axis, operation.epsilon
        self.moving_mean, self.moving_variance = given["mean"], given["variance"]
        self.gamma, self.beta = given.get("scale"), given.get("offset")
        self.scale, self.center = self.gamma is not None, self.beta is not None
