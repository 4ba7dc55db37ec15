"""Layers as rules see them: z = apply(x; kernel) + bias, linear in x and in the kernel."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from tf_lrp.affine import native
from tf_lrp.keras_compat.keras_classes import nearest_class
from tf_lrp.keras_compat.parameters import ARRAYS
from tf_lrp.rules import Rule

#: The number of samples for which the size of a layer's output is compared with that of its kernel.
_USUAL_BATCH = 8

_AFFINE_OF_LAYER: dict[type, type[Affine]] = {}


class Affine:
    """One affine map z = apply(inputs, kernel) + bias. It reads a user's layer and never changes it.

    The kernel is a tensor that rules may map element by element (w+, w^2, 1) before it is applied. It is read from the
    layer's variables each time, so an explanation follows later changes of the weights.

    Attributes:
        kinds: the words by which selectors find it ("conv", "pooling" ...).
        default_rule: its rule unless a preset addresses it; None for layers with weights, which presets must
            cover.
        keeps_nonnegative: whether no output is negative where no input, and no array among the arguments, is.
        is_arithmetic: whether it computes without weights, so that of probabilities it does not make scores.
        is_whole_layer: whether the layer's own call computes this map and nothing else.
        layers: the Keras layers whose variables it reads.
    """

    kinds: frozenset[str] = frozenset()
    default_rule: Rule | None = None
    keeps_nonnegative = False
    is_arithmetic = False
    is_whole_layer = False

    def __init__(self, layer, call=None):
        """Describes ``layer`` as it is called in the `Call`."""
        self.layer = layer

    @classmethod
    def describes(cls, operation, call):
        """Whether an operation of a registered class is affine as it is called in the `Call`."""
        # A quantized kernel is not the linear map's kernel.
        return not getattr(operation, "quantization_mode", None)

    @property
    def layers(self):
        return (self.layer,) if isinstance(self.layer, keras.layers.Layer) else ()

    @property
    def activation(self):
        """The activation that the layer itself applies to z, or None."""
        return getattr(self.layer, "activation", None)

    def is_nonnegative(self, call, known):
        """Whether no output can be negative in a `Call`; ``known`` is a function of an operand: whether it cannot be."""
        return self.keeps_nonnegative and all(map(known, call.operands))

    def check(self, rule):
        """Raises ValueError with the reason, as a clause, if the rule does not apply to this map."""

    def kernel(self, dtype):
        """The kernel as a tensor of ``dtype``."""
        raise NotImplementedError(f"{type(self).__name__} has no kernel")

    def kernel_at(self, inputs, dtype):
        """The kernel for these inputs. (The scale of a normalization is computed from each sample.)"""
        return self.kernel(dtype)

    def factors(self, inputs, dtype):
        """(kernel, scale) with z = scale * apply(inputs, kernel) + bias.

        The scale is a tensor that broadcasts against z, where multiplying z costs less than multiplying the kernel; else None.
        """
        return self.kernel_at(inputs, dtype), None

    def bias(self, inputs, kernel):
        """The bias as a tensor that broadcasts against z, or None.

        Args:
            inputs: list of the input tensors; only their shape and type matter.
            kernel: what `kernel` returned.
        """
        return None

    def apply(self, inputs, kernel):
        """The linear part, z without bias: list of tensors and a kernel (of the shape that `kernel` has) -> tensor."""
        raise NotImplementedError(f"{type(self).__name__} cannot be applied")

    def transpose(self, inputs, kernel, quotient):
        """The transpose of apply(., kernel), applied to ``quotient``: sum_j w_ij q_j.

        This is the gradient of `apply`, whatever that is. A subclass that knows a kernel of TensorFlow for it saves the forward
        pass, and the gradient of the kernel that TensorFlow computes with it.

        Args:
            inputs: list of the input tensors; only their shape and type matter, because `apply` is linear.
            kernel: as for `apply`.
            quotient: tensor shaped like z.

        Returns:
            List of tensors shaped like ``inputs``.
        """
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            z = self.apply(inputs, kernel)  # in a graph only the gradient is left of it
        return tape.gradient(z, inputs, output_gradients=quotient, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    def apply_sums(self, inputs, kernels):
        """sum_p apply(inputs[p], kernels[p][t]) for each t: a list.

        Args:
            inputs: for each p a list of tensors, as for `apply`.
            kernels: for each p a list of kernels, one for each t.
        """
        return [
            functools.reduce(native.add, (self.apply(x, kernel) for x, kernel in zip(inputs, of_term, strict=True)))
            for of_term in zip(*kernels, strict=True)
        ]

    def transpose_sums(self, inputs, kernels, quotients):
        """sum_t transpose(inputs, kernels[p][t], quotients[t]) for each p: a list of lists shaped like ``inputs``."""
        shares = []
        for of_part in kernels:
            each = [self.transpose(inputs, kernel, quotient) for kernel, quotient in zip(of_part, quotients, strict=True)]
            shares.append([functools.reduce(native.add, of_input) for of_input in zip(*each, strict=True)])
        return shares

    def keeps_signs(self, kernel):
        """Whether sums of products that are not negative never round to negative numbers.

        They may where TensorFlow computes convolutions by transforms, Winograd's or Fourier's.
        """
        return False

    def fan_in(self, kernel):
        """The largest number of products that an output is the sum of."""
        entries = kernel.shape.num_elements()
        return math.inf if entries is None else entries

    def distribute_evenly(self, inputs, kernel, leftover):
        """Distributes ``leftover`` (shaped like z) evenly over the inputs of each output: a list shaped like ``inputs``."""
        everywhere = tf.ones_like(kernel)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            count = self.apply([tf.ones_like(x) for x in inputs], everywhere)
            z = self.apply(inputs, everywhere)
        return tape.gradient(z, inputs, tf.math.divide_no_nan(leftover, count), tf.UnconnectedGradients.ZERO)

    def is_smaller(self, kernel, inputs):
        """Whether a kernel has fewer entries than the output for a batch of usual size, so that it is rather changed."""
        return False

    def output_spec(self, *args, **kwargs):
        """Shape and type of z, as a KerasTensor, for KerasTensor arguments."""
        return self.layer.compute_output_spec(*args, **kwargs)


class Weighted(Affine):
    """An affine map with trained weights, into which a normalization of its inputs or outputs can be folded.

    Subclasses define which axes of the kernel are those of the input and the output channels.
    """

    channels_first = False

    def __init__(self, layer, call=None):
        super().__init__(layer, call)
        self._output_shapes = {}

    def scale_outputs(self, kernel, scale):
        """The kernel of scale * apply(x, kernel); ``scale`` has one entry per output channel."""
        raise NotImplementedError(f"{type(self).__name__} does not define scale_outputs")

    def scale_inputs(self, kernel, scale):
        """The kernel of apply(scale * x, kernel); ``scale`` has one entry per input channel."""
        raise NotImplementedError(f"{type(self).__name__} does not define scale_inputs")

    def fan_in(self, kernel):
        return kernel.shape[:-1].num_elements()  # output channels come last, unless a subclass says otherwise

    def output_shape(self, inputs):
        """Shape of z for a list of input tensors, None where it is unknown."""
        shapes = tuple(tuple(x.shape) for x in inputs)
        if shapes not in self._output_shapes:
            self._output_shapes[shapes] = self.output_spec(*map(keras.KerasTensor, shapes)).shape
        return self._output_shapes[shapes]

    def is_smaller(self, kernel, inputs):
        outputs = self.output_shape(inputs)[1:]
        return None in outputs or _USUAL_BATCH * math.prod(outputs) > kernel.shape.num_elements()

    def per_channel(self, vector, rank):
        """One entry per channel -> a tensor that broadcasts against a tensor of that rank."""
        if self.channels_first:
            return native.reshape(vector, (-1,) + (1,) * (rank - 2))
        return vector

    def channel_axis(self, rank):
        return 1 if self.channels_first else rank - 1

    def bias(self, inputs, kernel):
        if not self.layer.use_bias:
            return None
        return self.per_channel(tf.cast(self.layer.bias, kernel.dtype), inputs[0].shape.rank)


def shape_of(x):
    """The shape of a tensor: an array of int32 if it is known, else a tensor."""
    return np.array(x.shape, np.int32) if x.shape.is_fully_defined() else tf.shape(x)


def affine_for(*layer_classes):
    """Class decorator: layers of these classes are described by the decorated `Affine`."""

    def register(affine_class):
        for layer_class in layer_classes:
            _AFFINE_OF_LAYER[layer_class] = affine_class
        return affine_class

    return register


@dataclass(frozen=True)
class Call:
    """The arguments of an operation.

    Attributes:
        args, kwargs: nested structures whose tensors are KerasTensors.
    """

    args: tuple
    kwargs: dict

    @property
    def inputs(self):
        """The KerasTensors, in order."""
        return [leaf for leaf in tree.flatten((self.args, self.kwargs)) if isinstance(leaf, keras.KerasTensor)]

    @property
    def operands(self):
        """All arguments but names and None: tensors, arrays, numbers."""
        leaves = tree.flatten((self.args, self.kwargs))
        return [leaf for leaf in leaves if leaf is not None and not isinstance(leaf, str)]

    @property
    def arrays(self):
        """Operands that have values: variables, tensors, arrays."""
        return [leaf for leaf in tree.flatten((self.args, self.kwargs)) if isinstance(leaf, ARRAYS)]


def describe(operation, args, kwargs):
    """The `Affine` of a Keras operation in a call, or None if it is not affine there.

    Args:
        operation: a Keras layer or operation.
        args, kwargs: its arguments, with KerasTensors for tensors.
    """
    affine_class = nearest_class(_AFFINE_OF_LAYER, operation)
    call = Call(args, kwargs)
    if affine_class is None or not affine_class.describes(operation, call):
        return None
    return affine_class(operation, call)
