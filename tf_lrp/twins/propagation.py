"""Relevance through an affine map by a rule's terms."""

from __future__ import annotations

import contextlib

import tensorflow as tf

from tf_lrp.rules import identity, ones
from tf_lrp.rules.stabilizer import floor
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
            addressed, sign = self._addressed(term, relevance), denominators.sign(term)
            if self.only_positive:
                sign = 1 if z is self.z else sign
            with _after(relevance):
                exact = self.cut_off and z is self.z
                vanishing = self.only_positive and sign > 0
                if self.divided:
                    quotient = addressed * term.stabilizer.kept(z, sign, exact, vanishing)
                else:
                    quotient = term.stabilizer.divide(addressed, z, sign, exact, vanishing)
            yield term, quotient if term.coefficient == 1 else term.coefficient * quotient, z

    def _addressed(self, term, relevance):
        """The relevance of the outputs that the term speaks for."""
        if term.where == "all" or self.only_positive:
            return relevance
        chosen = self.z > 0 if term.where == "positive" else self.z < 0
        return tf.where(chosen, relevance, tf.zeros((), relevance.dtype))

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
        """What is kept of the relevance, by cause and summed over the batch: dict of float64 scalars.

        Each term t of the rule has c_t R_j of an output to share, and hands on c_t R_j / stab(z_tj) of its z_tj - h(b_j).

        - "bias": sum_tj c_t R_j / stab(z_tj) h(b_j);
        - "zero_denominator": the shares c_t R_j of terms whose z_tj is 0, and R_j where no term speaks for z_j = 0;
        - "stabilizer": what stab(z_tj) - z_tj keeps elsewhere;
        - "formula": R_j less the shares of all terms, where coefficients do not add up to 1.

        All of them can be negative: a term with a negative coefficient gains what it does not hand on.
        """
        arrived = relevance * self.z if self.divided else relevance
        kept = dict.fromkeys(("bias", "zero_denominator", "stabilizer", "formula"), tf.zeros((), tf.float64))
        if any(term.shares is not None for term in self._terms()):
            # Numerators other than what the denominators sum: the formula does not conserve relevance.
            of_inputs = zip(self.inputs, self.propagate(relevance), self.dividing, strict=True)
            passed = sum(_total(x * share if divided else share) for x, share, divided in of_inputs)
            return {**kept, "formula": _total(arrived) - passed}
        for term, quotient, z in self._fractions(relevance):
            bias = self._bias_of(term)
            missing = term.coefficient * self._addressed(term, arrived) - quotient * z
            vanishes = tf.abs(z) < floor(z.dtype)
            of_term = {
                "bias": tf.zeros_like(z) if bias is None else quotient * bias,
                "zero_denominator": tf.where(vanishes, missing, tf.zeros_like(z)),
                "stabilizer": tf.where(vanishes, tf.zeros_like(z), missing),
            }
            for cause, lost in of_term.items():
                kept[cause] += (1 - term.spread) * _total(lost)  # the rest goes back to the inputs
        shares = {"all": 0.0, "positive": 0.0, "negative": 0.0}
        for term in self._terms():
            shares[term.where] += term.coefficient
        kept["formula"] += (1 - shares["all"]) * _total(arrived)
        if shares["positive"] or shares["negative"]:
            at_zero = _total(tf.where(self.z == 0, arrived, tf.zeros_like(arrived)))
            above = _total(tf.where(self.z > 0, arrived, tf.zeros_like(arrived)))
            below = _total(tf.where(self.z < 0, arrived, tf.zeros_like(arrived)))
            kept["formula"] -= at_zero + shares["positive"] * above + shares["negative"] * below
            kept["zero_denominator"] += at_zero
        return kept


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
