"""Twins: layers that compute what the originals do and hand back relevance; one module a family."""

from tf_lrp.twins import activation, attention, categories, embedding, linear, pooling, products, recurrent, structural
from tf_lrp.twins.activation import IdentityTwin, PassTwin, SoftmaxTwin, register_activation
from tf_lrp.twins.base import Twin, with_relevance
from tf_lrp.twins.gradient import GradientTwin, StopGradientTwin
from tf_lrp.twins.linear import AffineTwin
from tf_lrp.twins.plan import DEFAULT_PLAN, Plan, TermPlan
from tf_lrp.twins.propagation import Propagation
from tf_lrp.twins.recurrent import RecurrentTwin
from tf_lrp.twins.registry import register_twin, twin_class_of
from tf_lrp.twins.structural import RoutingTwin, register_routing

__all__ = [
    "DEFAULT_PLAN",
    "AffineTwin",
    "GradientTwin",
    "IdentityTwin",
    "PassTwin",
    "Plan",
    "Propagation",
    "RecurrentTwin",
    "RoutingTwin",
    "SoftmaxTwin",
    "StopGradientTwin",
    "TermPlan",
    "Twin",
    "activation",
    "attention",
    "categories",
    "embedding",
    "linear",
    "pooling",
    "products",
    "recurrent",
    "register_activation",
    "register_routing",
    "register_twin",
    "structural",
    "twin_class_of",
    "with_relevance",
]
