"""Relevance through an affine map by a rule's terms."""

from __future__ import annotations

import tensorflow as tf

from tf_lrp.rules import identity, ones


def fractions(affine, rule, inputs, kernel, bias, z, relevance, nonnegative):
    """For each term of the rule: the relevance divided by its denominator.

    Args:
        affine: `Affine`.
        rule: `Rule` with terms.
        inputs: list of the input tensors.
        kernel, bias: of the affine map (bias may be None).
        z: its output, apply(inputs, kernel) + bias.
        relevance: relevance of the output, shaped like z.
        nonnegative: whether the inputs are known to be >= 0.

    Yields:
        (term, mapped kernels, quotient, term's z, term's bias or None); the quotient is shaped like z.
    """
    for term in rule.terms(nonnegative):
        kernels = [of_kernel(kernel) for _, of_kernel in term.parts]
        term_bias = term.bias(bias) if term.bias is not None and bias is not None else None
        if term.parts == ((identity, identity),) and (term_bias is bias):
            term_z = z
        else:
            term_z = sum(
                affine.apply(_mapped(of_activation, inputs), mapped_kernel)
                for (of_activation, _), mapped_kernel in zip(term.parts, kernels, strict=True)
            )
            term_z = term_z if term_bias is None else term_z + term_bias
        addressed = relevance
        if term.where != "all":
            addressed = tf.where(z > 0 if term.where == "positive" else z < 0, relevance, tf.zeros((), relevance.dtype))
        quotient = term.stabilizer.divide(addressed, term_z)
        yield term, kernels, quotient if term.coefficient == 1 else term.coefficient * quotient, term_z, term_bias


def _mapped(of_activation, inputs):
    # A sum that does not depend on the activations is the same for every sample.
    return [ones(x[:1]) for x in inputs] if of_activation is ones else [of_activation(x) for x in inputs]


def propagate(affine, rule, inputs, kernel, bias, z, relevance, nonnegative):
    """Relevance of the inputs: a list of tensors shaped like them. Arguments as in `fractions`."""
    total = None
    parts = fractions(affine, rule, inputs, kernel, bias, z, relevance, nonnegative)
    for term, kernels, quotient, term_z, term_bias in parts:
        if term.spread:
            contributions = term_z if term_bias is None else term_z - term_bias
            leftover = affine.spread(inputs, kernel, term.spread * (relevance - quotient * contributions))
            total = leftover if total is None else [t + share for t, share in zip(total, leftover, strict=True)]
        for (of_activation, _), mapped_kernel in zip(term.parts, kernels, strict=True):
            shares = transpose(affine, inputs, mapped_kernel, quotient)
            if of_activation is not ones:
                shares = [of_activation(x) * share for x, share in zip(inputs, shares, strict=True)]
            total = shares if total is None else [t + share for t, share in zip(total, shares, strict=True)]
    return total


def transpose(affine, inputs, kernel, quotient):
    """The transpose of apply(., kernel) on ``quotient``: the gradient of a linear map, which depends on no activation."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        z = affine.apply(inputs, kernel)  # in a graph only the gradient is left of it
    return tape.gradient(z, inputs, output_gradients=quotient, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def absorbed(affine, rule, inputs, kernel, bias, z, relevance, nonnegative):
    """What biases and stabilizers keep of the relevance, summed over the batch: dict of scalars.

    float64; "bias" is sum_j quotient_j h(b_j); "stabilizer" what epsilon and vanished denominators keep. Both can be negative.
    """
    by_bias, delivered = tf.zeros((), tf.float64), tf.zeros((), tf.float64)
    for term, _, quotient, term_z, term_bias in fractions(affine, rule, inputs, kernel, bias, z, relevance, nonnegative):
        kept = tf.zeros((), tf.float64) if term_bias is None else _sum(quotient * term_bias)
        if term.spread:  # a part of both goes back to the inputs
            contributions = _sum(quotient * term_z) - kept
            delivered += contributions + term.spread * (_sum(relevance) - contributions)
            kept *= 1 - term.spread
            delivered += kept
        else:
            delivered += _sum(quotient * term_z)
        by_bias += kept
    return {"bias": by_bias, "stabilizer": _sum(relevance) - delivered}


def _sum(t):
    return tf.reduce_sum(tf.cast(t, tf.float64))
