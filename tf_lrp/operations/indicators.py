"""Operations whose result says which, where or whether, and not how much: there is nothing to attribute."""

from __future__ import annotations

from tf_lrp.keras_compat.keras_classes import operation_classes
from tf_lrp.keras_compat.lengths import SizeOf

_INDICATORS = (SizeOf, *operation_classes(
    "Equal", "NotEqual", "Greater", "GreaterEqual", "Less", "LessEqual", "LogicalAnd", "LogicalOr", "LogicalNot", "LogicalXor",
    "All", "Any", "AllClose", "Isclose", "Isfinite", "Isinf", "Isnan", "Isneginf", "Isposinf", "IsIn", "Signbit", "Argmax",
    "Argmin", "Argsort", "Argpartition", "Nonzero", "CountNonzero", "SearchSorted", "Digitize", "Bincount", "Unique",
    "OnesLike", "ZerosLike", "FullLike", "EmptyLike", "Size", "Ndim", "InTopK", "Nanargmax", "Nanargmin",
    "Isreal", "UnravelIndex", "MatrixRank",
))  # fmt: skip


def indicates(operation):
    """Whether the result of an operation depends on its inputs by no more than a comparison, a position or a length."""
    return isinstance(operation, _INDICATORS)
