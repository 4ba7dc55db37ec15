"""LRP written naively: every linear layer as a full matrix, every rule one formula for one neuron, in NumPy float64.

Nothing here is fast or clever; it exists to be read next to the papers and compared with the library, with which it
shares no code. A linear layer becomes `Linear`: the matrix w_ij of input i to output j, the bias b_j, and which pairs
are connected at all (a kernel tap of value zero is still a connection; a pair that no tap joins is not). Inputs and
outputs are numbered in row-major order of the channels-last array without its batch axis.

A rule is a function of one output neuron j,

    rule(a, w, b, connected, z) -> the share of R_j that each input i receives

with the inputs' activations `a`, the column `w` of the matrix, the scalar bias `b` (None for a layer without bias), the
booleans `connected`, and `z`, the neuron's pre-activation. `relevance` sums the shares over all neurons j.
"""

import itertools
from dataclasses import dataclass, replace
from functools import partial

import numpy as np


def sign(number):
    """The sign, with sign(0) = +1."""
    return -1.0 if number < 0 else 1.0


def positive(values):
    return np.maximum(values, 0.0)


def negative(values):
    return np.minimum(values, 0.0)


def ratio(numerators, denominator, stabilizer=0.0):
    """numerators / (denominator + stabilizer * sign(denominator)); a denominator of zero gives zero."""
    denominator = denominator + stabilizer * sign(denominator)
    return numerators / denominator if denominator != 0 else np.zeros_like(numerators)


# --- Linear layers as matrices ----------------------------------------------------------------------------------------


@dataclass
class Linear:
    """z_j = sum_i a_i w_ij + b_j."""

    weights: np.ndarray  # (inputs, outputs)
    bias: np.ndarray | None  # (outputs,), None for a layer without bias
    connected: np.ndarray  # (inputs, outputs), bool
    input_shape: tuple  # without the batch axis
    output_shape: tuple

    def forward(self, a):
        z = np.zeros((len(a), *self.output_shape))
        for n in range(len(a)):
            for j in range(self.weights.shape[1]):
                z[n].reshape(-1)[j] = np.sum(a[n].reshape(-1) * self.weights[:, j])
                if self.bias is not None:
                    z[n].reshape(-1)[j] += self.bias[j]
        return z

    def relevance(self, rule, a, output_relevance):
        """R_i = sum_j share_ij R_j."""
        preactivations = self.forward(a)
        input_relevance = np.zeros(a.shape)
        for n in range(len(a)):
            for j in range(self.weights.shape[1]):
                share = rule(
                    a[n].reshape(-1),
                    self.weights[:, j],
                    None if self.bias is None else self.bias[j],
                    self.connected[:, j],
                    preactivations[n].reshape(-1)[j],
                )
                input_relevance[n] += (share * output_relevance[n].reshape(-1)[j]).reshape(self.input_shape)
        return input_relevance


def _empty(input_shape, output_shape):
    size = int(np.prod(input_shape)), int(np.prod(output_shape))
    return np.zeros(size), np.zeros(size, dtype=bool)


def _position(index, shape):
    return int(np.ravel_multi_index(index, shape))


def _bias_everywhere(bias, output_shape):
    """The bias of every output neuron: the same one at all positions of a channel."""
    return None if bias is None else np.array([bias[index[-1]] for index in np.ndindex(*output_shape)])


def dense(kernel, bias, input_shape):
    """kernel (in, out), applied to the last axis at every position of the axes before it."""
    output_shape = (*input_shape[:-1], kernel.shape[1])
    weights, connected = _empty(input_shape, output_shape)
    for before in np.ndindex(*input_shape[:-1]):
        for c in range(kernel.shape[0]):
            for f in range(kernel.shape[1]):
                i, j = _position((*before, c), input_shape), _position((*before, f), output_shape)
                weights[i, j] = kernel[c, f]
                connected[i, j] = True
    return Linear(weights, _bias_everywhere(bias, output_shape), connected, input_shape, output_shape)


