"""Caffe networks, and what the Caffe program of the LRP Toolbox computes of them.

    model = tf_lrp.caffe.load("deploy.prototxt", "weights.caffemodel")
    relevance = tf_lrp.caffe.analyzer(model, 100, epsilon=1, beta=1).analyze(images)

Neither Caffe nor the toolbox is needed. On the command line: `tf-lrp caffe`.
"""

from typing import TYPE_CHECKING

from tf_lrp.lazy_names import lazy_names

_MODULES = {"analyzer": "analysis", "load": "loading", "network": "loading", "read_blob": "reading"}

if TYPE_CHECKING:
    from tf_lrp.caffe.analysis import analyzer as analyzer
    from tf_lrp.caffe.loading import load as load
    from tf_lrp.caffe.loading import network as network
    from tf_lrp.caffe.reading import read_blob as read_blob

__all__ = sorted(_MODULES)  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
