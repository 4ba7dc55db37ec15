"""Relevance through an affine map by an optimized plan: the same numbers as the formula's, up to rounding, for less work."""

from __future__ import annotations

import contextlib
import functools

import tensorflow as tf

from tf_lrp.affine import native
from tf_lrp.affine.elementwise import channel_vectors_in
from tf_lrp.rules import identity, ones
from tf_lrp.rules.stabilizer import divide_stable, floor, margin, never_zero
from tf_lrp.twins.plan import DEFAULT_PLAN, TermPlan
from tf_lrp.twins.propagation import Propagation, plus

#: Entries of a kernel up to which it is held from the forward pass to the backward pass where nothing is traced.
_HELD = 2**22


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
        spread = any(term.bias_factor for term in self.terms)
        with self._once():
            self.folds = plan.fold_terms and not spread and affine.is_smaller(self.kernel, inputs)
            self.bias = affine.bias(inputs, self.kernel)
            z = self._forward()
            self.z = tf.nn.relu(z) if plan.clamp_output else z
            self._stabilizes = self._adds_epsilon_with_bias()

    def _forward(self):
        if self.affine.fan_in(self.kernel) <= self.plan.split_above:
            return plus(self.apply(identity, identity), self.bias)
        self._stored = tuple((_graph(), z) for z in self._computed(self.plans))
        z = _total(z if self._direction(plan) > 0 else -z for plan, (_, z) in zip(self.plans, self._stored, strict=True))
        return z if self.terms[0].bias is not None else plus(z, self.bias)

    # -- the steps of the formula -------------------------------------------------------------------------------------

    def propagate(self, relevance):
        with self._after(relevance), self._once():
            if any(term.bias_factor for term in self.terms):
                return super().propagate(relevance)
            shares = self._folded_shares(relevance) if self.folds else self._shares(relevance)
            products = [self.multiply(f, of_inputs) for f, of_inputs in shares]
            return [_total(of_input) for of_input in zip(*products, strict=True)]

    def _shares(self, relevance):
        """Pairs (map f of the activations, what is multiplied by f(a_i): one tensor for each input)."""
        shares = {}
        for term, quotient, _ in self.quotients(relevance):
            for f, g in term.numerators:
                shares.setdefault(f, []).append(self.transpose(g, quotient))
        return [(f, [_total(of_input) for of_input in zip(*each, strict=True)]) for f, each in shares.items()]

    def _folded_shares(self, relevance):
        """As `_shares`, with the coefficients in the kernels, and all terms with the same maps of the activations at once."""
        found, quotients = [], [quotient for quotient, _ in self._divided(relevance)]
        for group in _alike([term.numerators for term in self.terms]):
            parts = list(zip(*(self.terms[t].numerators for t in group), strict=True))
            factors = [self.terms[t].coefficient * self._direction(self.plans[t]) for t in group]
            kernels = [[self._weights(g, c) for (_, g), c in zip(part, factors, strict=True)] for part in parts]
            shares = self.affine.transpose_sums(self.inputs, kernels, [quotients[t] for t in group])
            found += [(part[0][0], of_part) for part, of_part in zip(parts, shares, strict=True)]
        return found

    def quotients(self, relevance):
        for term, (quotient, z) in zip(self.terms, self._divided(relevance), strict=True):
            yield term, quotient if term.coefficient == 1 else term.coefficient * quotient, z

    def _divided(self, relevance):
        """For each term: (R_j / stab(z_tj), z_tj or what `_denominators` has in its place), both times the `_direction`."""
        for plan, z in zip(self.plans, self._denominators(), strict=True):
            term, is_output = plan.term, z is self.z
            sign = 1 if is_output and self.plan.zero_below_zero else plan.sign * self._direction(plan)
            known = {
                "sign": sign,
                "exact": is_output and self.plan.clamp_output,
                "vanishing": self.plan.zero_below_zero and sign > 0,
            }
            addressed = self.addressed(term, relevance)
            if self._stabilizes and self._is_computed(plan):
                yield addressed / z, z
            elif self.plan.grad_is_ratio:
                yield addressed * ratio(term.stabilizer, z, **known), z
            else:
                yield divide(term.stabilizer, addressed, z, **known), z

    def shares(self, f, g, quotient):
        return self.multiply(f, self.transpose(g, quotient))

    def multiply(self, f, shares):
        """f(a_i) times the share of each input, where R_i rather than R_i / a_i is handed on: a list."""
        if f is ones:
            return list(shares)
        emitted = self.plan.emit_ratio or [False] * len(self.inputs)
        parts = zip(self.inputs, shares, emitted, strict=True)
        return [share if e else native.multiply(f(x), share) for x, share, e in parts]

    def apply(self, f, g, one_sample=False):
        kernel, scale = self._mapped_kernel(g)
        z = self.affine.apply([f(x[:1] if one_sample else x) for x in self.inputs], kernel)
        return z if scale is None else scale * z

    def transpose(self, g, quotient):
        kernel, scale = self._mapped_kernel(g)
        return self.affine.transpose(self.inputs, kernel, quotient if scale is None else scale * quotient)

    # -- what is stored and what is computed again --------------------------------------------------------------------

    def _mapped_kernel(self, g):
        """(g(kernel), scale or None), computed once in each pass; the backward pass has what the forward pass holds."""
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

    def _weights(self, g, factor):
        """factor * g(kernel), where terms are folded."""
        if factor == 1:
            return self._mapped_kernel(g)[0]
        if (g, factor) not in self._kernels:
            kernel = self._mapped_kernel(g)[0]
            self._kernels[g, factor] = -kernel if factor == -1 else factor * kernel
        return self._kernels[g, factor]

    @property
    def kernel(self):
        return self._mapped_kernel(identity)[0]

    @contextlib.contextmanager
    def _once(self):
        """In this context each kernel is computed once; scales and shifts of channels are those of the forward pass.

        Kernels are not held between the passes, because those of all layers would take memory at once. Where nothing is traced,
        each operation costs time whatever its size, so that small kernels are held.
        """
        graph, vectors = self._vectors
        with channel_vectors_in(vectors if _visible(graph, _graph()) else {}):
            yield
        if self.plan.recompute:
            self._kernels = {} if self._vectors[0] is not None else self._held()

    def _held(self):
        """The mapped kernels that are small."""
        return {g: kept for g, kept in self._kernels.items() if _kernel_of(kept).shape.num_elements() <= _HELD}

    def _denominators(self):
        """z_t of each term; or stab(z_t) of those that are computed, where epsilon is added with the bias."""
        here = _graph()
        if self._stored and all(_visible(graph, here) for graph, _ in self._stored):
            return [z for _, z in self._stored]
        computed = iter(self._computed([plan for plan in self.plans if self._is_computed(plan)], self._stabilizes))
        denominators = []
        for plan in self.plans:
            denominators.append(next(computed) if self._is_computed(plan) else self._denominator(plan, denominators))
        if self.plan.share_denominators:
            self._stored = tuple((here, z) for z in denominators)
        return denominators

    def _is_computed(self, plan):
        """Whether a denominator is computed from the inputs, as the formula says."""
        is_output = plan.denominator == "output" and (plan.term.bias is identity or self.bias is None)
        return not is_output and plan.denominator not in ("complement", "one_sample")

    def _direction(self, plan):
        """-1 where the denominator is computed with the opposite sign, so as to be positive, else 1."""
        return -1 if self.folds and plan.sign < 0 and self._is_computed(plan) else 1

    def _adds_epsilon_with_bias(self):
        """Whether stab(z_t) = z_t + epsilon is computed at once: epsilon is added to the bias, and no sign is checked.

        This spares two passes over tensors of the output's size.
        """
        plain = all(never_zero(s, self.z.dtype) and not s.clip for s in (plan.term.stabilizer for plan in self.plans))
        needs_z = self._stored or self.plan.grad_is_ratio or any(plan.denominator == "complement" for plan in self.plans)
        signs = all(plan.sign for plan in self.plans) and self.affine.keeps_signs(self.kernel)
        return self.folds and plain and signs and not needs_z

    def _computed(self, plans, stabilized=False):
        """The denominators z_t, or stab(z_t), times the `_direction`, of some terms."""
        if not self.folds:
            return [self.denominator(plan.term) for plan in plans]
        found = [None] * len(plans)
        for group in _alike([plan.term.parts for plan in plans]):
            parts = list(zip(*(plans[t].term.parts for t in group), strict=True))
            inputs = [[part[0][0](x) for x in self.inputs] for part in parts]
            signs = [self._direction(plans[t]) for t in group]
            kernels = [[self._weights(g, sign) for (_, g), sign in zip(part, signs, strict=True)] for part in parts]
            for t, z, sign in zip(group, self.affine.apply_sums(inputs, kernels), signs, strict=True):
                bias = self.bias_of(plans[t].term)
                bias = -bias if bias is not None and sign < 0 else bias
                if stabilized:
                    epsilon = margin(plans[t].term.stabilizer, z)
                    bias = epsilon if bias is None else bias + epsilon
                found[t] = plus(z, bias)
        return found

    def _denominator(self, plan, previous):
        """A denominator that is not computed from the inputs of all samples."""
        if plan.denominator == "output":
            return self.z
        if plan.denominator == "complement":
            return plan.factor * self.z - previous[-1]
        products = [self.apply(f, g, one_sample=True) for f, g in plan.term.parts]
        return plus(_total(products), self.bias_of(plan.term))

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


def _kernel_of(kept):
    return kept[0] if isinstance(kept, tuple) else kept


def _alike(parts):
    """Lists of the positions of terms that map the activations alike."""
    groups = {}
    for position, of_term in enumerate(parts):
        groups.setdefault(tuple(f for f, _ in of_term), []).append(position)
    return list(groups.values())


def _total(tensors):
    return functools.reduce(native.add, tensors)


def _graph():
    """The graph under construction, or None when running eagerly."""
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def _visible(graph, here):
    """Whether tensors of one graph can be used in another: it is that one, or lies around it."""
    while here is not None and here is not graph:
        here = getattr(here, "outer_graph", None)
    return here is graph
