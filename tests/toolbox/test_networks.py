"""Modules and networks: what they check, gradients, training, and Keras models as networks."""

import keras
import numpy as np
import pytest

import tf_lrp
from tf_lrp.rules import Alpha, AlphaBeta, Epsilon, Flat, WinnerTakesAll, WSquare, ZRule
from tf_lrp.rules.decompositions import decomposition
from tf_lrp.toolbox import modules

pytestmark = pytest.mark.eager

X = np.random.default_rng(0).normal(size=(5, 6, 6, 2))


def perceptron():
    keras.utils.set_random_seed(1)
    return modules.Sequential([modules.Linear(2, 3), modules.Tanh(), modules.Linear(3, 2), modules.SoftMax()])


def exclusive_or():
    """Noisy corners of a square, and whether both coordinates have the same sign."""
    random = np.random.default_rng(0)
    corners = 2 * random.integers(0, 2, (200, 2)) - 1
    return corners + random.normal(0, 0.1, corners.shape), np.eye(2)[(corners.prod(1) > 0).astype(int)]


def convnet():
    layers = keras.layers
    keras.utils.set_random_seed(2)
    return keras.Sequential(
        [keras.Input((6, 6, 2)), layers.Conv2D(3, 3, activation="relu", name="conv"), layers.MaxPooling2D(2, name="maximum"),
         layers.AveragePooling2D(2, name="average"), layers.Flatten(), layers.Dense(4, name="scores", activation="softmax")]
    )  # fmt: skip


def test_decompositions_are_rules():
    expected = {
        None: ZRule(), "none": ZRule(), "Simple": ZRule(), "ww": WSquare(), "w^2": WSquare(), "flat": Flat(),
        "eps": Epsilon(0.5), "epsilon": Epsilon(0.5), "alpha": Alpha(0.5), "ALPHABETA": Alpha(0.5),
    }  # fmt: skip
    assert {name: decomposition(name, 0.5) for name in expected} == expected
    for wrong, message in (
        (("epsilom", 1), "Did you mean 'epsilon'"),
        (("eps",), "needs its parameter"),
    ):
        with pytest.raises(ValueError, match=message):
            decomposition(*wrong)
    with pytest.raises(TypeError, match="got 3"):
        decomposition(3)


def test_alpha_from_one_on_is_alpha_beta():
    model, x = convnet(), np.abs(X)
    for alpha in (1, 2.5):
        found, expected = (tf_lrp.Analyzer(model, rule).analyze(x) for rule in (Alpha(alpha), AlphaBeta(alpha, alpha - 1)))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_the_preset_has_the_rules_of_pooling():
    def rules(*arguments):
        preset = tf_lrp.preset("toolbox", **dict(zip(("lrp_var", "param"), arguments, strict=False)))
        table = {row[0]: row[2] for row in tf_lrp.Analyzer(convnet(), preset).rules()}
        return [table[name] for name in ("conv", "maximum", "average", "scores")]

    share = str(WinnerTakesAll("share"))
    assert rules() == [str(ZRule()), share, str(ZRule()), str(ZRule())]
    assert rules("flat") == [str(Flat())] * 4
    assert rules("w^2") == [str(WSquare()), str(Flat()), str(WSquare()), str(WSquare())]
    assert rules("alpha", 0.5) == [str(Alpha(0.5)), share, str(Alpha(0.5)), str(Alpha(0.5))]


def test_a_keras_model_is_a_network():
    model = convnet()
    nn = modules.Sequential(model)
    assert [m.layers[0].name for m in nn.modules] == [layer.name for layer in model.layers]
    output = nn.forward(X)
    np.testing.assert_allclose(output, model(X), rtol=1e-6)
    nn.set_lrp_parameters("epsilon", 0.1)
    nn.modules[0].set_lrp_parameters("flat")
    by_hand = tf_lrp.Preset(
        [
            (tf_lrp.select.name("conv"), Flat()),
            (tf_lrp.select.kind("max_pooling"), WinnerTakesAll("share")),
            (tf_lrp.select.kind("average_pooling"), Epsilon(0.1 / 4)),
            (tf_lrp.select.all(), Epsilon(0.1)),
        ]
    )
    expected = tf_lrp.Analyzer(model, by_hand, strip_softmax=False).analyze(X, output)
    np.testing.assert_allclose(nn.lrp(output), expected, rtol=1e-5, atol=1e-7)
    nn.drop_softmax_output_layer()
    scores = nn.forward(X)
    np.testing.assert_allclose(np.exp(scores) / np.exp(scores).sum(1, keepdims=True), output, rtol=1e-5)
    assert [m.lrp_var for m in nn.modules] == ["flat", *["epsilon"] * 4]


