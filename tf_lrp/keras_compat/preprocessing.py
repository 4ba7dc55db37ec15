"""Private parts of Keras's layers of categories and texts: vocabularies, output modes, and the shapes that they return."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras.src.layers.preprocessing.feature_space import TFDConcat
from keras.src.layers.preprocessing.index_lookup import IndexLookup

try:
    from keras.src.layers.preprocessing.data_layer import DataLayer
except ImportError:  # the name of Keras 3.10
    from keras.src.layers.preprocessing.tf_data_layer import TFDataLayer as DataLayer

#: Layers that call their backend's functions through an attribute of their own.
DATA_LAYERS = DataLayer

#: The layer with which a `keras.utils.FeatureSpace` concatenates its features.
FEATURE_CONCATENATION = (TFDConcat,)


def output_spec(operation, *args, **kwargs):
    """The KerasTensors that an operation returns, corrected where Keras infers wrong shapes for layers of categories."""
    spec = operation.compute_output_spec(*args, **kwargs)
    if isinstance(operation, keras.layers.TextVectorization) and operation._split and operation._output_mode != "int":
        return keras.KerasTensor((spec.shape[0], spec.shape[-1]), dtype=spec.dtype)  # not (N, 1, V) for texts (N, 1)
    if isinstance(operation, keras.layers.Hashing) and operation.output_mode == "one_hot":
        shape = (args or tuple(kwargs.values()))[0].shape  # not one vector for all entries
        return keras.KerasTensor((*(shape[:-1] if shape[-1:] == (1,) else shape), operation.num_bins), dtype=spec.dtype)
    if isinstance(operation, keras.layers.StringLookup) and operation.invert:
        return keras.KerasTensor(spec.shape, dtype="string")
    return spec


def category_mode(layer):
    """The output mode of a layer of categories: "int", "one_hot", "multi_hot", "count" or "tf_idf"."""
    return layer._output_mode if isinstance(layer, keras.layers.TextVectorization) else layer.output_mode


def categories_of(layer, x):
    """The category of each entry of x, for a layer that counts them; -1, or a number beyond the last one, means none."""
    if isinstance(layer, keras.layers.TextVectorization):
        return layer._lookup_layer._lookup_dense(layer._preprocess(x))
    if isinstance(layer, IndexLookup):
        return layer._lookup_dense(tf.cast(x, layer._key_dtype))
    if isinstance(layer, keras.layers.Hashing):
        return layer._hash_values_to_bins(x)
    if isinstance(layer, keras.layers.Discretization):
        return keras.ops.digitize(x, layer.bin_boundaries)
    return x


def number_of_categories(layer):
    """The number of codes that a layer of categories can return, counted from 0."""
    if isinstance(layer, (keras.layers.TextVectorization, IndexLookup)):
        with tf.init_scope():  # a number, also where a graph is being made
            return layer.vocabulary_size()
    if isinstance(layer, keras.layers.Discretization):
        return len(layer.bin_boundaries or ()) + 1
    return layer.num_tokens if isinstance(layer, keras.layers.CategoryEncoding) else layer.num_bins


def why_without_categories(layer, inputs):
    """Why a layer of categories cannot be explained on these KerasTensors, or "" if it can."""
    mode, rank = category_mode(layer), len(inputs[0].shape)
    is_text = isinstance(layer, keras.layers.TextVectorization)
    lookup = layer._lookup_layer if is_text else layer
    if (isinstance(lookup, IndexLookup) and not _has_vocabulary(lookup)) or getattr(layer, "bin_boundaries", ()) is None:
        return "it has no vocabulary yet: give it one, or call its adapt on data, before the model is explained"
    if is_text and layer._ragged:
        return "with ragged=True it returns rows of different lengths: use ragged=False, which pads them"
    if is_text and layer._split is None and layer._ngrams is not None and inputs[0].shape[1:] not in ((), (1,)):
        return "with split=None its n-grams join several entries of the input: join them in one text, or leave n-grams out"
    if mode in ("multi_hot", "count", "tf_idf") and not (is_text and layer._split is not None) and rank != 2:
        if rank < 2:
            return f'with output_mode="{mode}" Keras takes an input of shape (N,) for one sample: give it the shape (N, 1)'
        return f'with output_mode="{mode}" Keras itself joins another axis than its shapes say for inputs of more than two axes'
    return ""


def in_vocabulary(lookup, values):
    """Whether each of an array of values is in the vocabulary of a StringLookup or IntegerLookup, or its mask token."""
    values = tf.convert_to_tensor(values, lookup._key_dtype)
    known = lookup.lookup_table.lookup(values) != lookup._default_value
    masked = False if lookup.mask_token is None else values == lookup._mask_key
    return np.asarray(known | masked)


def _has_vocabulary(lookup):
    try:
        with tf.init_scope():
            return int(lookup.lookup_table.size()) > 0
    except tf.errors.FailedPreconditionError:  # the table is not initialized
        return False


def hash_tables_of(layers):
    """The tables in which layers look up strings and integers."""
    layers = [getattr(layer, "_lookup_layer", layer) for layer in layers]
    return list({id(layer): layer.lookup_table for layer in layers if isinstance(layer, IndexLookup)}.values())
