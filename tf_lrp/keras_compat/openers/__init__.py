"""How layers and functions open that have no rule of their own: each written out in functions that have one."""

from tf_lrp.keras_compat.openers import control_flow, layers, missing_numbers, networks, statistics
from tf_lrp.keras_compat.openers.registry import opener_of

__all__ = ["control_flow", "layers", "missing_numbers", "networks", "opener_of", "statistics"]
