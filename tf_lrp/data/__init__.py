"""Explanations in data pipelines: datasets in, datasets out, and shards on disk that an interrupted run adds to."""

from tf_lrp.data.pipeline import explain
from tf_lrp.data.shards import read, write

__all__ = ["explain", "read", "write"]
