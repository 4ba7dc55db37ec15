"""A twin: the layer that computes what the original does and hands back relevance instead of a derivative."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import tree

from tf_lrp.keras_compat import keras_backend, preprocessing
from tf_lrp.keras_compat.graph_safe import call_of
from tf_lrp.keras_compat.tensorflow_internals import record_gradient, release_with_graph
from tf_lrp.rules import Rule


def with_relevance(output, inputs, backward):
    """``output`` unchanged, with ``backward`` as its gradient.

    Args:
        output: tensor, or a nested structure of tensors.
        inputs: list of those tensors it was computed from that take relevance.
        backward: relevance of ``output`` (its shape; one argument for each tensor in it) -> list of the relevances of
            ``inputs`` (their shapes).

    Returns:
        The same values as ``output``, in the same structure.
    """
    flat = tree.flatten(output)
    if tf.executing_eagerly():
        routed = [tf.raw_ops.Identity(input=t) for t in flat]
        record_gradient(routed, inputs, lambda *relevance: list(backward(*relevance)))
    else:
        routed = _routed_in_graph(flat, inputs, backward)
        release_with_graph(routed[0])
    return tree.pack_sequence_as(output, routed)


def _routed_in_graph(flat, inputs, backward):
    @tf.custom_gradient
    def route(*_):
        def grad(*relevance):
            of_inputs = list(backward(*relevance))
            for r, x in zip(of_inputs, inputs, strict=True):
                note_shape(r, x.shape)
            return of_inputs

        # How the values were computed has no gradient here: they are no arguments.
        outputs = [tf.identity(t) for t in flat]
        return outputs[0] if len(flat) == 1 else outputs, grad

    routed = route(*inputs)
    return [routed] if len(flat) == 1 else list(routed)


def note_shape(tensor, shape):
    """Adds what is known about the shape of a graph's tensor, if the operations that computed it have lost it."""
    if not tf.executing_eagerly() and isinstance(tensor, tf.Tensor) and tensor.shape.is_compatible_with(shape):
        tensor.set_shape(shape)


