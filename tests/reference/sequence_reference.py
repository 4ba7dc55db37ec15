"""LRP for sequence models written naively: one loop for each index of a formula, in NumPy float64.

The companion of `reference` for what has no matrix of constants: normalizations, products of two branches, attention and
recurrent layers. Like it, nothing here is fast or clever, and no code is shared with the library.

=====================  ===============================================================================================
LayerNorm, RMSNorm     Achtibat et al., "AttnLRP", ICML 2024, section 3.3.3 and appendix A.2.4: the deviation is a constant
softmax                the same, proposition 3.1: R_i = x_i (R_i - s_i sum_j R_j)
products               the same, proposition 3.3 (uniform rule); Arras et al. 2017 (the signal takes all)
attention              AttnLRP as above; CP-LRP: Ali et al., "XAI for Transformers", ICML 2022 (weights are constants)
LSTM                   Arras et al., "Explaining recurrent neural network predictions", WASSA 2017; and 2019
=====================  ===============================================================================================

Every class has `forward`, which takes a batch (samples first) and returns the outputs, and `relevance`, which takes the
same inputs and the outputs' relevance and returns the relevance of each input.
"""

from dataclasses import dataclass, field

import numpy as np
from reference import Linear, sign

GATE, UNIFORM = "gate", "uniform"


def divide(numerator, denominator):
    """numerator / denominator; a denominator of zero gives zero."""
    return numerator / denominator if denominator != 0 else 0.0


# --- Linear layers ----------------------------------------------------------------------------------------------------


def einsum_dense(equation, kernel, bias, input_shape):
    """The matrix of `EinsumDense`: what the equation makes of a sample that is 1 at input i is row i.

    Args:
        equation: einsum of a batch of inputs (first letter: the batch axis) and the kernel.
        bias: array that broadcasts against a sample's output, or None.
    """

    def rows(kernel):
        size = int(np.prod(input_shape))
        one_hot = np.eye(size).reshape(size, *input_shape)
        return np.stack([np.einsum(equation, one_hot[i : i + 1], kernel)[0] for i in range(size)])

    weights, taps = rows(kernel), rows(np.ones_like(kernel))
    output_shape = weights.shape[1:]
    size = len(weights), int(np.prod(output_shape))
    everywhere = None if bias is None else np.broadcast_to(bias, output_shape).reshape(-1)
    return Linear(weights.reshape(size), everywhere, taps.reshape(size) != 0, tuple(input_shape), output_shape)


@dataclass
class Embedding:
    """Row number id of a table; an id is a single input, so it takes the relevance of the whole row."""

    table: np.ndarray  # (ids, features)

    def forward(self, ids):
        return np.stack([np.stack([self.table[id] for id in sample]) for sample in ids])

    def relevance(self, ids, output_relevance):
        found = np.zeros(ids.shape)
        for n, t in np.ndindex(*ids.shape):
            found[n, t] = sum(output_relevance[n, t, d] for d in range(self.table.shape[1]))
        return found


# --- Normalization ----------------------------------------------------------------------------------------------------


@dataclass
class Normalization:
    """z_j = gamma_j / std (x_j - mean) + beta_j, over groups of elements that share a mean and a deviation.

    The deviation counts as a constant of the sample. What is left is linear, with weights (delta_ij - 1/n) gamma_j / std
    and bias beta_j, and gets the z-rule.
    """

    groups: list  # of lists of indices into a sample
    gamma: np.ndarray  # of the shape of a sample, as is beta
    beta: np.ndarray
    epsilon: float

    def _statistics(self, sample, group):
        values = np.array([sample[i] for i in group])
        mean = values.sum() / len(group)
        return mean, np.sqrt(((values - mean) ** 2).sum() / len(group) + self.epsilon)

    def forward(self, x):
        z = np.zeros(x.shape)
        for n in range(len(x)):
            for group in self.groups:
                mean, std = self._statistics(x[n], group)
                for j in group:
                    z[n][j] = self.gamma[j] / std * (x[n][j] - mean) + self.beta[j]
        return z

    def relevance(self, x, output_relevance):
        z, found = self.forward(x), np.zeros(x.shape)
        for n in range(len(x)):
            for group in self.groups:
                _, std = self._statistics(x[n], group)
                for j in group:
                    for i in group:
                        weight = ((1.0 if i == j else 0.0) - 1.0 / len(group)) * self.gamma[j] / std
                        found[n][i] += divide(x[n][i] * weight, z[n][j]) * output_relevance[n][j]
        return found


