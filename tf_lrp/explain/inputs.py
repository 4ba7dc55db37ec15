"""A user's inputs as the flat list of arrays that the twin takes, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from keras import tree
from numpy.typing import ArrayLike

#: What `tf_lrp.Analyzer.analyze` takes as ``x``.
ModelInput = ArrayLike | Sequence[ArrayLike] | Mapping[str, ArrayLike]


class InputSpec:
    """What a model takes, and how a user's structure maps to it.

    Args:
        structure: nested structure of the twin's symbolic inputs.
    """

    def __init__(self, structure):
        nested = (
            structure.values() if isinstance(structure, dict) else structure if isinstance(structure, (list, tuple)) else ()
        )
        if any(isinstance(entry, (dict, list, tuple)) for entry in nested):
            raise ValueError(
                "The model takes its inputs in a nested structure; explain one that takes a flat list or dict: "
                "keras.Model(keras.tree.flatten(model.input), model.output)."
            )
        self.structure = structure
        self.tensors = tree.flatten(structure)
        self.names = [t.name for t in self.tensors]

    def flatten(self, x):
        """The inputs as a flat list in the model's order, from an array, a list or a dict.

        Returns:
            (leaves, pack): ``pack(list)`` puts results into the structure of ``x``.

        Raises:
            ValueError: if ``x`` has other entries than the model has inputs.
        """
        if isinstance(x, dict):
            keys = sorted(self.structure) if isinstance(self.structure, dict) else self.names
            if set(x) != set(keys):
                raise ValueError(
                    f"The model's inputs are {', '.join(map(repr, keys))}; got {', '.join(map(repr, x)) or 'none'}."
                )
            return [x[k] for k in keys], lambda leaves: {k: leaves[keys.index(k)] for k in x}
        single = len(self.tensors) == 1
        in_list = isinstance(x, (list, tuple)) and len(x) == len(self.tensors)
        if in_list and not (single and np.ndim(x[0]) < len(self.tensors[0].shape)):
            return list(x), lambda leaves: type(x)(*leaves) if hasattr(x, "_fields") else type(x)(leaves)
        if single:
            return [x], lambda leaves: leaves[0]
        got = f"{len(x)} entries" if isinstance(x, (list, tuple)) else f"one {type(x).__name__}"
        raise ValueError(
            f"The model takes {len(self.tensors)} inputs ({', '.join(map(repr, self.names))}) as a list or a dict of arrays; "
            f"got {got}."
        )

    def arrays(self, leaves):
        """Flat inputs as checked NumPy arrays of the twin's types.

        Raises:
            TypeError: if one is not numeric (or, where the model takes strings, no string).
            ValueError: if one has the wrong shape, is empty or not finite, or they differ in length.
        """
        arrays = [self._array(leaf, tensor) for leaf, tensor in zip(leaves, self.tensors, strict=True)]
        lengths = {len(a) for a in arrays}
        if len(lengths) > 1:
            lengths = ", ".join(f"{n!r}: {len(a)}" for n, a in zip(self.names, arrays, strict=True))
            raise ValueError(f"All inputs need the same number of samples; got {lengths}.")
        return arrays

    def _array(self, leaf, tensor):
        try:
            array = np.asarray(leaf)
        except ValueError as error:
            raise ValueError(f"The input {tensor.name!r} is no rectangular array: {error}.") from None
        if tensor.dtype == "string":
            array = _strings(array, tensor.name)
        elif array.dtype.kind not in "iufb":
            hint = " If the model takes strings, say so: inputs=keras.Input(shape, dtype='string')." * _is_text(array)
            raise TypeError(f"The input {tensor.name!r} needs numbers, got an array of type {array.dtype}.{hint}")
        expected = tuple(tensor.shape)
        shown = "(" + ", ".join(["N", *("any" if d is None else str(d) for d in expected[1:])]) + ")"
        if array.ndim == len(expected) - 1 and _fits(array.shape, expected[1:]):
            raise ValueError(
                f"The input {tensor.name!r} needs shape {shown}, got {array.shape}: "
                "a single sample needs a batch axis, x[None]."
            )
        if array.ndim != len(expected) or not _fits(array.shape[1:], expected[1:]):
            raise ValueError(
                f"The input {tensor.name!r} needs shape {shown}, got {array.shape}.{self._advice(array.shape, expected)}"
            )
        if expected[0] is not None and len(array) != expected[0]:
            advice = self._advice(array.shape, expected)
            raise ValueError(f"The model was built for batches of {expected[0]}, got {len(array)} samples.{advice}")
        if not len(array):
            raise ValueError(f"The input {tensor.name!r} holds no samples (shape {array.shape}): there is nothing to explain.")
        if tensor.dtype == "string":
            return array
        given, array = array, array.astype(tensor.dtype, copy=False)
        if array.dtype.kind in "iu" and not np.array_equal(given, array):
            place = np.unravel_index(np.argmax(given != array), array.shape)
            raise ValueError(
                f"The input {tensor.name!r} takes integers of type {array.dtype}, and holds {given[place]} at "
                f"{tuple(map(int, place))}."
            )
        bad = int(array.size - np.isfinite(array).sum())
        if bad:
            raise ValueError(
                f"The input {tensor.name!r} holds {bad} NaN or infinite values: relevance is not defined for them. Clean the "
                "input, for example with np.nan_to_num."
            )
        return array

    def convert(self, leaves):
        """Flat inputs as tensors of the twin's types, unchecked but for their rank."""
        converted = []
        for leaf, tensor in zip(leaves, self.tensors, strict=True):
            value = tf.cast(leaf, tensor.dtype) if tf.is_tensor(leaf) else tf.convert_to_tensor(leaf, tensor.dtype)
            if not value.shape.is_compatible_with(tensor.shape):
                got, expected = tuple(value.shape), tuple(tensor.shape)
                advice = self._advice(got, expected)
                raise ValueError(f"The input {tensor.name!r} needs shape {expected}, got {got}.{advice}")
            converted.append(value)
        return converted

    def _advice(self, got, expected):
        """How a model is explained for other numbers of samples, or lengths, than it was built for: it may take them."""
        if len(got) != len(expected) or (len(expected) > 1 and not _fits(got[-1:], expected[-1:])):
            return ""
        free = tuple(e if e == g else None for e, g in zip(expected[1:-1], got[1:-1], strict=True)) + expected[1:][-1:]
        given = f"keras.Input({free})" if len(self.tensors) == 1 else f"[... keras.Input({free}) ...]"
        return f" If the model takes that as well, say so: Analyzer(model, inputs={given})."

    def pack(self, leaves):
        """A flat list in the model's own structure."""
        return tree.pack_sequence_as(self.structure, leaves)


def _is_text(array):
    return array.dtype.kind in "US" or (array.dtype == object and all(isinstance(v, (str, bytes)) for v in array.flat))


def _strings(array, name):
    if array.size and not _is_text(array):
        other = next((v for v in array.flat if not isinstance(v, (str, bytes))), None)
        given = f"{type(other).__name__} {other!r}" if array.dtype == object else f"an array of type {array.dtype}"
        raise TypeError(f"The input {name!r} needs strings, got {given}.")
    return array.astype(object)


def _fits(shape, expected):
    return len(shape) == len(expected) and all(e in (None, d) for d, e in zip(shape, expected, strict=True))