class Twin(keras.layers.Layer):
    """Base of all twins. A twin holds the original operation, shares its variables and never calls it on symbolic tensors.

    Args:
        operation: the original Keras layer or operation.
        rule: the `Rule` of this node.
        name: unique name in the twin model.
        dtype: type in which activations and relevance are computed.
        arguments: (args, kwargs) of the original's call, with a KerasTensor in the place of each input; the twin itself
            is called on the inputs alone, in their order.
        takes: for each input whether it takes relevance; the others are masks or gates, or do not depend on the model's
            inputs. () stands for all.
    """

    #: What selectors can call the layer, words from `tf_lrp.select.KINDS`, such as {"dense", "weights"}. With "weights" it is
    #: counted among the layers with weights, and presets choose its rule. Empty: the kinds of the nearest base class's twin.
    kinds: frozenset[str] = frozenset()
    #: The rule unless a preset addresses it; None: a preset must choose one (with "weights"), or `Pass` (without).
    default_rule: Rule | None = None
    #: Rules that make sense here; () stands for any.
    rules: tuple[type, ...] = ()
    #: The cause (see `tf_lrp.conservation.CAUSES`) of what goes in and does not come out, where `absorbed` does not say.
    remainder = ""
    #: Whether no output is negative where no input, and no number among the arguments, is. Rules use it to skip work.
    keeps_nonnegative = False
    #: Whether it computes with its inputs alone, without weights, so that of probabilities it does not make scores.
    is_arithmetic = False
    #: Whether each entry of the output depends on the same entry of each input alone.
    is_elementwise = False
    #: Whether the class takes an argument ``plan``, the `Plan` that it follows.
    follows_plan = False

    def __init__(self, operation, rule, name, dtype, arguments, takes=()):
        super().__init__(name=name, dtype=dtype)
        self.operation = operation
        self.keep(
            rule=rule,
            takes=tuple(takes),
            _original_arguments=arguments,
            _shapes=(),
            _dtype_of_numbers=tf.as_dtype(self.compute_dtype),
        )
        if self.rules and not isinstance(rule, self.rules):
            allowed = " or ".join(r.__name__ for r in self.rules)
            raise ValueError(f"The layer {name!r} ({type(operation).__name__}) takes the rule {allowed}, got {rule}.")
        self.built = True

    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)  # Keras would prepare a config of the arguments, which `get_config` does not return

    def keep(self, **attributes):
        """Sets attributes that hold no variables: Keras does not look for any in them, which takes long."""
        vars(self).update(attributes)

    def __call__(self, *inputs, **kwargs):
        """Calls the layer, keeps the shapes that were inferred, and never returns one of its input tensors itself.

        The gradient at a tensor is the sum over all its consumers. If a layer returned its input itself, relevance at this
        layer would include what the input's other consumers hand back.

        Keras's own call, which takes longer than many kernels, is for what is to be converted.
        """
        if any(kwargs.values()) or not all(self._takes_as_it_is(x) for x in inputs):
            outputs = super().__call__(*inputs, **kwargs)
        elif isinstance(inputs[0], keras.KerasTensor):
            outputs = keras.Operation.symbolic_call(self, *inputs)
        elif tf.executing_eagerly():
            outputs = self.call(*inputs)
        else:
            with tf.name_scope(self.name):
                outputs = self.call(*inputs)
        given = {id(t) for t in inputs if isinstance(t, tf.Tensor)}
        outputs = tree.map_structure(lambda t: tf.identity(t) if id(t) in given else t, outputs) if given else outputs
        if any(isinstance(x, keras.KerasTensor) for x in inputs):
            if not self._shapes:
                self.keep(_shapes=(tuple(t.shape for t in inputs), tuple(t.shape for t in tree.flatten(outputs))))
        elif self._shapes and not tf.executing_eagerly():
            of_inputs, of_outputs = self._shapes
            # What was inferred for symbolic inputs holds for inputs whose shapes are known at least as well.
            if all(x.shape.is_subtype_of(tf.TensorShape(shape)) for x, shape in zip(inputs, of_inputs, strict=True)):
                for t, shape in zip(tree.flatten(outputs), of_outputs, strict=True):
                    note_shape(t, shape)
        return outputs

    def _takes_as_it_is(self, x):
        if isinstance(x, keras.KerasTensor):
            return x.dtype == self.compute_dtype or not tf.as_dtype(x.dtype).is_floating
        return isinstance(x, tf.Tensor) and (x.dtype == self._dtype_of_numbers or not x.dtype.is_floating)

    @classmethod
    def supports(cls, inputs):
        """Whether the twin can replace an operation on these symbolic inputs, those that take relevance."""
        return True

    @classmethod
    def takers(cls, signals):
        """Which inputs take relevance, given which of them depend on the model's inputs (tuples of bools).

        A twin returns False for masks and gates among its inputs. Layers that feed only those then take no relevance.
        """
        return signals

    @classmethod
    def variant(cls, operation, signals):
        """The twin class for a call in which the inputs with the flags ``signals`` depend on the model's inputs."""
        return cls

    @classmethod
    def signal_factors(cls, signals):
        """Which factors take relevance where the signal takes all.

        Returns:
            None for the factors that look least like a gate; else (tuple of bools, one for each input; whether that holds
            under every rule).
        """
        return None

    @classmethod
    def is_nonnegative(cls, operation, call, known):
        """Whether no output can be negative.

        Args:
            operation: what the twin stands for.
            call: the `Call` of it.
            known: function of an operand, whether it cannot be negative.
        """
        return cls.keeps_nonnegative and all(map(known, call.operands))

    @property
    def is_loop(self):
        """Whether it takes its inputs step by step, in a loop that is slow unless it is compiled."""
        return isinstance(self.operation, keras.layers.RNN)

    @property
    def symbolic_inputs(self):
        """The original's own symbolic inputs."""
        return [t for t in tree.flatten(self._original_arguments) if isinstance(t, keras.KerasTensor)]

    def arguments_for(self, inputs):
        """(args, kwargs) of the original's call, with the inputs in the places of its symbolic inputs."""
        remaining = iter(inputs)
        return tree.map_structure(
            lambda leaf: next(remaining) if isinstance(leaf, keras.KerasTensor) else leaf, self._original_arguments
        )

    def taking(self, inputs):
        """Those of the inputs that take relevance."""
        return [x for x, takes in zip(inputs, self.takes, strict=True) if takes] if self.takes else list(inputs)

    def compute(self, *inputs):
        """What the original computes, in this twin's type (its ``__call__`` would cast to the original's)."""
        return tree.map_structure(lambda t: tf.cast(t, self.compute_dtype), self.run(inputs))

    def run(self, inputs):
        """As `compute`, but integers, bools and strings keep their types."""
        args, kwargs = self.arguments_for(inputs)
        with keras_backend.reading_variables_as(self.compute_dtype):
            outputs = call_of(self.operation)(*args, **kwargs)
        outputs = tree.map_structure(lambda t: tf.sparse.to_dense(t) if isinstance(t, tf.SparseTensor) else t, outputs)
        return tree.map_structure(lambda t: tf.cast(t, self.compute_dtype) if t.dtype.is_floating else t, outputs)

    def call(self, *inputs):
        raise NotImplementedError(f"{type(self).__name__} needs a method call that hands back relevance")

    def compute_output_spec(self, *inputs):
        args, kwargs = self.arguments_for(inputs)
        spec = preprocessing.output_spec(self.operation, *args, **kwargs)
        return tree.map_structure(lambda t: keras.KerasTensor(t.shape, dtype=self.compute_dtype), spec)

    def get_config(self):
        raise NotImplementedError(
            f"{self.name!r} is a twin, a layer of the explained model with a rule, which Keras cannot save. To save the "
            "explanation use analyzer.export(path); to keep or copy an analyzer, pickle it: it is made anew from the model."
        )

    def absorbed(self, inputs, relevance):
        """The relevance that does not reach the inputs, by cause.

        Args:
            inputs: list of the input tensors.
            relevance: relevance of the output.

        Returns:
            Dict of scalars by cause (see `tf_lrp.conservation.CAUSES`), in logit units, summed over the batch; empty where
            nothing is absorbed.
        """
        return {}


def distinct(inputs):
    """The inputs as distinct tensors: x + x has two inputs, each with its own relevance."""
    return list(inputs) if len(inputs) == 1 else [tf.identity(x) for x in inputs]


def summed_to(relevance, x):
    """Relevance summed over the axes along which ``x`` was broadcast."""
    rank = relevance.shape.rank - x.shape.rank
    if relevance.shape.is_fully_defined() and relevance.shape == x.shape:
        return relevance
    summed = tf.reduce_sum(relevance, list(range(rank))) if rank else relevance
    size = tf.shape(x)
    for axis, length in enumerate(x.shape):
        if length == 1 and summed.shape[axis] != 1:
            summed = tf.reduce_sum(summed, axis, keepdims=True)
        elif length is None:  # whether it was broadcast is known when the graph runs
            count = tf.shape(summed)[axis]
            ones = tf.concat([tf.shape(summed)[:axis], [size[axis], count // size[axis]], tf.shape(summed)[axis + 1 :]], 0)
            summed = tf.reduce_sum(tf.reshape(summed, ones), axis + 1)
    return tf.reshape(summed, size)