def layer_normalization(shape, axes, gamma, beta, epsilon):
    """Statistics over ``axes`` of a sample, for each place on the other axes; gamma and beta (or None) broadcast."""
    groups = {}
    for index in np.ndindex(*shape):
        groups.setdefault(tuple(k for axis, k in enumerate(index) if axis not in axes), []).append(index)
    gamma = np.broadcast_to(1.0 if gamma is None else gamma, shape)
    beta = np.broadcast_to(0.0 if beta is None else beta, shape)
    return Normalization(list(groups.values()), gamma, beta, epsilon)


def group_normalization(shape, number, gamma, beta, epsilon):
    """Statistics over all places and the channels of one of ``number`` groups; gamma and beta for each channel."""
    channels = shape[-1] // number
    groups = [[i for i in np.ndindex(*shape) if i[-1] // channels == group] for group in range(number)]
    gamma = np.broadcast_to(1.0 if gamma is None else gamma, shape)
    beta = np.broadcast_to(0.0 if beta is None else beta, shape)
    return Normalization(groups, gamma, beta, epsilon)


@dataclass
class RmsNormalization:
    """x gamma / sqrt(mean of x^2 + epsilon): no mean, no bias, and a root that counts as a constant; relevance passes."""

    axes: tuple  # of a sample
    gamma: np.ndarray
    epsilon: float

    def forward(self, x):
        axes = tuple(axis + 1 for axis in self.axes)
        return x / np.sqrt((x**2).mean(axis=axes, keepdims=True) + self.epsilon) * self.gamma

    def relevance(self, x, output_relevance):
        return output_relevance


@dataclass
class UnitNormalization:
    """x / |x|, with |x| a constant of the sample; relevance passes."""

    axes: tuple  # of a sample

    def forward(self, x):
        squares = (x**2).sum(axis=tuple(axis + 1 for axis in self.axes), keepdims=True)
        return x / np.sqrt(np.maximum(squares, 1e-12))

    def relevance(self, x, output_relevance):
        return output_relevance


# --- Two branches -----------------------------------------------------------------------------------------------------


def broadcast_back(relevance, shape):
    """What an input that was broadcast gets: the sum over the places it was used at."""
    found = np.zeros(shape)
    for index in np.ndindex(*relevance.shape):
        own = index[len(index) - len(shape) :]
        found[tuple(0 if size == 1 else k for k, size in zip(own, shape, strict=True))] += relevance[index]
    return found


@dataclass
class Product:
    """a * b, broadcasting.

    ``gate`` is the number of the factor that is the gate and gets nothing (SignalTakesAll), or None: half each (Uniform).
    """

    gate: int | None = None

    def forward(self, a, b):
        return a * b

    def relevance(self, a, b, output_relevance):
        shares = (0.5, 0.5) if self.gate is None else (1.0 - (self.gate == 0), 1.0 - (self.gate == 1))
        return [broadcast_back(share * output_relevance, x.shape) for share, x in zip(shares, (a, b), strict=True)]


@dataclass
class Matmul:
    """z_ij = sum_k a_ik b_kj of two branches; ``gate`` as in `Product`.

    The signal's share of R_ij goes to its elements in proportion to a_ik b_kj.
    """

    gate: int | None = None

    def forward(self, a, b):
        z = np.zeros((len(a), a.shape[1], b.shape[2]))
        for n, i, j in np.ndindex(*z.shape):
            z[n, i, j] = sum(a[n, i, k] * b[n, k, j] for k in range(a.shape[2]))
        return z

    def relevance(self, a, b, output_relevance):
        z = self.forward(a, b)
        share_a, share_b = (0.5, 0.5) if self.gate is None else (1.0 - (self.gate == 0), 1.0 - (self.gate == 1))
        of_a, of_b = np.zeros(a.shape), np.zeros(b.shape)
        for n, i, j in np.ndindex(*z.shape):
            for k in range(a.shape[2]):
                message = divide(a[n, i, k] * b[n, k, j], z[n, i, j]) * output_relevance[n, i, j]
                of_a[n, i, k] += share_a * message
                of_b[n, k, j] += share_b * message
        return of_a, of_b


# --- Softmax and attention --------------------------------------------------------------------------------------------


@dataclass
class Softmax:
    """s_i = exp(x_i) / sum_j exp(x_j) along the last axis; x_i takes part only where a mask, if there is one, is True."""

    taylor: bool = False

    def forward(self, x, mask=None):
        s, mask = np.zeros(x.shape), np.broadcast_to(True if mask is None else mask, x.shape)
        for row in np.ndindex(*x.shape[:-1]):
            allowed = [i for i in range(x.shape[-1]) if mask[row][i]]
            largest = max((x[row][i] for i in allowed), default=0.0)
            total = sum(np.exp(x[row][i] - largest) for i in allowed)
            for i in allowed:
                s[row][i] = np.exp(x[row][i] - largest) / total
        return s

    def relevance(self, x, output_relevance, mask=None):
        """Taylor: R_i = x_i (R_i - s_i sum_j R_j), where x_i is the input before any mask; else relevance passes."""
        if not self.taylor:
            return output_relevance
        s, found = self.forward(x, mask), np.zeros(x.shape)
        allowed = np.broadcast_to(True if mask is None else mask, x.shape)
        for row in np.ndindex(*x.shape[:-1]):
            total = sum(output_relevance[row][j] for j in range(x.shape[-1]))
            for i in range(x.shape[-1]):
                if allowed[row][i]:
                    found[row][i] = x[row][i] * (output_relevance[row][i] - s[row][i] * total)
        return found


@dataclass
class Attention:
    """softmax(scale q k^T) v for each head; query head h reads key and value head h // (query heads per key head).

    Queries (N, T, H, D), keys (N, S, K, D), values (N, S, K, E) with H a multiple of K; ``mask`` (N, T, S), True where a
    query may look. ``rule``: UNIFORM gives half of the relevance to each factor of both products, and the softmax gets
    Taylor's rule (AttnLRP); GATE lets the values take all (CP-LRP).
    """

    rule: str
    scale: float
    causal: bool = False

    def _heads(self, q, k):
        return [(h, h // (q.shape[2] // k.shape[2])) for h in range(q.shape[2])]

    def _allowed(self, q, k, mask):
        allowed = np.broadcast_to(True if mask is None else mask, (len(q), q.shape[1], k.shape[1])).copy()
        for n, t, s in np.ndindex(*allowed.shape):
            allowed[n, t, s] &= not self.causal or s <= t
        return allowed

    def _one_head(self, q, k, mask):
        """The scores before the scale, and the weights."""
        scores = Matmul().forward(q, k.swapaxes(1, 2))
        return scores, Softmax().forward(self.scale * scores, mask)

    def forward(self, q, k, v, mask=None):
        out, allowed = np.zeros((*q.shape[:3], v.shape[3])), self._allowed(q, k, mask)
        for h, g in self._heads(q, k):
            _, weights = self._one_head(q[:, :, h], k[:, :, g], allowed)
            out[:, :, h] = Matmul().forward(weights, v[:, :, g])
        return out

    def relevance(self, q, k, v, output_relevance, mask=None):
        of_q, of_k, of_v = np.zeros(q.shape), np.zeros(k.shape), np.zeros(v.shape)
        allowed = self._allowed(q, k, mask)
        for h, g in self._heads(q, k):
            scores, weights = self._one_head(q[:, :, h], k[:, :, g], allowed)
            product = Matmul(gate=None if self.rule == UNIFORM else 0)
            of_weights, of_values = product.relevance(weights, v[:, :, g], output_relevance[:, :, h])
            of_v[:, :, g] += of_values
            if self.rule == UNIFORM:
                of_scores = Softmax(taylor=True).relevance(self.scale * scores, of_weights, allowed)
                of_queries, of_keys = Matmul().relevance(q[:, :, h], k[:, :, g].swapaxes(1, 2), of_scores)
                of_q[:, :, h] += of_queries
                of_k[:, :, g] += of_keys.swapaxes(1, 2)
        return of_q, of_k, of_v


# --- Recurrent layers -------------------------------------------------------------------------------------------------


def affine_relevance(inputs, kernels, bias, z, output_relevance, rule):
    """LRP-epsilon of z_j = sum over the parts of a_i w_ij + b_j, as `lrp_linear` of LRP_for_LSTM.

        R_i = sum_j [a_i w_ij + bias_factor (b_j + eps sign(z_j)) / N] / (z_j + eps sign(z_j)) R_j

    Args:
        inputs: the vectors that are joined at z, with N elements in all.
        kernels: a matrix for each.

    Returns:
        A vector for each input.
    """
    number = sum(len(part) for part in inputs)
    found = [np.zeros(len(part)) for part in inputs]
    for j in range(len(z)):
        stabilizer = rule.epsilon * sign(z[j])
        spread = rule.bias_factor * (bias[j] + stabilizer) / number
        for part, kernel, relevance in zip(inputs, kernels, found, strict=True):
            for i in range(len(part)):
                relevance[i] += divide(part[i] * kernel[i, j] + spread, z[j] + stabilizer) * output_relevance[j]
    return found


def sum_relevance(contributions, z, output_relevance, rule):
    """The same for a state that is a sum: identities as kernels, no bias; N is the number of all lower units."""
    units = len(z)
    kernels = [np.eye(units)] * len(contributions)
    return affine_relevance(contributions, kernels, np.zeros(units), z, output_relevance, rule)


@dataclass
class Epsilon:
    """One rule for all affine parts of a recurrent layer; epsilon 0 is LRP-z."""

    epsilon: float = 0.0
    bias_factor: float = 0.0


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


@dataclass
class Lstm:
    """Keras's LSTM cell: the gates i, f, the candidate g (Keras: c) and the gate o, side by side in this order.

    c = f c' + i g,  h = o act(c),  where ' marks the step before. The gates get no relevance.
    """

    kernel: np.ndarray  # (inputs, 4 units)
    recurrent_kernel: np.ndarray  # (units, 4 units)
    bias: np.ndarray  # (4 units,)
    rule: Epsilon = field(default_factory=Epsilon)
    activation: object = np.tanh
    states = 2  # h and c

    @property
    def units(self):
        return len(self.recurrent_kernel)

    def step(self, x, state):
        """The next state, and what the backward step needs."""
        h, c = state
        zi, zf, zg, zo = np.split(x @ self.kernel + h @ self.recurrent_kernel + self.bias, 4)
        i, f, o = sigmoid(zi), sigmoid(zf), sigmoid(zo)
        g = self.activation(zg)
        new_c = f * c + i * g
        return (o * self.activation(new_c), new_c), (zg, f * c, i * g)

    def step_relevance(self, x, state, state_relevance):
        """Relevance of x and of the state before from that of the state after."""
        h, _ = state
        (_, c), (zg, kept, added) = self.step(x, state)
        of_h, of_c = state_relevance
        of_kept, of_g = sum_relevance([kept, added], c, of_h + of_c, self.rule)
        ours = slice(2 * self.units, 3 * self.units)
        kernels = [self.kernel[:, ours], self.recurrent_kernel[:, ours]]
        of_x, of_h_before = affine_relevance([x, h], kernels, self.bias[ours], zg, of_g, self.rule)
        return of_x, (of_h_before, of_kept)


@dataclass
class Gru:
    """Keras's GRU cell: the gates z and r and the candidate (h^), side by side in this order.

    h = z h' + (1 - z) h^. With ``reset_after`` h^ = act(x W + b + r (h' U + b_r)): one linear map of x and h' with the
    kernels W and U diag(r) and the bias b + r b_r. Without, h^ = act(x W + (r h') U + b). The gates get no relevance.
    """

    kernel: np.ndarray  # (inputs, 3 units)
    recurrent_kernel: np.ndarray  # (units, 3 units)
    bias: np.ndarray  # (3 units,)
    recurrent_bias: np.ndarray | None  # (3 units,) with reset_after
    reset_after: bool = True
    rule: Epsilon = field(default_factory=Epsilon)
    activation: object = np.tanh
    states = 1

    @property
    def units(self):
        return len(self.recurrent_kernel)

    def step(self, x, state):
        (h,) = state
        wz, wr, wh = np.split(self.kernel, 3, axis=1)
        uz, ur, uh = np.split(self.recurrent_kernel, 3, axis=1)
        bz, br, bh = np.split(self.bias, 3)
        if self.reset_after:
            cz, cr, ch = np.split(self.recurrent_bias, 3)
            z, r = sigmoid(x @ wz + bz + h @ uz + cz), sigmoid(x @ wr + br + h @ ur + cr)
            inputs, kernels, bias = [x, h], [wh, uh * r], bh + r * ch
        else:
            z, r = sigmoid(x @ wz + bz + h @ uz), sigmoid(x @ wr + br + h @ ur)
            inputs, kernels, bias = [x, r * h], [wh, uh], bh
        preactivation = inputs[0] @ kernels[0] + inputs[1] @ kernels[1] + bias
        kept, added = z * h, (1 - z) * self.activation(preactivation)
        return (kept + added,), (preactivation, inputs, kernels, bias, kept, added)

    def step_relevance(self, x, state, state_relevance):
        (new,), (preactivation, inputs, kernels, bias, kept, added) = self.step(x, state)
        of_kept, of_candidate = sum_relevance([kept, added], new, state_relevance[0], self.rule)
        of_x, of_h = affine_relevance(inputs, kernels, bias, preactivation, of_candidate, self.rule)
        return of_x, (of_kept + of_h,)


@dataclass
class SimpleRnn:
    """h = act(x W + h' U + b)."""

    kernel: np.ndarray  # (inputs, units)
    recurrent_kernel: np.ndarray  # (units, units)
    bias: np.ndarray  # (units,)
    rule: Epsilon = field(default_factory=Epsilon)
    activation: object = np.tanh
    states = 1

    @property
    def units(self):
        return len(self.recurrent_kernel)

    def step(self, x, state):
        z = x @ self.kernel + state[0] @ self.recurrent_kernel + self.bias
        return (self.activation(z),), z

    def step_relevance(self, x, state, state_relevance):
        _, z = self.step(x, state)
        kernels = [self.kernel, self.recurrent_kernel]
        of_x, of_h = affine_relevance([x, state[0]], kernels, self.bias, z, state_relevance[0], self.rule)
        return of_x, (of_h,)


@dataclass
class Recurrent:
    """A cell run over the steps of each sample: inputs (N, T, D).

    Where the mask (N, T) is False the state stays, and so does the output, which before the first step is zero (Keras
    does not start from the initial state there); with ``zero_output_for_mask`` the output is zero there instead. With
    ``go_backwards`` the last step comes first, and the outputs are in the order in which they were computed.
    """

    cell: object
    return_sequences: bool = False
    go_backwards: bool = False
    zero_output_for_mask: bool = False

    def _order(self, steps):
        return range(steps - 1, -1, -1) if self.go_backwards else range(steps)

    def _states(self, x, mask, initial):
        """The states before each step and after the last, in the order in which the steps are taken."""
        states = [initial]
        for t in self._order(len(x)):
            states.append(self.cell.step(x[t], states[-1])[0] if mask[t] else states[-1])
        return states

    def _everything(self, x, mask, initial):
        """The mask and each sample's initial state, whatever was left out."""
        mask = np.ones(x.shape[:2], bool) if mask is None else mask
        zeros = [np.zeros((len(x), self.cell.units))] * self.cell.states
        return mask, [tuple(state[n] for state in (zeros if initial is None else initial)) for n in range(len(x))]

    def forward(self, x, mask=None, initial=None):
        """Outputs (N, T, units), or the last ones (N, units) without ``return_sequences``."""
        return self.forward_with_states(x, mask, initial)[0]

    def forward_with_states(self, x, mask=None, initial=None):
        """The outputs, and the list of final states, each (N, units)."""
        mask, initial = self._everything(x, mask, initial)
        outputs, finals = np.zeros((len(x), x.shape[1], self.cell.units)), []
        for n in range(len(x)):
            states = self._states(x[n], mask[n], initial[n])
            previous = np.zeros(self.cell.units)
            for number, t in enumerate(self._order(x.shape[1])):
                if mask[n, t]:
                    previous = states[number + 1][0]
                elif self.zero_output_for_mask:
                    previous = np.zeros(self.cell.units)
                outputs[n, number] = previous
            finals.append(states[-1])
        finals = [np.stack([final[k] for final in finals]) for k in range(self.cell.states)]
        return outputs if self.return_sequences else outputs[:, -1], finals

    def relevance(self, x, output_relevance, mask=None, initial=None, state_relevance=None):
        """Relevance of x, and the list of that of the initial states.

        Args:
            output_relevance: of the outputs.
            state_relevance: of the final states, a list; none by default.
        """
        if not self.return_sequences:
            only_last = np.zeros((len(x), x.shape[1], self.cell.units))
            only_last[:, -1] = output_relevance
            output_relevance = only_last
        mask, initial = self._everything(x, mask, initial)
        found = np.zeros(x.shape)
        of_initial = [np.zeros((len(x), self.cell.units)) for _ in range(self.cell.states)]
        for n in range(len(x)):
            states = self._states(x[n], mask[n], initial[n])
            of_output = np.zeros(self.cell.units)
            of_state = tuple(np.zeros(self.cell.units) if state_relevance is None else state_relevance[k][n]
                             for k in range(self.cell.states))  # fmt: skip
            for number, t in reversed(list(enumerate(self._order(x.shape[1])))):
                of_output = of_output + output_relevance[n, number]
                if mask[n, t]:
                    of_state = (of_state[0] + of_output, *of_state[1:])
                    of_output = np.zeros(self.cell.units)
                    found[n, t], of_state = self.cell.step_relevance(x[n, t], states[number], of_state)
                elif self.zero_output_for_mask:
                    of_output = np.zeros(self.cell.units)
            for k in range(self.cell.states):
                of_initial[k][n] = of_state[k]
        return found, of_initial


@dataclass
class Bidirectional:
    """Both directions side by side; the backward one's outputs are put back into the order of the inputs."""

    ahead: Recurrent
    back: Recurrent  # with go_backwards

    def forward(self, x, mask=None):
        ahead, back = self.ahead.forward(x, mask), self.back.forward(x, mask)
        return np.concatenate([ahead, back[:, ::-1] if self.back.return_sequences else back], axis=-1)

    def relevance(self, x, output_relevance, mask=None):
        of_ahead, of_back = np.split(output_relevance, 2, axis=-1)
        if self.back.return_sequences:
            of_back = of_back[:, ::-1]
        return self.ahead.relevance(x, of_ahead, mask)[0] + self.back.relevance(x, of_back, mask)[0]