def window(size, kernel_size, stride, dilation, padding):
    """One axis of a sliding window: for each output position, the (tap, input position) pairs inside the input."""
    extent = (kernel_size - 1) * dilation + 1
    if padding == "valid":
        before, outputs = 0, (size - extent) // stride + 1
    elif padding == "same":
        outputs = -(-size // stride)
        before = max((outputs - 1) * stride + extent - size, 0) // 2
    elif padding == "causal":
        before, outputs = extent - 1, (size - 1) // stride + 1
    else:
        raise ValueError(padding)
    return [
        [
            (tap, out * stride + tap * dilation - before)
            for tap in range(kernel_size)
            if 0 <= out * stride + tap * dilation - before < size
        ]
        for out in range(outputs)
    ]


def windows(spatial, kernel_size, strides, dilations, padding):
    """The spatial output shape, and a list of (output index, [(tap index, input index), ...] in row-major order)."""
    axes = [window(*axis, padding) for axis in zip(spatial, kernel_size, strides, dilations, strict=True)]
    output = tuple(len(axis) for axis in axes)
    found = []
    for index in np.ndindex(*output):
        taps = itertools.product(*(axis[position] for axis, position in zip(axes, index, strict=True)))
        found.append((index, [(tuple(t for t, _ in tap), tuple(p for _, p in tap)) for tap in taps]))
    return output, found


def conv(kernel, bias, input_shape, strides, dilations, padding, groups=1):
    """kernel (*taps, channels in one group, filters)."""
    *kernel_size, channels, filters = kernel.shape
    spatial, found = windows(input_shape[:-1], kernel_size, strides, dilations, padding)
    output_shape = (*spatial, filters)
    weights, connected = _empty(input_shape, output_shape)
    per_group = filters // groups
    for index, taps in found:
        for tap, position in taps:
            for group in range(groups):
                for c in range(channels):
                    for f in range(group * per_group, (group + 1) * per_group):
                        i = _position((*position, group * channels + c), input_shape)
                        j = _position((*index, f), output_shape)
                        weights[i, j] = kernel[(*tap, c, f)]
                        connected[i, j] = True
    return Linear(weights, _bias_everywhere(bias, output_shape), connected, input_shape, output_shape)


def depthwise_conv(kernel, bias, input_shape, strides, dilations, padding):
    """kernel (*taps, channels, multiplier); output channel c * multiplier + m reads input channel c only."""
    *kernel_size, channels, multiplier = kernel.shape
    spatial, found = windows(input_shape[:-1], kernel_size, strides, dilations, padding)
    output_shape = (*spatial, channels * multiplier)
    weights, connected = _empty(input_shape, output_shape)
    for index, taps in found:
        for tap, position in taps:
            for c in range(channels):
                for m in range(multiplier):
                    i = _position((*position, c), input_shape)
                    j = _position((*index, c * multiplier + m), output_shape)
                    weights[i, j] = kernel[(*tap, c, m)]
                    connected[i, j] = True
    return Linear(weights, _bias_everywhere(bias, output_shape), connected, input_shape, output_shape)


def conv_transpose(kernel, bias, input_shape, strides, dilations, padding, output_padding=None):
    """kernel (*taps, filters, channels): input position p adds to outputs p * stride + tap * dilation - (cropped before)."""
    *kernel_size, filters, channels = kernel.shape
    spatial, cropped = [], []
    for axis, (size, taps, stride) in enumerate(zip(input_shape[:-1], kernel_size, strides, strict=True)):
        extra = None if output_padding is None else output_padding[axis]
        taps = (taps - 1) * dilations[axis] + 1
        if padding == "valid":
            spatial.append((size - 1) * stride + (max(taps, stride) if extra is None else taps + extra))
            cropped.append(0)
        else:
            spatial.append(size * stride if extra is None else (size - 1) * stride + taps % 2 + extra)
            cropped.append(max((size - 1) * stride + taps - spatial[-1], 0) // 2)
    output_shape = (*spatial, filters)
    weights, connected = _empty(input_shape, output_shape)
    for position in np.ndindex(*input_shape[:-1]):
        for tap in np.ndindex(*kernel_size):
            steps = zip(position, strides, tap, dilations, cropped, strict=True)
            index = tuple(p * s + t * d - c for p, s, t, d, c in steps)
            if all(0 <= k < size for k, size in zip(index, spatial, strict=True)):
                for c in range(channels):
                    for f in range(filters):
                        i, j = _position((*position, c), input_shape), _position((*index, f), output_shape)
                        weights[i, j] = kernel[(*tap, f, c)]
                        connected[i, j] = True
    return Linear(weights, _bias_everywhere(bias, output_shape), connected, input_shape, output_shape)


def average_pooling(input_shape, pool_size, strides, padding):
    """The mean over the inputs that the window finds inside the image: padding is not counted."""
    spatial, found = windows(input_shape[:-1], pool_size, strides, (1,) * len(pool_size), padding)
    output_shape = (*spatial, input_shape[-1])
    weights, connected = _empty(input_shape, output_shape)
    for index, taps in found:
        for _, position in taps:
            for c in range(input_shape[-1]):
                i, j = _position((*position, c), input_shape), _position((*index, c), output_shape)
                weights[i, j] = 1 / len(taps)
                connected[i, j] = True
    return Linear(weights, None, connected, input_shape, output_shape)


def global_average_pooling(input_shape):
    pooling = average_pooling(input_shape, input_shape[:-1], input_shape[:-1], "valid")
    return replace(pooling, output_shape=input_shape[-1:])


def batch_normalization(gamma, beta, mean, variance, epsilon, input_shape):
    """At inference one factor and one bias per channel: a diagonal matrix."""
    factor = gamma / np.sqrt(variance + epsilon)
    weights, connected = _empty(input_shape, input_shape)
    for index in np.ndindex(*input_shape):
        i = _position(index, input_shape)
        weights[i, i] = factor[index[-1]]
        connected[i, i] = True
    return Linear(weights, _bias_everywhere(beta - mean * factor, input_shape), connected, input_shape, tuple(input_shape))


def merged_after(linear, normalization):
    """A linear layer and the BatchNormalization after it as one: columns and bias scaled, then shifted."""
    factor = np.diag(normalization.weights)
    bias = normalization.bias + (0.0 if linear.bias is None else linear.bias * factor)
    return Linear(linear.weights * factor, bias, linear.connected, linear.input_shape, linear.output_shape)


def merged_before(normalization, linear):
    """A BatchNormalization and the linear layer after it as one: rows scaled, the shift carried into the bias.

    The bias then differs from position to position where the linear layer pads, as padding is not shifted.
    """
    weights = linear.weights * np.diag(normalization.weights)[:, None]
    bias = normalization.bias @ linear.weights + (0.0 if linear.bias is None else linear.bias)
    return Linear(weights, bias, linear.connected, linear.input_shape, linear.output_shape)


def linears_of(layer, input_shape):
    """The linear steps of one Keras layer, in order: two of them for a separable convolution, else one."""
    kind = type(layer).__name__
    weights = [np.asarray(w, dtype=np.float64) for w in layer.get_weights()]
    kernel = weights[0] if weights else None
    bias = weights[-1] if getattr(layer, "use_bias", False) else None
    if kind == "Dense":
        return [dense(kernel, bias, input_shape)]
    if kind in ("Conv1D", "Conv2D", "Conv3D"):
        return [conv(kernel, bias, input_shape, layer.strides, layer.dilation_rate, layer.padding, layer.groups)]
    if kind in ("DepthwiseConv1D", "DepthwiseConv2D"):
        return [depthwise_conv(kernel, bias, input_shape, layer.strides, layer.dilation_rate, layer.padding)]
    if kind in ("SeparableConv1D", "SeparableConv2D"):
        depthwise = depthwise_conv(kernel, None, input_shape, layer.strides, layer.dilation_rate, layer.padding)
        ones = (1,) * len(layer.strides)
        return [depthwise, conv(weights[1], bias, depthwise.output_shape, ones, ones, "valid")]
    if kind in ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"):
        geometry = (layer.strides, layer.dilation_rate, layer.padding, layer.output_padding)
        return [conv_transpose(kernel, bias, input_shape, *geometry)]
    if kind.startswith("AveragePooling"):
        return [average_pooling(input_shape, layer.pool_size, layer.strides, layer.padding)]
    if kind.startswith("GlobalAveragePooling"):
        return [global_average_pooling(input_shape)]
    if kind == "BatchNormalization":
        gamma, beta = layer.gamma, layer.beta
        channels = input_shape[-1]
        return [
            batch_normalization(
                np.ones(channels) if gamma is None else np.asarray(gamma.value),
                np.zeros(channels) if beta is None else np.asarray(beta.value),
                np.asarray(layer.moving_mean.value),
                np.asarray(layer.moving_variance.value),
                layer.epsilon,
                input_shape,
            )
        ]
    raise ValueError(f"no matrix for {kind}")


# --- Rules: the share of one neuron's relevance that each of its inputs receives --------------------------------------


def epsilon(a, w, b, connected, z, *, epsilon, bias=True):
    """a_i w_ij / (z_j + eps sign(z_j))."""
    contributions = a * w
    denominator = contributions.sum() + (b if bias and b is not None else 0.0)
    return ratio(contributions, denominator, epsilon)


def z_rule(a, w, b, connected, z, *, bias=True, stabilizer=0.0):
    """a_i w_ij / z_j."""
    return epsilon(a, w, b, connected, z, epsilon=stabilizer, bias=bias)


def alpha_beta(a, w, b, connected, z, *, alpha, beta, bias=True, stabilizer=0.0):
    """alpha z_ij+ / z_j+ - beta z_ij- / z_j-, each contribution a_i w_ij on the side of its own sign."""
    b = b if bias and b is not None else 0.0
    excitation, inhibition = positive(a * w), negative(a * w)
    return alpha * ratio(excitation, excitation.sum() + max(b, 0.0), stabilizer) - beta * ratio(
        inhibition, inhibition.sum() + min(b, 0.0), stabilizer
    )


def z_plus(a, w, b, connected, z, *, bias=True, stabilizer=0.0):
    """z_ij+ / z_j+."""
    return alpha_beta(a, w, b, connected, z, alpha=1.0, beta=0.0, bias=bias, stabilizer=stabilizer)


def gamma(a, w, b, connected, z, *, gamma, bias=True, stabilizer=0.0):
    """A neuron with z > 0 favours its positive contributions, one with z < 0 its negative ones (gamma times extra)."""
    b = b if bias and b is not None else 0.0
    toward_positive = w + gamma * positive(w)
    toward_negative = w + gamma * negative(w)
    if z > 0:
        contributions = positive(a) * toward_positive + negative(a) * toward_negative
        return ratio(contributions, contributions.sum() + b + gamma * max(b, 0.0), stabilizer)
    if z < 0:
        contributions = positive(a) * toward_negative + negative(a) * toward_positive
        return ratio(contributions, contributions.sum() + b + gamma * min(b, 0.0), stabilizer)
    return np.zeros_like(a)


def w_square(a, w, b, connected, z, *, bias=False, stabilizer=0.0):
    """w_ij^2 / sum_i w_ij^2."""
    return ratio(w**2, (w**2).sum() + (b**2 if bias and b is not None else 0.0), stabilizer)


def flat(a, w, b, connected, z, *, bias=False, stabilizer=0.0):
    """1 / (number of inputs of j inside the image); with `bias`, the bias is one more."""
    ones = connected.astype(np.float64)
    return ratio(ones, ones.sum() + (1.0 if bias and b is not None else 0.0), stabilizer)


def z_box(a, w, b, connected, z, *, low, high, stabilizer=0.0):
    """a_i w_ij - low_i w_ij+ - high_i w_ij-, over its sum. `low`, `high`: numbers or one value per input."""
    contributions = a * w - np.ravel(low) * positive(w) - np.ravel(high) * negative(w)
    return ratio(contributions, contributions.sum(), stabilizer)


def sign_rule(a, w, b, connected, z, *, mu=0.0, bias=True, stabilizer=0.0):
    """s(a_i) w_ij / z_j with s(a) = +1 for a >= mu, else -1. `mu`: a number or one value per input."""
    contributions = np.where(a >= np.ravel(mu), 1.0, -1.0) * w
    return ratio(contributions, (a * w).sum() + (b if bias and b is not None else 0.0), stabilizer)


def unified(
    a,
    w,
    b,
    connected,
    z,
    *,
    alpha=1.0,
    beta=0.0,
    epsilon=0.0,
    theta0=0.0,
    theta1=1.0,
    gamma0=0.0,
    gamma1=0.0,
    gamma1p=0.0,
    gamma1n=0.0,
    gamma2=0.0,
    m=None,
    bias=True,
):
    """alpha N_ij / (eps + sum N_ij) - beta M_ij / (eps + sum M_ij).

    N_ij = (theta0 + theta1 a_i) (gamma0 + gamma1 w + gamma1p w+ + gamma1n w- + gamma2 w^2) over connected pairs, eps
    with the sign of its sum; M the same with gammas of its own. The bias is a weight whose input is theta1 alone.
    """
    b = b if bias and b is not None else 0.0

    def term(gamma0, gamma1, gamma1p, gamma1n, gamma2):
        kernel = gamma0 + gamma1 * w + gamma1p * positive(w) + gamma1n * negative(w) + gamma2 * w**2
        contributions = np.where(connected, (theta0 + theta1 * a) * kernel, 0.0)
        of_bias = theta1 * (gamma1 * b + gamma1p * max(b, 0.0) + gamma1n * min(b, 0.0))
        return ratio(contributions, contributions.sum() + of_bias, epsilon)

    of_n = (gamma0, gamma1, gamma1p, gamma1n, gamma2)
    return alpha * term(*of_n) - beta * term(*(of_n if m is None else m))


# --- Layers without weights -------------------------------------------------------------------------------------------


def average_pooling_relevance(linear, a, output_relevance):
    """The z-rule: a_i / sum of the window's a, times R_j (the common factor of the mean cancels)."""
    of_sums = Linear(linear.connected * 1.0, None, linear.connected, linear.input_shape, linear.output_shape)
    return of_sums.relevance(z_rule, a, output_relevance)


def max_pooling(a, pool_size, strides, padding):
    """The maxima, and for each the index of its winner: the first of equals in row-major order of the window."""
    spatial, found = windows(a.shape[1:-1], pool_size, strides, (1,) * len(pool_size), padding)
    out = np.zeros((len(a), *spatial, a.shape[-1]))
    winners = {}
    for n in range(len(a)):
        for index, taps in found:
            for c in range(a.shape[-1]):
                winner = None
                for _, position in taps:
                    if winner is None or a[(n, *position, c)] > a[winner]:
                        winner = (n, *position, c)
                out[(n, *index, c)] = a[winner]
                winners[(n, *index, c)] = winner
    return out, winners


def max_pooling_relevance(a, output_relevance, pool_size, strides, padding):
    """Winner takes all."""
    _, winners = max_pooling(a, pool_size, strides, padding)
    input_relevance = np.zeros(a.shape)
    for index, winner in winners.items():
        input_relevance[winner] += output_relevance[index]
    return input_relevance


def shared_relevance(contributions, output_relevance):
    """The z-rule of a sum: each contribution / sum of the contributions, times R; zero where the sum is zero."""
    shares = [np.zeros(output_relevance.shape) for _ in contributions]
    for index in np.ndindex(*output_relevance.shape):
        terms = np.array([contribution[index] for contribution in contributions])
        for share, part in zip(shares, ratio(terms, terms.sum()), strict=True):
            share[index] = part * output_relevance[index]
    return shares


def add_relevance(inputs, output_relevance):
    return shared_relevance(inputs, output_relevance)


def subtract_relevance(first, second, output_relevance):
    return shared_relevance([first, -second], output_relevance)


def average_relevance(inputs, output_relevance):
    return shared_relevance(inputs, output_relevance)  # 1/n is common to numerator and denominator


def maximum_relevance(inputs, output_relevance):
    """Winner takes all, the first of equals."""
    shares = [np.zeros(output_relevance.shape) for _ in inputs]
    for index in np.ndindex(*output_relevance.shape):
        winner = 0
        for k in range(1, len(inputs)):
            if inputs[k][index] > inputs[winner][index]:
                winner = k
        shares[winner][index] = output_relevance[index]
    return shares


def concatenate_relevance(inputs, output_relevance, axis=-1):
    """Each input takes its own slice."""
    ends = np.cumsum([part.shape[axis] for part in inputs])
    return np.split(output_relevance, ends[:-1], axis=axis)


# --- Networks: a chain of steps ---------------------------------------------------------------------------------------


@dataclass
class LinearStep:
    linear: Linear
    rule: object

    def forward(self, a):
        return self.linear.forward(a)

    def backward(self, a, output_relevance):
        return self.linear.relevance(self.rule, a, output_relevance)


class ReluStep:
    """Relevance passes, also through the neurons that ReLU has silenced."""

    def forward(self, a):
        return positive(a)

    def backward(self, a, output_relevance):
        return output_relevance


@dataclass
class MaxPoolingStep:
    pool_size: tuple
    strides: tuple
    padding: str

    def forward(self, a):
        return max_pooling(a, self.pool_size, self.strides, self.padding)[0]

    def backward(self, a, output_relevance):
        return max_pooling_relevance(a, output_relevance, self.pool_size, self.strides, self.padding)


@dataclass
class AveragePoolingStep:
    linear: Linear

    def forward(self, a):
        return self.linear.forward(a)

    def backward(self, a, output_relevance):
        return average_pooling_relevance(self.linear, a, output_relevance)


class FlattenStep:
    def forward(self, a):
        return a.reshape(len(a), -1)

    def backward(self, a, output_relevance):
        return output_relevance.reshape(a.shape)


def forward(steps, a):
    """The activations before each step, and after the last."""
    activations = [a]
    for step in steps:
        activations.append(step.forward(activations[-1]))
    return activations


def relevances(steps, a, output_relevance):
    """The relevance before each step (of the input first), and after the last."""
    activations = forward(steps, a)
    found = [output_relevance]
    for step, activation in zip(reversed(steps), reversed(activations[:-1]), strict=True):
        found.insert(0, step.backward(activation, found[0]))
    return found


def steps_of(model, rule):
    """The steps of a `keras.Sequential` (or chain of layers) without fused activations but ReLU, one rule for all."""
    steps, shape = [], tuple(model.input_shape[1:])
    for layer in model.layers:
        kind = type(layer).__name__
        if kind == "InputLayer":
            continue
        if kind == "ReLU":
            steps.append(ReluStep())
        elif kind == "Flatten":
            steps.append(FlattenStep())
            shape = (int(np.prod(shape)),)
        elif kind.startswith("MaxPooling"):
            steps.append(MaxPoolingStep(layer.pool_size, layer.strides, layer.padding))
            shape = (
                *windows(shape[:-1], layer.pool_size, layer.strides, (1,) * len(layer.pool_size), layer.padding)[0],
                shape[-1],
            )
        elif "AveragePooling" in kind:
            steps.append(AveragePoolingStep(linears_of(layer, shape)[0]))
            shape = steps[-1].linear.output_shape
        else:
            for linear in linears_of(layer, shape):
                steps.append(LinearStep(linear, rule))
                shape = linear.output_shape
            activation = getattr(getattr(layer, "activation", None), "__name__", "linear")
            if activation == "relu":
                steps.append(ReluStep())
            elif activation != "linear":
                raise ValueError(f"no step for the activation {activation}")
    return steps


RULES = {
    "ZRule": z_rule,
    "Epsilon": epsilon,
    "ZPlus": z_plus,
    "AlphaBeta": alpha_beta,
    "Gamma": gamma,
    "WSquare": w_square,
    "Flat": flat,
    "ZBox": z_box,
    "Sign": sign_rule,
    "Unified": unified,
}


def rule(name, **arguments):
    """The reference for the library's rule of that name."""
    return partial(RULES[name], **arguments)
