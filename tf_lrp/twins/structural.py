"""Layers that move values around: their own gradient routes relevance, and sums it where a value was copied."""

from __future__ import annotations

from keras import layers as L

from tf_lrp import keras_internals as K
from tf_lrp.rules import Pass
from tf_lrp.twins.base import Twin
from tf_lrp.twins.registry import twin_for


@twin_for(
    L.Flatten, L.Reshape, L.Permute, L.RepeatVector, L.Concatenate,
    L.ZeroPadding1D, L.ZeroPadding2D, L.ZeroPadding3D, L.Cropping1D, L.Cropping2D, L.Cropping3D,
    L.UpSampling1D, L.UpSampling2D, L.UpSampling3D,
    K.Concatenate, K.Reshape, K.Transpose, K.GetItem, K.Squeeze, K.ExpandDims,
)  # fmt: skip
class RoutingTwin(Twin):
    """Each output is a copy of one input or a constant zero; what arrives at padding is dropped."""

    rules = (Pass,)

    def call(self, *inputs):
        return self.compute(*inputs)
