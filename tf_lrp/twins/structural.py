"""Layers that move values around: their own gradient routes relevance, and sums it where a value was copied."""

from __future__ import annotations

import tensorflow as tf
from keras import layers

from tf_lrp.keras_compat import internals
from tf_lrp.keras_compat.operations import MergeTime, SplitTime
from tf_lrp.rules import Pass
from tf_lrp.twins.base import Twin
from tf_lrp.twins.registry import register_twin

ROUTING_OPERATIONS = internals.operation_classes(
    "Concatenate", "Reshape", "Transpose", "GetItem", "Squeeze", "ExpandDims", "Stack", "Hstack", "Vstack", "Dstack", "Split",
    "ArraySplit", "Hsplit", "Vsplit", "Dsplit", "Unstack", "Swapaxes", "Moveaxis", "Flip", "Fliplr", "Flipud", "Roll", "Rot90",
    "Repeat", "Tile", "BroadcastTo", "Pad", "Ravel", "Diagonal", "Diag", "Diagflat", "Tril", "Triu", "Slice", "Where",
    "DepthToSpace", "SpaceToDepth", "Unfold", "ExtractPatches", "PadImages", "CropImages", "Append", "SliceUpdate",
    "Sort",
)  # fmt: skip


#: Layers that copy values or zeros.
ROUTING_LAYERS = (
    layers.Flatten, layers.Reshape, layers.Permute, layers.RepeatVector, layers.Concatenate,
    layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D, layers.Cropping1D, layers.Cropping2D, layers.Cropping3D,
    layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D, layers.CenterCrop,
    *ROUTING_OPERATIONS, internals.Sized, MergeTime, SplitTime,
)  # fmt: skip

#: Those of them that may put in values of their own, or values of more than one tensor in the place of each other.
INSERTING_LAYERS = (
    layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D, layers.CenterCrop,
    *internals.operation_classes(
        "Pad", "Diag", "Diagflat", "Tril", "Triu", "Where", "Unfold", "ExtractPatches", "PadImages", "SliceUpdate", "View",
    ),
)  # fmt: skip

#: Operations with operands that may be constants; the others fill in zeros or one value.
_WITH_CONSTANTS = internals.operation_classes(
    "Concatenate", "Append", "Stack", "Hstack", "Vstack", "Dstack", "Where", "SliceUpdate"
)


#: Functions whose derivatives are shares that add up to 1: copies, the entries that a quantile lies between, and the smooth
#: maximum, which shares as the sum of exponentials that it is the logarithm of (its softmax).
SHARING_OPERATIONS = internals.operation_classes(
    "Select", "Meshgrid", "Resize", "Median", "Quantile", "Percentile",
    "Logsumexp",
)  # fmt: skip


@register_twin(*ROUTING_LAYERS, *SHARING_OPERATIONS)
class RoutingTwin(Twin):
    """Each output is a copy of one input or a constant; what arrives at padding is dropped."""

    rules = (Pass,)

    @property
    def remainder(self):
        return "bias" if isinstance(self.operation, _WITH_CONSTANTS) else "padding"

    def call(self, *inputs):
        return self.compute(*inputs)


@register_twin(*internals.operation_classes("ScatterUpdate", "SegmentMax", "SegmentMin"))
class PlacingTwin(RoutingTwin):
    """Values that go to places, perhaps given among the inputs. Where TensorFlow lets equal maxima share, they share."""

    def call(self, *inputs):
        return self.compute(*[_as_places(x, t.dtype) for x, t in zip(inputs, self.symbolic_inputs, strict=True)])


def _as_places(x, dtype):
    """Integers that come from the model's inputs are carried as floats."""
    return tf.cast(x, dtype) if "int" in dtype and x.dtype.is_floating else x