def test_a_softmax_is_dropped_once_and_only_a_softmax():
    nn = perceptron()
    probabilities = nn.forward([[0.5, 1.0]])
    nn.drop_softmax_output_layer()
    scores = nn.forward([[0.5, 1.0]])
    np.testing.assert_allclose(np.exp(scores) / np.exp(scores).sum(), probabilities)
    nn.drop_softmax_output_layer()
    assert len(nn.modules) == 3


def test_relevance_of_integers_and_of_one_row_for_all():
    nn = perceptron()
    x = np.random.default_rng(3).normal(size=(4, 2))
    output = nn.forward(x)
    of_class = nn.lrp(np.array([[0, 1]]), "epsilon", 0.01)
    np.testing.assert_array_equal(of_class, nn.lrp(np.tile([0.0, 1.0], (4, 1)), "epsilon", 0.01))
    np.testing.assert_allclose(nn.lrp(output * [0, 1]), nn.lrp([[0, 1]]) * output[:, 1:], rtol=1e-9)


def test_an_aware_forward_pass_keeps_what_lrp_computes():
    nn, x = modules.Sequential(convnet()), np.abs(X)
    output = nn.forward(x)
    expected = [nn.lrp(np.eye(4)[k : k + 1], "alpha", 2.0) for k in range(4)]
    np.testing.assert_array_equal(nn.forward(x, lrp_aware=True), output)
    for k in range(4):
        found = nn.lrp(np.eye(4)[k : k + 1], "alpha", 2.0)
        np.testing.assert_allclose(found, expected[k], rtol=1e-4, atol=1e-6 * np.abs(expected[k]).max())
    nn.clean()
    with pytest.raises(ValueError, match="call forward"):
        nn.lrp(output)


def test_modules_may_be_changed_and_their_weights_set():
    nn = perceptron()
    before = nn.forward([[1.0, 2.0]])
    nn.modules[0].W = np.zeros((2, 3))
    nn.modules[0].B = [0, 0, 0]
    nn.modules[2].B = [0, 0]
    np.testing.assert_array_equal(nn.forward([[1.0, 2.0]]), [[0.5, 0.5]])
    assert (before != 0.5).all()
    del nn.modules[-1]
    nn.modules.append(modules.Rect())
    np.testing.assert_array_equal(nn.forward([[1.0, 2.0]]), [[0, 0]])
    with pytest.raises(ValueError, match=r"W of Linear has the shape \(2, 3\); got \(3, 2\)"):
        nn.modules[0].W = np.zeros((3, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: perceptron().forward(np.zeros((3, 4))), r"Linear, takes X of the shape \(N, 2\); got \(3, 4\)"),
        (lambda: modules.Convolution((3, 3, 2, 4)).forward(np.zeros((3, 72))), r"shape \(N, any, any, 2\); got \(3, 72\)"),
        (lambda: perceptron().forward(np.zeros((0, 2))), "N >= 1"),
        (lambda: perceptron().forward([[np.nan, 1]]), "X holds NaN"),
        (lambda: modules.MaxPool((9, 9)).forward(X), "Module 0, MaxPool, does not fit"),
        (
            lambda: modules.Sequential([modules.Linear(2, 3), modules.Linear(4, 3)]).forward([[1, 2]]),
            "Module 1, Linear, does not",
        ),
        (lambda: modules.Sequential([]).forward([[1.0]]), "at least one module"),
        (lambda: modules.Tanh().keras_model(), "What shape does Tanh take"),
        (lambda: modules.Linear(0, 3), "Linear needs m >= 1"),
        (lambda: modules.SumPool((2, 2), (0, 1)), "vertical stride >= 1"),
        (lambda: perceptron().lrp([[1, 0]]), "call forward"),
        (lambda: perceptron().update(0.1), "call backward first"),
        (lambda: modules.Linear(2, 3).set_lrp_parameters("eps"), "needs its parameter"),
    ],
)
def test_what_does_not_fit_is_said(call, message):
    with pytest.raises(ValueError, match=message) as raised:
        call()
    assert "\n" not in str(raised.value)


def test_a_network_is_made_of_modules_or_of_one_model():
    with pytest.raises(TypeError, match="got 3 among them"):
        modules.Sequential([modules.Tanh(), 3])
    two = [keras.Input((2,)), keras.Input((2,))]
    with pytest.raises(ValueError, match="one input and one output"):
        modules.Sequential(keras.Model(two, keras.layers.Add()(two)))


# ---- gradients and training -------------------------------------------------------------------------------------------


def test_backward_and_update():
    nn = perceptron()
    nn.drop_softmax_output_layer()
    x, upper = np.array([[0.5, -1.0], [0.2, 0.3]]), np.array([[1.0, 2.0], [0.0, -1.0]])
    first, _, second = nn.modules
    hidden = np.tanh(x @ first.W + first.B)
    nn.forward(x)
    below = (upper @ second.W.T) * (1 - hidden**2)
    np.testing.assert_allclose(nn.backward(upper), below @ first.W.T)
    expected = [first.W - 0.1 * x.T @ below, first.B - 0.1 * below.sum(0), second.W - 0.1 * hidden.T @ upper]
    nn.update(0.1)
    for found, wanted in zip((first.W, first.B, second.W), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)  # Keras's learning rates are float32


