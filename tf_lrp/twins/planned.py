"""Relevance through an affine map by an optimized plan: the same numbers as the formula's, up to rounding, for less work."""

from __future__ import annotations

import contextlib
import functools
import operator

import tensorflow as tf

from tf_lrp.affine.elementwise import channel_vectors_in
from tf_lrp.rules import identity, ones
from tf_lrp.rules.stabilizer import divide_stable, floor, margin, never_zero
from tf_lrp.twins.plan import DEFAULT_PLAN, TermPlan
from tf_lrp.twins.propagation import Propagation, plus


def propagation(affine, rule, inputs, dtype, plan=DEFAULT_PLAN):
    """The `Propagation` that follows a plan; by default the formula as it is."""
    if plan == DEFAULT_PLAN:
        return Propagation(affine, rule, inputs, dtype)
    return PlannedPropagation(affine, rule, inputs, dtype, plan)


class PlannedPropagation(Propagation):
    """A `Propagation` that follows a plan.

    Args:
        affine, rule, inputs, dtype: see `Propagation`.
        plan: `Plan`.
    """

    def __init__(self, affine, rule, inputs, dtype, plan):
        self.affine, self.inputs, self.dtype, self.plan = affine, inputs, dtype, plan
        self.plans = plan.terms or tuple(TermPlan(term) for term in rule.terms(nonnegative=False))
        self.terms = tuple(p.term for p in self.plans)
        self._kernels = {}  # map of the kernel -> (mapped kernel, scale or None)
        self._vectors = (_graph(), {})  # one entry per channel: stored from the forward pass on
        self._stored = ()  # (graph, denominator) of each term
        with self._once():
            self.bias = affine.bias(inputs, self.kernel)
            z = self._forward()
        self.z = tf.nn.relu(z) if plan.clamp_output else z

    def _forward(self):
        if self.affine.fan_in(self.kernel) <= self.plan.split_above:
            return plus(self.apply(identity, identity), self.bias)
        self._stored = tuple((_graph(), self.denominator(term)) for term in self.terms)
        z = _total(z for _, z in self._stored)
        return z if self.terms[0].bias is not None else plus(z, self.bias)

    # -- the steps of the formula -------------------------------------------------------------------------------------

    def propagate(self, relevance):
        with self._after(relevance), self._once():
            if any(term.bias_factor for term in self.terms):
                return super().propagate(relevance)
            shares = {}  # map of the activations -> the shares of the inputs that are multiplied by it
            for term, quotient, _ in self.quotients(relevance):
                for f, g in term.numerators:
                    shares.setdefault(f, []).append(self.transpose(g, quotient))
            products = [self.multiply(f, map(_total, zip(*each, strict=True))) for f, each in shares.items()]
            return [_total(of_input) for of_input in zip(*products, strict=True)]

    def quotients(self, relevance):
        for plan, z in zip(self.plans, self._denominators(), strict=True):
            term, is_output = plan.term, z is self.z
            sign = 1 if is_output and self.plan.zero_below_zero else plan.sign
            known = {
                "sign": sign,
                "exact": is_output and self.plan.clamp_output,
                "vanishing": self.plan.zero_below_zero and sign > 0,
            }
            addressed = self.addressed(term, relevance)
            if self.plan.grad_is_ratio:
                quotient = addressed * ratio(term.stabilizer, z, **known)
            else:
                quotient = divide(term.stabilizer, addressed, z, **known)
            yield term, quotient if term.coefficient == 1 else term.coefficient * quotient, z

    def shares(self, f, g, quotient):
        return self.multiply(f, self.transpose(g, quotient))

    def multiply(self, f, shares):
        """f(a_i) times the share of each input, where R_i rather than R_i / a_i is handed on: a list."""
        if f is ones:
            return list(shares)
        emitted = self.plan.emit_ratio or [False] * len(self.inputs)
        return [share if e else f(x) * share for x, share, e in zip(self.inputs, shares, emitted, strict=True)]

    def apply(self, f, g, one_sample=False):
        kernel, scale = self._mapped_kernel(g)
        z = self.affine.apply([f(x[:1] if one_sample else x) for x in self.inputs], kernel)
        return z if scale is None else scale * z

    def transpose(self, g, quotient):
        kernel, scale = self._mapped_kernel(g)
        return self.affine.transpose(self.inputs, kernel, quotient if scale is None else scale * quotient)

    # -- what is stored and what is computed again --------------------------------------------------------------------

    def _mapped_kernel(self, g):
        """(g(kernel), scale or None), computed once in the forward pass and once in the backward pass."""
        if g not in self._kernels:
            self._kernels[g] = self._compute_kernel(g)
        return self._kernels[g]

    def _compute_kernel(self, g):
        if g is not identity:
            kernel, scale = self._mapped_kernel(identity)
            return g(kernel if scale is None else self.affine.kernel_at(self.inputs, self.dtype)), None
        if self.plan.scale_outputs:
            return self.affine.factors(self.inputs, self.dtype)
        return self.affine.kernel_at(self.inputs, self.dtype), None

    @property
    def kernel(self):
        return self._mapped_kernel(identity)[0]

    @contextlib.contextmanager
    def _once(self):
        """In this context each kernel is computed once; scales and shifts of channels are those of the forward pass.

        Kernels are not held between the passes: those of all layers would take memory at once.
        """
        graph, vectors = self._vectors
        with channel_vectors_in(vectors if _visible(graph, _graph()) else {}):
            yield
        if self.plan.recompute:
            self._kernels = {}

    def _denominators(self):
        """z_t of each term."""
        here = _graph()
        if self._stored and all(_visible(graph, here) for graph, _ in self._stored):
            return [z for _, z in self._stored]
        denominators = []
        for plan in self.plans:
            denominators.append(self._denominator(plan, denominators))
        if self.plan.share_denominators:
            self._stored = tuple((here, z) for z in denominators)
        return denominators

    def _denominator(self, plan, previous):
        term = plan.term
        if plan.denominator == "output" and (term.bias is identity or self.bias is None):
            return self.z
        if plan.denominator == "complement":
            return plan.factor * self.z - previous[-1]
        if plan.denominator == "one_sample":
            products = [self.apply(f, g, one_sample=True) for f, g in term.parts]
            return plus(_total(products), self.bias_of(term))
        return self.denominator(term)

    def _after(self, relevance):
        """Operations in this context wait for the relevance in a graph, so that their results take no memory until then."""
        waits = self.plan.recompute and not tf.executing_eagerly()
        return tf.control_dependencies([relevance]) if waits else contextlib.nullcontext()


