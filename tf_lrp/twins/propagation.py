"""Relevance through an affine map by a rule's terms."""

from __future__ import annotations

import contextlib

import tensorflow as tf

from tf_lrp.rules import identity, ones
from tf_lrp.twins import denominators
from tf_lrp.twins.base import NOTHING

#: Products per output up to which a sum is rather computed twice than kept: the many channels that pointwise convolutions
#: make of few are most of a residual network's memory, and little of its work.
_CHEAP = 512


class Propagation:
    """One call of an affine map: z forward, and back by a rule.

    Args:
        affine: `Affine`.
        rule: `Rule` with terms.
        inputs: list of the input tensors.
        dtype: type in which the kernel is read.
        nonnegative: whether the inputs are known to be >= 0.
        known: `Known` of z. Where ReLUs alone see it, z is cut off as they do: one tensor to keep, theirs and this.
    """

    def __init__(self, affine, rule, inputs, dtype, nonnegative=False, known=NOTHING):
        self.affine, self.rule, self.inputs = affine, rule, inputs
        self.nonnegative, self.only_positive, self.cut_off = nonnegative, known.only_positive, known.cut_off
        self.divided, self.dividing = known.divided, known.dividing or [False] * len(inputs)
        self.dtype = dtype
        self.kernel, _ = affine.factors(inputs, dtype)
        self.bias = affine.bias(inputs, self.kernel)
        self._sums = []  # per term (graph, z): the passes of several targets share the denominators
        z = self._forward()
        self.z = tf.nn.relu(z) if self.cut_off else z

    def _forward(self):
        if denominators.additive(self._terms()) and self.affine.fan_in(self.kernel) > _CHEAP:
            # Both terms are needed on the way back, and make up the output: an application less, for two tensors more to keep.
            self._sums = [(_graph(), self._sum_of(term)) for term in self._terms()]
            z = sum(found for _, found in self._sums)
            return z if self._terms()[0].bias is not None else _plus(z, self.bias)
        return _plus(self._applied(identity, identity), self.bias)

    def _applied(self, of_activation, of_kernel):
        """sum_i f(a_i) g(w_ij)"""
        kernel, scale = self._mapped_kernel(of_kernel)
        z = self.affine.apply(_mapped(of_activation, self.inputs), kernel)
        return z if scale is None else scale * z

    def _transposed(self, of_kernel, quotient):
        """sum_j g(w_ij) q_j for each input: a list."""
        kernel, scale = self._mapped_kernel(of_kernel)
        return transpose(self.affine, self.inputs, kernel, quotient if scale is None else scale * quotient)

    def _mapped_kernel(self, of_kernel):
        """(kernel, scale or None) of a term.

        Folded anew wherever it is needed: kept from the way forward, the kernels of all layers would be held at once.
        """
        if of_kernel is identity:
            return self.affine.factors(self.inputs, self.dtype)
        return of_kernel(self.affine.kernel_at(self.inputs, self.dtype)), None

    def _terms(self):
        terms = self.rule.terms(self.nonnegative)
        return [term for term in terms if term.where != "negative"] if self.only_positive else terms

    def _is_output(self, term):
        """Whether the term's z is the output itself."""
        return term.parts == ((identity, identity),) and (term.bias is identity or self.bias is None)

    def _bias_of(self, term):
        return None if term.bias is None or self.bias is None else term.bias(self.bias)

    def _sum_of(self, term, earlier=()):
        """The term's z: sum_i sum_p f_p(a_i) g_p(w_ij) + h(b_j)."""
        if self._is_output(term):
            return self.z
        derived = denominators.from_others(term, self.z, earlier) if earlier else None
        if derived is not None:
            return derived
        total = sum(self._applied(of_activation, of_kernel) for of_activation, of_kernel in term.parts)
        return _plus(total, self._bias_of(term))

    def _sums_of(self, terms, relevance):
        """The z of each term, computed when relevance arrives: earlier, all layers' would be held in memory at once."""
        here = _graph()
        if len(self._sums) < len(terms) or not all(_visible(graph, here) for graph, _ in self._sums):
            self._sums = []
            with _after(relevance):
                for term in terms:
                    earlier = list(zip(terms, (z for _, z in self._sums), strict=False))
                    self._sums.append((here, self._sum_of(term, earlier)))
        return [z for _, z in self._sums]

    def _fractions(self, relevance):
        """For each term of the rule: (term, relevance divided by its denominator, its z); shaped like z.

        ``relevance`` as it arrives: divided by z already, where that is `Known`.
        """
        terms = self._terms()
        for term, z in zip(terms, self._sums_of(terms, relevance), strict=True):
            addressed, sign = relevance, denominators.sign(term)
            if self.only_positive:
                sign = 1 if z is self.z else sign
            elif term.where != "all":
                chosen = self.z > 0 if term.where == "positive" else self.z < 0
                addressed = tf.where(chosen, relevance, tf.zeros((), relevance.dtype))
            with _after(relevance):
                exact = self.cut_off and z is self.z
                vanishing = self.only_positive and sign > 0
                if self.divided:
                    quotient = addressed * term.stabilizer.kept(z, sign, exact, vanishing)
                else:
                    quotient = term.stabilizer.divide(addressed, z, sign, exact, vanishing)
            yield term, quotient if term.coefficient == 1 else term.coefficient * quotient, z

    def propagate(self, relevance):
        """Relevance of the inputs, divided by those of which that is `Known`: a list of tensors shaped like them."""
        total = None
        for term, quotient, z in self._fractions(relevance):
            if term.spread:
                bias = self._bias_of(term)
                contributions = z if bias is None else z - bias
                leftover = self.affine.spread(self.inputs, self.kernel, term.spread * (relevance - quotient * contributions))
                total = _added(total, leftover)
            for of_activation, of_kernel in term.numerators:
                with _after(relevance):
                    shares = self._transposed(of_kernel, quotient)
                if of_activation is not ones:
                    of_inputs = zip(self.inputs, shares, self.dividing, strict=True)
                    shares = [share if divided else of_activation(x) * share for x, share, divided in of_inputs]
                total = _added(total, shares)
        return total

    def absorbed(self, relevance):
        """What biases and stabilizers keep of the relevance, summed over the batch: dict of scalars.

        float64; "bias" is sum_j quotient_j h(b_j); "stabilizer" what epsilon and vanished denominators keep. Both can be
        negative. A rule whose shares are other than what its denominators sum conserves nothing: all that is missing is "bias".
        """
        arrived = _total(relevance * self.z if self.divided else relevance)
        if any(term.shares is not None for term in self._terms()):
            of_inputs = zip(self.inputs, self.propagate(relevance), self.dividing, strict=True)
            return {"bias": arrived - sum(_total(x * share if divided else share) for x, share, divided in of_inputs)}
        by_bias, delivered = tf.zeros((), tf.float64), tf.zeros((), tf.float64)
        for term, quotient, z in self._fractions(relevance):
            bias = self._bias_of(term)
            kept = tf.zeros((), tf.float64) if bias is None else _total(quotient * bias)
            if term.spread:  # a part of both goes back to the inputs
                contributions = _total(quotient * z) - kept
                delivered += contributions + term.spread * (arrived - contributions)
                kept *= 1 - term.spread
                delivered += kept
            else:
                delivered += _total(quotient * z)
            by_bias += kept
        return {"bias": by_bias, "stabilizer": arrived - delivered}


