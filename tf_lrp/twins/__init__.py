"""Twins: layers that compute what the originals do and hand back relevance; one module a family."""

from tf_lrp.twins import activation, linear, pooling, structural
from tf_lrp.twins.activation import PassTwin
from tf_lrp.twins.base import Twin, with_relevance
from tf_lrp.twins.linear import AffineTwin
from tf_lrp.twins.registry import twin_class_of, twin_for
from tf_lrp.twins.structural import RoutingTwin

__all__ = [
    "AffineTwin",
    "PassTwin",
    "RoutingTwin",
    "Twin",
    "activation",
    "linear",
    "pooling",
    "structural",
    "twin_class_of",
    "twin_for",
    "with_relevance",
]
