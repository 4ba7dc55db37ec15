"""Layers and functions of Keras without a relevance rule, each written with functions that have one."""

from tf_lrp.keras_compat.openers import control_flow, layers, missing_numbers, networks, statistics
from tf_lrp.keras_compat.openers.registry import opener_of

__all__ = ["control_flow", "layers", "missing_numbers", "networks", "opener_of", "statistics"]