def divide(stabilizer, relevance, z, sign=0, exact=False, vanishing=False):
    """relevance / stabilized z, and 0 where the stabilized z is 0.

    Args:
        stabilizer: `Stabilizer`.
        relevance, z: tensors of one shape.
        sign: 1 or -1 where z is known to have that sign (what rounding may have left on the other side is read as 0), 0 where
            it is not known.
        exact: whether rounding has left nothing on the other side.
        vanishing: whether relevance is 0 wherever z <= 0, and no more than a moderate multiple of z elsewhere.
    """
    if vanishing and not stabilizer.epsilon:
        return relevance / tf.maximum(z, floor(z.dtype))
    if not sign or not stabilizer.epsilon:
        return stabilizer.divide(relevance, z)
    epsilon = margin(stabilizer, z, sign)
    if not exact:
        z = tf.nn.relu(z) if sign > 0 else tf.minimum(z, 0)
    limit = tf.maximum if sign > 0 else tf.minimum
    return divide_stable(stabilizer, relevance, limit(z, epsilon) if stabilizer.clip else z + epsilon)


def ratio(stabilizer, z, sign=0, exact=False, vanishing=False):
    """z / stabilized z, from 0 to 1, and 0 where the stabilized z is 0: what multiplies R / z.

    Args:
        stabilizer, z, sign, exact, vanishing: see `divide`.
    """
    if sign or stabilizer.clip or not never_zero(stabilizer, z.dtype):
        return divide(stabilizer, z, z, sign, exact, vanishing)
    size = tf.abs(z)
    return size / (size + margin(stabilizer, z))


def _total(tensors):
    return functools.reduce(operator.add, tensors)


def _graph():
    """The graph under construction, or None when running eagerly."""
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def _visible(graph, here):
    """Whether tensors of one graph can be used in another: it is that one, or lies around it."""
    while here is not None and here is not graph:
        here = getattr(here, "outer_graph", None)
    return here is graph
