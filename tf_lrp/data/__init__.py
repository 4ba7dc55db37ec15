"""Explanations in data pipelines: explained datasets, and shards on disk whose writing can be interrupted and resumed."""

from tf_lrp.data.pipeline import explain
from tf_lrp.data.shards import read, write

__all__ = ["explain", "read", "write"]