def evaluate(affine, inputs, dtype):
    """z = apply(inputs, kernel) + bias, with the kernel read in ``dtype``."""
    kernel = affine.kernel_at(inputs, dtype)
    return _plus(affine.apply(inputs, kernel), affine.bias(inputs, kernel))


def transpose(affine, inputs, kernel, quotient):
    """The transpose of apply(., kernel) on ``quotient``: the gradient of a linear map, which depends on no activation."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        z = affine.apply(inputs, kernel)  # in a graph only the gradient is left of it
    return tape.gradient(z, inputs, output_gradients=quotient, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def _mapped(of_activation, inputs):
    # A sum that does not depend on the activations is the same for every sample.
    return [ones(x[:1]) for x in inputs] if of_activation is ones else [of_activation(x) for x in inputs]


def _plus(z, bias):
    return z if bias is None else z + bias


def _added(total, shares):
    return shares if total is None else [t + share for t, share in zip(total, shares, strict=True)]


def _total(t):
    return tf.reduce_sum(tf.cast(t, tf.float64))


def _graph():
    """The graph under construction, or None when running eagerly."""
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def _visible(graph, here):
    """Whether tensors of one graph can be used in another: it is that one, or lies around it."""
    while here is not None and here is not graph:
        here = getattr(here, "outer_graph", None)
    return here is graph


def _after(relevance):
    return contextlib.nullcontext() if tf.executing_eagerly() else tf.control_dependencies([relevance])
