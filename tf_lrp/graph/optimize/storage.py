"""Optimizations of what is stored between the forward and the backward pass."""

from __future__ import annotations

from dataclasses import replace

from tf_lrp.graph.optimize.network import propagates


def recompute_denominators(plans, network):
    """Kernels and denominators are computed when relevance arrives.

    Assumes nothing. Saves memory: a graph would otherwise compute them in the forward pass, and hold the mapped kernels and the
    denominators of all layers at once. Kernels are mapped once in each of the two passes; scales and shifts, which have one
    entry per channel, are stored.
    """
    return _with(plans, network, recompute=True)


def share_denominators(plans, network):
    """The backward passes of several targets share the denominators, which the first of them computes.

    Assumes nothing: a denominator depends on activations and weights alone. Saves their computation for all other targets.
    """
    return _with(plans, network, share_denominators=True)


def scale_outputs(plans, network):
    """The scale of a folded batch normalization is multiplied with the output instead of the kernel.

    Assumes a layer whose kernel is larger than its outputs for a batch of usual size (`Affine.factors` decides). Saves the
    multiplication of the kernel, in both passes.
    """
    return _with(plans, network, scale_outputs=True)


def _with(plans, network, **changes):
    """The plans, with the changes where a twin propagates by terms."""
    return [replace(plan, **changes) if propagates(node, rule) else plan for node, _, rule, plan in network.steps(plans)]