def test_training_finds_the_classes_and_keeps_the_best_weights(capsys):
    nn, (x, y) = perceptron(), exclusive_or()
    history = nn.train(x, y, iters=600, status=150, lrate=0.02, seed=0)
    assert [status.iteration for status in history] == [150, 300, 450, 600]
    assert np.mean(nn.forward(x).argmax(1) == y.argmax(1)) == max(s.accuracy for s in history) == 1
    assert capsys.readouterr().out.count("iteration ") == 4
    best = min(s.error for s in history)
    np.testing.assert_allclose(np.abs(nn.forward(x) - y).sum(1).mean(), best)
    # With a learning rate that destroys the network, the weights of the best evaluation are kept.
    nn.train(x, y, iters=20, status=1, lrate=100.0, seed=0)
    assert np.mean(nn.forward(x).argmax(1) == y.argmax(1)) >= history[-1].accuracy - 0.5


def test_the_step_is_the_output_minus_the_label():
    nn, (x, y) = perceptron(), exclusive_or()
    first, _, second, _ = nn.modules
    hidden = np.tanh(x @ first.W + first.B)
    step = second.W - 0.001 * hidden.T @ (nn.forward(x) - y)
    nn.train(x, y, batchsize=len(x), iters=1, lrate=0.001)
    np.testing.assert_allclose(second.W, step, rtol=1e-6)
    nn.drop_softmax_output_layer()
    step = second.W - 0.0005 * np.tanh(x @ first.W + first.B).T @ (nn.forward(x) - y)  # the squared error
    nn.train(x, y, batchsize=len(x), iters=1, lrate=0.001, lfactor_initial=0.5)
    np.testing.assert_allclose(second.W, step, rtol=1e-6)


FACTORS = {"linear": lambda a: 1 - a, "sublinear": lambda a: 1 - a**2, "none": lambda a: 1, None: lambda a: 1}


@pytest.mark.parametrize("decay", FACTORS)
def test_the_learning_rate_falls_with_accuracy(decay):
    nn, (x, y) = perceptron(), exclusive_or()
    (status,) = nn.train(x, y, iters=1, lrate=0.01, lrate_decay=decay, lfactor_initial=0.5)
    assert status.lrate == pytest.approx(0.005 * FACTORS[decay](status.accuracy), rel=1e-6)


def test_training_stops_when_nothing_improves():
    nn, (x, y) = perceptron(), exclusive_or()
    nn.train(x, y, iters=1, status=1, lrate=1e-12)
    history = nn.train(x, y, iters=100, status=2, lrate=1e-300, convergence=6)
    assert [s.iteration for s in history] == [2, 4, 6, 8]  # the first is the best
    assert len(nn.train(x, y, iters=10, status=2, lrate=1e-300)) == 5


def test_batches_are_transformed_and_validation_data_are_evaluated():
    nn, (x, y) = perceptron(), exclusive_or()
    seen = []

    def transform(batch):
        seen.append(batch.shape)
        return batch + 0.1

    (status,) = nn.train(x, y, x[:7], y[:7], batchsize=10, iters=3, transform=transform, optimizer="adam", seed=1)
    assert seen == [(10, 2)] * 3
    assert status.accuracy == pytest.approx(np.mean(nn.forward(x[:7]).argmax(1) == y[:7].argmax(1)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batchsize": 500}, "at most the number of samples, 200; got 500"),
        ({"iters": 0}, "iters needs an integer >= 1"),
        ({"lrate": -1}, "lrate needs a number > 0"),
        ({"lrate_decay": "cubic"}, "lrate_decay is None, 'none', 'linear', 'sublinear'; got 'cubic'"),
        ({"Y": np.zeros((200, 3))}, r"labels of the shape \(200, 2\)"),
        ({"Xval": np.zeros((3, 2)), "Yval": np.zeros((4, 2))}, "Xval and Yval need as many rows"),
        ({"transform": lambda batch: batch[:1]}, "transform returns a batch of the shape"),
    ],
)
def test_arguments_of_training_are_checked(arguments, message):
    x, y = exclusive_or()
    with pytest.raises(ValueError, match=message):
        perceptron().train(**{"X": x, "Y": y, "iters": 1, **arguments})


def test_there_has_to_be_something_to_train():
    with pytest.raises(ValueError, match="nothing to train"):
        modules.Sequential([modules.Tanh()]).train(np.zeros((30, 2)), np.zeros((30, 2)))
