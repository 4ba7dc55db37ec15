"""Layers as affine maps z = apply(x; kernel) + bias: one module a family, one class a layer."""

from tf_lrp.affine import contraction, convolution, dense, elementwise, merging, normalization, pooling, recurrent, transforms
from tf_lrp.affine.base import Affine, Call, Weighted, affine_for, describe

__all__ = [
    "Affine",
    "Call",
    "Weighted",
    "affine_for",
    "contraction",
    "convolution",
    "dense",
    "describe",
    "elementwise",
    "merging",
    "normalization",
    "pooling",
    "recurrent",
    "transforms",
]
