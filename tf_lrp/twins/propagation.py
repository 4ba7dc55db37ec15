"""Relevance through an affine map, as a rule's formula says."""

from __future__ import annotations

import functools
import operator

import tensorflow as tf

from tf_lrp.affine import Affine
from tf_lrp.rules import identity
from tf_lrp.rules.stabilizer import floor


class Propagation:
    """One call of an affine map, z_j = sum_i a_i w_ij + b_j, and relevance back through it by a rule:

        R_i = sum_t c_t sum_p f_p(a_i) sum_j g_p(w_ij) R_j / stab(z_tj),    z_tj = sum_i sum_p f_p(a_i) g_p(w_ij) + h_t(b_j).

    Args:
        affine: `Affine`.
        rule: `Rule` with terms.
        inputs: list of the input tensors a.
        dtype: type in which the kernel is read.

    Attributes:
        z: the output of the map.
    """

    def __init__(self, affine, rule, inputs, dtype):
        self.affine, self.inputs = affine, inputs
        self.terms = rule.terms(nonnegative=False)
        self.kernel = affine.kernel_at(inputs, dtype)
        self.bias = affine.bias(inputs, self.kernel)
        self.z = plus(self.apply(identity, identity), self.bias)

    def propagate(self, relevance):
        """Relevance of the output (shaped like z) -> relevance of the inputs: a list of tensors shaped like them."""
        shares = []
        for term, quotient, z in self.quotients(relevance):
            shares += [self.shares(f, g, quotient) for f, g in term.numerators]
            if term.bias_factor:
                rest = relevance - quotient * (z if self.bias_of(term) is None else z - self.bias_of(term))
                shares.append(self.affine.distribute_evenly(self.inputs, self.kernel, term.bias_factor * rest))
        return [functools.reduce(operator.add, of_input) for of_input in zip(*shares, strict=True)]

    def quotients(self, relevance):
        """For each term: (the term, c_t R_j / stab(z_tj), z_tj)."""
        for term in self.terms:
            z = self.denominator(term)
            yield term, term.coefficient * term.stabilizer.divide(self.addressed(term, relevance), z), z

    def denominator(self, term):
        """z_tj = sum_i sum_p f_p(a_i) g_p(w_ij) + h_t(b_j)"""
        products = [self.apply(f, g) for f, g in term.parts]
        return plus(functools.reduce(operator.add, products), self.bias_of(term))

    def shares(self, f, g, quotient):
        """f(a_i) sum_j g(w_ij) q_j for each input: a list."""
        return [f(x) * share for x, share in zip(self.inputs, self.transpose(g, quotient), strict=True)]

    def apply(self, f, g):
        """sum_i f(a_i) g(w_ij)"""
        return self.affine.apply([f(x) for x in self.inputs], g(self.kernel))

    def transpose(self, g, quotient):
        """sum_j g(w_ij) q_j for each input: a list."""
        return Affine.transpose(self.affine, self.inputs, g(self.kernel), quotient)  # as the gradient of `apply`

    def bias_of(self, term):
        """h_t(b_j), or None where there is no bias."""
        return None if term.bias is None or self.bias is None else term.bias(self.bias)

    def addressed(self, term, relevance):
        """The relevance of the outputs that the term applies to, 0 elsewhere."""
        if term.where == "all":
            return relevance
        chosen = self.z > 0 if term.where == "positive" else self.z < 0
        return tf.where(chosen, relevance, tf.zeros((), relevance.dtype))

    def absorbed(self, relevance):
        """The relevance that does not reach the inputs, by cause and summed over the batch: dict of float64 scalars.

        Each term t of the rule has c_t R_j of an output to share, and hands on c_t R_j / stab(z_tj) of its z_tj - h_t(b_j).

        - "bias": sum_tj c_t R_j / stab(z_tj) h_t(b_j);
        - "zero_denominator": the shares c_t R_j of terms whose z_tj is 0, and R_j where no term applies to z_j = 0;
        - "stabilizer": what stab(z_tj) - z_tj keeps elsewhere;
        - "formula": R_j minus the shares of all terms, where coefficients do not add up to 1.

        All of them can be negative: a term with a negative coefficient gains what it does not hand on.
        """
        kept = dict.fromkeys(("bias", "zero_denominator", "stabilizer", "formula"), tf.zeros((), tf.float64))
        if any(term.shares is not None for term in self.terms):
            # The numerators do not add up to the denominators: the formula does not conserve relevance.
            return {**kept, "formula": _total(relevance) - sum(map(_total, self.propagate(relevance)))}
        for term, quotient, z in self.quotients(relevance):
            bias = self.bias_of(term)
            missing = term.coefficient * self.addressed(term, relevance) - quotient * z
            vanishes = tf.abs(z) < floor(z.dtype)
            of_term = {
                "bias": tf.zeros_like(z) if bias is None else quotient * bias,
                "zero_denominator": tf.where(vanishes, missing, tf.zeros_like(z)),
                "stabilizer": tf.where(vanishes, tf.zeros_like(z), missing),
            }
            for cause, lost in of_term.items():
                kept[cause] += (1 - term.bias_factor) * _total(lost)  # the rest goes back to the inputs
        shares = {"all": 0.0, "positive": 0.0, "negative": 0.0}
        for term in self.terms:
            shares[term.where] += term.coefficient
        kept["formula"] += (1 - shares["all"]) * _total(relevance)
        if shares["positive"] or shares["negative"]:
            at_zero, above, below = (
                _total(tf.where(chosen, relevance, tf.zeros_like(relevance)))
                for chosen in (self.z == 0, self.z > 0, self.z < 0)
            )
            kept["formula"] -= at_zero + shares["positive"] * above + shares["negative"] * below
            kept["zero_denominator"] += at_zero
        return kept


def evaluate(affine, inputs, dtype):
    """z = apply(inputs, kernel) + bias, with the kernel read in ``dtype``."""
    kernel = affine.kernel_at(inputs, dtype)
    return plus(affine.apply(inputs, kernel), affine.bias(inputs, kernel))


def plus(z, bias):
    """z + bias, where there is a bias."""
    if bias is None:
        return z
    if bias.shape.rank == 1 and bias.shape == z.shape[-1:] and z.shape.rank > 1:
        return tf.nn.bias_add(z, bias)  # which TensorFlow computes together with the convolution before it
    return z + bias


def _total(t):
    return tf.reduce_sum(tf.cast(t, tf.float64))
