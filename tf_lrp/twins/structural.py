"""Layers that move values around: their own gradient routes relevance, and sums it where a value was copied."""

from __future__ import annotations

from keras import layers as L

from tf_lrp import keras_internals as K
from tf_lrp.operations import MergeTime, SplitTime
from tf_lrp.rules import Pass
from tf_lrp.twins.base import Twin
from tf_lrp.twins.registry import register_twin

ROUTING_OPERATIONS = K.operation_classes(
    "Concatenate", "Reshape", "Transpose", "GetItem", "Squeeze", "ExpandDims", "Stack", "Hstack", "Vstack", "Dstack", "Split",
    "ArraySplit", "Hsplit", "Vsplit", "Dsplit", "Unstack", "Swapaxes", "Moveaxis", "Flip", "Fliplr", "Flipud", "Roll", "Rot90",
    "Repeat", "Tile", "BroadcastTo", "Pad", "Ravel", "Diagonal", "Diag", "Diagflat", "Tril", "Triu", "Slice", "Where",
    "DepthToSpace", "SpaceToDepth", "Unfold", "ExtractPatches", "PadImages", "CropImages", "Append", "SliceUpdate",
    "Sort",
)  # fmt: skip


#: Layers that copy values or zeros.
ROUTING_LAYERS = (
    L.Flatten, L.Reshape, L.Permute, L.RepeatVector, L.Concatenate,
    L.ZeroPadding1D, L.ZeroPadding2D, L.ZeroPadding3D, L.Cropping1D, L.Cropping2D, L.Cropping3D,
    L.UpSampling1D, L.UpSampling2D, L.UpSampling3D, L.CenterCrop,
    *ROUTING_OPERATIONS, K.Sized, MergeTime, SplitTime,
)  # fmt: skip


@register_twin(*ROUTING_LAYERS)
class RoutingTwin(Twin):
    """Each output is a copy of one input or a constant; what arrives at padding is dropped."""

    rules = (Pass,)
    remainder = "padding"

    def call(self, *inputs):
        return self.compute(*inputs)
