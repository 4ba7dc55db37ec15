"""The rules of layer-wise relevance propagation, each as close to its formula as code can be.

A rule says how the relevance R_j of a layer's outputs is shared among its inputs a_i. All rules here have one form,

    R_i = sum over terms t of  c_t  sum_j  sum_p  f_p(a_i) g_p(w_ij) / stab(z_tj)  R_j,
    z_tj = sum_i sum_p f_p(a_i) g_p(w_ij) + h(b_j),

(`Sign` alone has other pairs above the line than below it), so a rule is a list of `Term`s: a coefficient c, pairs of maps
(f, g) of the activation and the kernel, a map h of the bias and a `Stabilizer` (1e-6 for the rules that split signs, as in
zennit; none for z, w^2, flat and z-box). It knows nothing of the layer: what a_i w_ij means there is the layer's affair.

Sources:
    [1] Bach et al. 2015, "On pixel-wise explanations for non-linear classifier decisions by LRP", PLOS ONE 10(7).
    [2] Montavon et al. 2017, "Explaining nonlinear classification decisions with deep Taylor decomposition".
    [3] Montavon et al. 2019, "Layer-wise relevance propagation: an overview".
    [4] Lapuschkin et al. 2017, "Understanding and comparing deep neural networks for age and gender classification".
    [5] VisLRPDesigner user guide, equation 2.1 and table 2.1.
    [6] Arras et al. 2017, "Explaining recurrent neural network predictions in sentiment analysis".
    [7] Ali et al. 2022, "XAI for transformers: better explanations through conservative propagation".
    [8] Achtibat et al. 2024, "AttnLRP: attention-aware layer-wise relevance propagation for transformers".
    [9] Gumpfer et al. 2023, "SIGNed explanations: unveiling relevant features by reducing bias", Information Fusion 99.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import tensorflow as tf

from tf_lrp.rules.stabilizer import Stabilizer


# Maps of activations, kernels and biases. They are plain functions so that a term can be read and compared.
def identity(t):
    return t


def positive(t):
    return tf.maximum(t, 0)


def negative(t):
    return tf.minimum(t, 0)


def square(t):
    return tf.square(t)


def ones(t):
    return tf.ones_like(t)


@dataclass(frozen=True)
class Favouring:
    """t + gamma t+ or t + gamma t-, by ``of``: `positive` or `negative`."""

    gamma: float
    of: Callable

    def __call__(self, t):
        return t + self.gamma * self.of(t)


@dataclass(frozen=True)
class Term:
    """One fraction of a rule's formula.

    Attributes:
        parts: pairs (activation map, kernel map) whose products a_i w_ij add up to the numerators and to z.
        shares: the pairs of the numerators, where they are others than those that add up to z; such a term does not conserve
            relevance.
        coefficient: float, the weight of the fraction.
        bias: map of the bias added to z, or None to leave the bias out.
        stabilizer: of the denominator z.
        bias_factor: float, the part of what bias and stabilizer keep that is shared evenly among the inputs of each output.
        where: which outputs j the term speaks for, by the sign of the layer's pre-activation z_j = sum_i a_i w_ij + b_j:
            "all", "positive" (z_j > 0) or "negative" (z_j < 0).
    """

    parts: tuple[tuple[Callable, Callable], ...]
    coefficient: float = 1.0
    bias: Callable | None = None
    stabilizer: Stabilizer = field(default_factory=Stabilizer)
    where: str = "all"
    bias_factor: float = 0.0
    shares: tuple[tuple[Callable, Callable], ...] | None = None

    @property
    def numerators(self):
        """Pairs (activation map, kernel map) of the numerators."""
        return self.parts if self.shares is None else self.shares


def signed_parts(same, opposite, nonnegative):
    """(a+, same), (a-, opposite): an input of mixed sign is split; one known to be non-negative is its own a+."""
    if nonnegative:
        return ((identity, same),)
    return ((positive, same), (negative, opposite))


@dataclass(frozen=True)
class Rule:
    """Base of all rules: frozen, comparable, and told apart by their class and parameters."""

    def __post_init__(self):
        for f in fields(self):
            value: Any = getattr(self, f.name)
            if isinstance(value, np.generic):
                value = value.item()  # JSON holds Python's own numbers
                object.__setattr__(self, f.name, value)
            if isinstance(f.default, bool) and not isinstance(value, bool):
                raise TypeError(f"{type(self).__name__} needs True or False as {f.name}, got {value!r}.")
            if isinstance(f.default, float) and not (isinstance(value, Stabilizer) and f.name.endswith("stabilizer")):
                if not isinstance(value, numbers.Real) or isinstance(value, bool):
                    raise TypeError(f"{type(self).__name__} needs a number as {f.name}, got {value!r}.")
                if not _is_finite(value) and f.name not in ("epsilon", "gamma"):
                    raise ValueError(f"{type(self).__name__} needs a finite {f.name}, got {f.name}={value!r}.")
            if f.name in ("epsilon", "gamma") and not (_is_finite(value) and value >= 0):
                raise ValueError(f"{type(self).__name__} needs a finite {f.name} >= 0, got {f.name}={value!r}.")
            if f.name == "stabilizer":
                _stabilizer(value)

    def terms(self, nonnegative: bool) -> tuple[Term, ...]:
        """The fractions of the formula.

        Args:
            nonnegative: whether the layer's inputs are known to be >= 0, so that a- need not be computed.
        """
        raise NotImplementedError(f"{type(self).__name__} has no terms")

    def __str__(self):
        shown = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if getattr(self, f.name) != f.default]
        return f"{type(self).__name__}({', '.join(shown)})"


def _is_finite(value):
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False


def _stabilizer(value):
    """A number stands for the plain additive stabilizer."""
    return value if isinstance(value, Stabilizer) else Stabilizer(float(value))


@dataclass(frozen=True)
class Epsilon(Rule):
    """LRP-epsilon: R_i = sum_j a_i w_ij / (z_j + epsilon sign(z_j)) R_j, with z_j = sum_i a_i w_ij + b_j. [1]

    The share of the bias and of epsilon is dropped, or given evenly to the N inputs of j: with ``bias_factor`` 1,
    R_i = sum_j (a_i w_ij + (b_j + epsilon sign(z_j)) / N) / (z_j + epsilon sign(z_j)) R_j conserves relevance. [6]

    Args:
        epsilon: float >= 0, in units of the pre-activation.
        bias: False leaves b_j out of the denominator (iNNvestigate's IgnoreBias).
        clip, norm_scale: other forms of the stabilizer, see `Stabilizer`.
        bias_factor: float from 0 to 1, the part of what bias and stabilizer keep that goes to the inputs.
    """

    epsilon: float = 1e-6
    bias: bool = True
    clip: bool = False
    norm_scale: bool = False
    bias_factor: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.bias_factor <= 1:
            raise ValueError(f"Epsilon needs a bias_factor from 0 to 1, got bias_factor={self.bias_factor!r}.")

    def terms(self, nonnegative):
        stabilizer = Stabilizer(self.epsilon, self.clip, self.norm_scale)
        bias = identity if self.bias else None
        return (Term(((identity, identity),), bias=bias, stabilizer=stabilizer, bias_factor=self.bias_factor),)


@dataclass(frozen=True)
class ZRule(Rule):
    """LRP-z, also LRP-0: R_i = sum_j a_i w_ij / z_j R_j, with z_j = sum_i a_i w_ij + b_j. [1]

    Only the numerical floor keeps z_j from zero: where z_j vanishes, its relevance is dropped.

    Args:
        bias: False leaves b_j out of the denominator.
        stabilizer: float or `Stabilizer` of the denominator.
    """

    bias: bool = True
    stabilizer: float | Stabilizer = 0.0

    def terms(self, nonnegative):
        bias = identity if self.bias else None
        return (Term(((identity, identity),), bias=bias, stabilizer=_stabilizer(self.stabilizer)),)


@dataclass(frozen=True)
class AlphaBeta(Rule):
    """LRP-alpha-beta: R_i = sum_j (alpha z_ij+ / z_j+  -  beta z_ij- / z_j-) R_j. [1]

    z_ij = a_i w_ij is split by its sign, z_j+ = sum_i z_ij+ + max(b_j, 0), z_j- = sum_i z_ij- + min(b_j, 0). Inputs of
    mixed sign are split exactly: z_ij+ = a_i+ w_ij+ + a_i- w_ij-. A denominator of zero contributes 0.

    Args:
        alpha: float >= 1.
        beta: float >= 0, with alpha - beta = 1.
        bias: False leaves b_j out of both denominators.
        stabilizer: float or `Stabilizer` of both denominators; 0 is the bare formula.

    Raises:
        ValueError: if alpha - beta != 1, alpha < 1 or beta < 0.
    """

    alpha: float = 2.0
    beta: float = 1.0
    bias: bool = True
    stabilizer: float | Stabilizer = 1e-6

    def __post_init__(self):
        super().__post_init__()
        if not (self.alpha >= 1 and self.beta >= 0 and abs(self.alpha - self.beta - 1) <= 1e-9):
            raise ValueError(
                f"AlphaBeta needs alpha - beta = 1 with alpha >= 1 and beta >= 0, got alpha={self.alpha!r}, beta={self.beta!r}."
            )

    def terms(self, nonnegative):
        stabilizer = _stabilizer(self.stabilizer)
        excitation = Term(
            signed_parts(positive, negative, nonnegative), self.alpha, positive if self.bias else None, stabilizer
        )
        inhibition = Term(
            signed_parts(negative, positive, nonnegative), -self.beta, negative if self.bias else None, stabilizer
        )
        return (excitation, inhibition) if self.beta else (excitation,)


@dataclass(frozen=True)
class ZPlus(Rule):
    """LRP-z+: R_i = sum_j z_ij+ / z_j+ R_j, which is `AlphaBeta(1, 0)`. [2]

    Args:
        bias: False leaves max(b_j, 0) out of the denominator.
        stabilizer: float or `Stabilizer` of the denominator; 0 is the bare formula.
    """

    bias: bool = True
    stabilizer: float | Stabilizer = 1e-6

    def terms(self, nonnegative):
        return AlphaBeta(1.0, 0.0, self.bias, self.stabilizer).terms(nonnegative)


@dataclass(frozen=True)
class Gamma(Rule):
    """LRP-gamma: positive contributions count (1 + gamma) times. [3]

    R_i = sum_j a_i (w_ij + gamma w_ij+) / (sum_i a_i (w_ij + gamma w_ij+) + b_j + gamma b_j+) R_j for a_i >= 0, z_j > 0.
    In general, with W+ = w + gamma max(w, 0), W- = w + gamma min(w, 0), the contributions are a_i+ W+ + a_i- W- for an
    output with z_j > 0 and a_i+ W- + a_i- W+ for one with z_j < 0 (where the negative ones are favoured); an output with
    z_j = 0 passes nothing. The sign is that of the pre-activation with its bias, also for ``bias=False``.

    Args:
        gamma: float >= 0.
        bias: False leaves the bias out of the denominators.
        stabilizer: float or `Stabilizer` of the denominators; 0 is the bare formula.
    """

    gamma: float = 0.25
    bias: bool = True
    stabilizer: float | Stabilizer = 1e-6

    def terms(self, nonnegative):
        favoured, others = Favouring(self.gamma, positive), Favouring(self.gamma, negative)
        stabilizer = _stabilizer(self.stabilizer)
        return tuple(
            Term(signed_parts(same, opposite, nonnegative), 1.0, same if self.bias else None, stabilizer, where)
            for same, opposite, where in ((favoured, others, "positive"), (others, favoured, "negative"))
        )


@dataclass(frozen=True)
class WSquare(Rule):
    """LRP-w^2: R_i = sum_j w_ij^2 / sum_i w_ij^2 R_j, over the inputs i inside the image. [2]

    Args:
        bias: True adds b_j^2 to the denominator (as zennit does); the paper has none.
        stabilizer: float or `Stabilizer` of the denominator.
    """

    bias: bool = False
    stabilizer: float | Stabilizer = 0.0

    def terms(self, nonnegative):
        return (Term(((ones, square),), bias=square if self.bias else None, stabilizer=_stabilizer(self.stabilizer)),)


@dataclass(frozen=True)
class Flat(Rule):
    """LRP-flat: R_i = sum_j R_j / n_j, with n_j the number of inputs of j inside the image. [4]

    Args:
        bias: True counts the bias as one more input.
        stabilizer: float or `Stabilizer` of the denominator n_j.
    """

    bias: bool = False
    stabilizer: float | Stabilizer = 0.0

    def terms(self, nonnegative):
        return (Term(((ones, ones),), bias=ones if self.bias else None, stabilizer=_stabilizer(self.stabilizer)),)


@dataclass(frozen=True)
class ZBox(Rule):
    """LRP-z^B, for inputs known to lie in a box: low_i <= a_i <= high_i. [2]

    R_i = sum_j (a_i w_ij - low_i w_ij+ - high_i w_ij-) / sum_i (a_i w_ij - low_i w_ij+ - high_i w_ij-) R_j.
    The bias cancels (b - b+ - b- = 0), so there is no choice to make about it.

    Args:
        low, high: smallest and largest possible value of the layer's input: floats, or nested sequences or arrays that
            broadcast against it, such as one value per channel. None (both) takes each sample's own smallest and
            largest value, the tightest box known without knowing how the inputs were prepared.
        stabilizer: float or `Stabilizer` of the denominator.

    Raises:
        ValueError: if only one bound is given, or a low bound is not below its high bound.
    """

    low: float | tuple | None = None
    high: float | tuple | None = None
    stabilizer: float | Stabilizer = 0.0

    def __post_init__(self):
        super().__post_init__()
        if (self.low is None) != (self.high is None):
            raise ValueError(f"ZBox needs both bounds or none, got low={self.low!r}, high={self.high!r}.")
        if self.low is None:
            return
        low, high = _numbers(self.low), _numbers(self.high)
        if not (
            low is not None and high is not None and np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()
        ):
            raise ValueError(f"ZBox needs finite bounds with low < high, got low={self.low!r}, high={self.high!r}.")
        # Tuples keep the rule hashable, comparable and JSON-ready.
        object.__setattr__(self, "low", _nested_tuple(low.tolist()))
        object.__setattr__(self, "high", _nested_tuple(high.tolist()))

    def terms(self, nonnegative):
        def above(bound, extreme):
            def less_bound(a):
                if bound is None:
                    return a - extreme(a, axis=list(range(1, a.shape.rank)), keepdims=True)
                return a - tf.broadcast_to(tf.constant(bound, a.dtype), tf.shape(a))

            return less_bound

        # a w - low w+ - high w- = (a - low) w+ + (a - high) w-: exactly 0 where an input lies on its bound, as all of them
        # do in a constant picture whose bounds are its own.
        parts = ((above(self.low, tf.reduce_min), positive), (above(self.high, tf.reduce_max), negative))
        return (Term(parts, stabilizer=_stabilizer(self.stabilizer)),)


def _numbers(values):
    """As a float array; None if they are none."""
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        return None
    return array.astype(float) if array.dtype.kind in "iuf" else None


def _nested_tuple(values):
    return tuple(_nested_tuple(v) for v in values) if isinstance(values, list) else values


@dataclass(frozen=True)
class Sign(Rule):
    """LRP-SIGN, for the first layer: the input counts by its sign alone, not by its size. [9]

    R_i = s(a_i) sum_j w_ij / z_j R_j, with s(a) = +1 where a >= mu and -1 where a < mu, z_j = sum_i a_i w_ij + b_j.

    It is `ZRule` (with ``stabilizer``, `Epsilon`) with the factor a_i replaced by s(a_i): an input of 0, a black pixel, takes
    its share like any other. What LRP-z gives is therefore not multiplied by s(a_i), but divided by |a_i| (for mu = 0).
    Relevance is not conserved, and is in units of the score by units of the input; a layer without inputs of the model
    rarely wants this rule: ``Preset([(select.first(1), Sign()), (select.all(), Epsilon())])``.

    Args:
        mu: what separates inputs that are there from those that are not, in units of the layer's own input (after the
            model's `Rescaling`, if it has one): a finite number, or nested sequences or an array that broadcast against it,
            such as one value per channel.
        bias: False leaves b_j out of the denominator.
        stabilizer: float or `Stabilizer` of the denominator.
    """

    mu: float | tuple = 0
    bias: bool = True
    stabilizer: float | Stabilizer = 0.0

    def __post_init__(self):
        super().__post_init__()
        mu = _numbers(self.mu)
        if mu is None or not np.isfinite(mu).all():
            raise ValueError(f"Sign needs a finite mu, a number or an array that fits the input, got mu={self.mu!r}.")
        object.__setattr__(self, "mu", _nested_tuple(mu.tolist()))

    def terms(self, nonnegative):
        def sign(a):
            one = tf.ones((), a.dtype)
            return tf.where(a >= tf.constant(self.mu, a.dtype), one, -one)

        whole = ((identity, identity),)
        bias = identity if self.bias else None
        return (Term(whole, bias=bias, stabilizer=_stabilizer(self.stabilizer), shares=((sign, identity),)),)


@dataclass(frozen=True)
class Unified(Rule):
    """The ten-parameter formula that holds the classic rules as special cases. [5]

    R_i = sum_j [ alpha N_ij / (epsilon + sum_i N_ij) - beta M_ij / (epsilon + sum_i M_ij) ] R_j,
    N_ij = (theta0 + theta1 a_i) (gamma0 + gamma1 w_ij + gamma1p w_ij+ + gamma1n w_ij- + gamma2 w_ij^2).

    epsilon takes the sign of its denominator. The bias joins the denominators through the weights' own terms,
    theta1 (gamma1 b + gamma1p b+ + gamma1n b-), so that each special case is the named rule to the last digit
    (the sign-split ones for inputs >= 0):

    =============  ==========================================================
    Epsilon        gamma1 = 1, epsilon
    ZPlus          gamma1p = 1
    AlphaBeta      alpha, beta; gamma1p = 1; m = (0, 0, 0, 1, 0)
    Gamma          gamma1 = 1, gamma1p = gamma            (for z_j > 0)
    WSquare        theta0 = 1, theta1 = 0, gamma2 = 1
    Flat           theta0 = 1, theta1 = 0, gamma0 = 1
    =============  ==========================================================

    Args:
        alpha, beta: floats, the weights of the two fractions (free: no constraint joins them here).
        epsilon: float >= 0.
        theta0, theta1: floats, the effect of the activation.
        gamma0, gamma1, gamma1p, gamma1n, gamma2: floats, the effect of the weight in N.
        m: five floats (gamma0, gamma1, gamma1p, gamma1n, gamma2) for M, or None for those of N.
        bias: False leaves the bias out of the denominators.
    """

    alpha: float = 1.0
    beta: float = 0.0
    epsilon: float = 0.0
    theta0: float = 0.0
    theta1: float = 1.0
    gamma0: float = 0.0
    gamma1: float = 0.0
    gamma1p: float = 0.0
    gamma1n: float = 0.0
    gamma2: float = 0.0
    m: tuple[float, float, float, float, float] | None = None
    bias: bool = True

    def __post_init__(self):
        super().__post_init__()
        if self.m is not None:
            m = _numbers(self.m)
            if m is None or m.shape != (5,) or not np.isfinite(m).all():
                raise ValueError(
                    f"Unified needs m = (gamma0, gamma1, gamma1p, gamma1n, gamma2) of five numbers, all finite, got {self.m!r}."
                )
            object.__setattr__(self, "m", tuple(m.tolist()))
        n = (self.gamma0, self.gamma1, self.gamma1p, self.gamma1n, self.gamma2)
        if not any(n) or not (self.theta0 or self.theta1):
            raise ValueError(
                "Unified needs at least one of theta0, theta1 and one of gamma0, gamma1, gamma1p, gamma1n, gamma2 to be "
                f"different from 0, got {self}: every contribution would vanish."
            )

    def terms(self, nonnegative):
        def effect_of_activation(a):
            return self.theta0 + self.theta1 * a

        activation = ones if (self.theta0, self.theta1) == (1, 0) else effect_of_activation
        n = (self.gamma0, self.gamma1, self.gamma1p, self.gamma1n, self.gamma2)

        def fraction(gammas, coefficient):
            g0, g1, g1p, g1n, g2 = gammas

            def kernel(w):
                return g0 + g1 * w + g1p * positive(w) + g1n * negative(w) + g2 * square(w)

            def bias(b):
                return self.theta1 * (g1 * b + g1p * positive(b) + g1n * negative(b))

            parts = ((activation, kernel),)
            return Term(parts, coefficient, bias if self.bias else None, Stabilizer(self.epsilon))

        terms = [fraction(n, self.alpha)]
        if self.beta:
            terms.append(fraction(self.m or n, -self.beta))
        return tuple(terms)


@dataclass(frozen=True)
class Pass(Rule):
    """R_i = R_i: relevance goes through an element-wise layer unchanged; input and output have one shape."""


@dataclass(frozen=True)
class Stop(Rule):
    """R_i = 0: relevance ends here. Masks, gates and what depends on no input of the model have this rule."""


@dataclass(frozen=True)
class SignalTakesAll(Rule):
    """For a product of a signal and a gate, and for attention: the signal takes all, the gate (the weights) none. [6, 7]

    Where no factor looks more like a gate than another, they share evenly.
    """


@dataclass(frozen=True)
class Uniform(Rule):
    """For a product of branches, and for attention: each factor takes an equal share. [8]

    R_a = R_b = R / 2 for a * b; for a matrix product each factor takes half by LRP-z,
    R_a[i, k] = 1/2 sum_j a_ik b_kj / z_ij R_ij.
    """


@dataclass(frozen=True)
class Taylor(Rule):
    """For softmax: the first-order Taylor decomposition R_i = x_i (R_i - s_i sum_j R_j). [8]

    Its zeroth-order term is dropped, so it does not conserve relevance.
    """


@dataclass(frozen=True)
class WinnerTakesAll(Rule):
    """For max-pooling and maximum: the largest input takes the relevance of its output.

    Args:
        ties: "first" gives it to the first of equals in row-major order (as TensorFlow's gradient does), "share" splits
            it evenly among them (as the LRP Toolbox does).
    """

    ties: str = "first"

    def __post_init__(self):
        super().__post_init__()
        if self.ties not in ("first", "share"):
            raise ValueError(f'WinnerTakesAll needs ties="first" or ties="share", got ties={self.ties!r}.')
