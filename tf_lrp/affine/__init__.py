"""Layers as affine maps z = apply(x; kernel) + bias: one module a family, one class a layer."""

from tf_lrp.affine import convolution, dense, elementwise, merging, pooling
from tf_lrp.affine.base import Affine, Weighted, affine_for, describe, registered

__all__ = [
    "Affine",
    "Weighted",
    "affine_for",
    "convolution",
    "dense",
    "describe",
    "elementwise",
    "merging",
    "pooling",
    "registered",
]
