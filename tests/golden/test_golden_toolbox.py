"""Relevance equals what the LRP Toolbox 1.3.1 computed for single modules and whole networks.

Its rules have no stabilizer but Epsilon's. It gives them to pooling, too: at SumPool the rule itself, at MaxPool the
winner takes all (equals share) or, for ww and flat, each of the window's inputs the same.
"""

import golden_models
import keras
import numpy as np
import pytest
from golden_models import DTYPES

import tf_lrp
from tf_lrp import select
from tf_lrp.rules import Alpha, AlphaBeta, Epsilon, Flat, Unified, WinnerTakesAll, WSquare, ZRule


def rule(method):
    """The toolbox's rule for layers with weights."""
    name, _, parameter = method.partition("_")
    if name == "alphabeta":
        alpha = float(parameter)
        return AlphaBeta(alpha, alpha - 1, stabilizer=0) if alpha >= 1 else Alpha(alpha)
    return {"simple": ZRule(), "epsilon": Epsilon(float(parameter or 0)), "ww": WSquare(), "flat": Flat()}[name]


def sum_pooling_rule(method, inputs=4):
    """The rule at SumPool; its epsilon is for the window's sum, that of our average pooling for the mean."""
    at_weights = rule(method)
    return Epsilon(at_weights.epsilon / inputs) if method.startswith("epsilon") else at_weights


def max_pooling_rule(method):
    return Flat() if method in ("ww", "flat") else WinnerTakesAll(ties="share")


def preset(method, *first):
    """The toolbox's rule for a whole network; all of these pool 2x2."""
    return tf_lrp.Preset(
        [
            *first,
            (select.kind("max_pooling"), max_pooling_rule(method)),
            (select.kind("average_pooling"), sum_pooling_rule(method)),
            (select.all(), rule(method)),
        ]
    )


def bound(dtype):
    return 1e-9 if dtype == "float64" else 1e-5


# --- Single modules --------------------------------------------------------------------------------------------------

CASES = ("linear", "linear_nonneg", "conv_3x2_s2x1", "conv_truncated_8x8_k3_s2", "maxpool_2x2_s2_ties",
         "maxpool_3x3_s2_overlap", "sumpool_2x2_s2_nonneg", "sumpool_2x2_s2_signed", "sumpool_3x2_s2x1_overlap")  # fmt: skip
RULES = ("simple", "epsilon_0.1", "alphabeta_2", "alphabeta_1", "alphabeta_0", "alphabeta_0.5", "ww", "flat")

#: Where the toolbox's fast code differs from its explicit code, which is right and has a key of its own.
SLOW = {"sumpool_2x2_s2_signed/alphabeta_2", "sumpool_2x2_s2_signed/alphabeta_0.5"}


def module_key(case, method):
    key = f"{case}/{method}"
    return f"{key}_slow" if key in SLOW else key


def module_rule(case, method, golden):
    if case.startswith("maxpool"):
        return max_pooling_rule(method)
    if case.startswith("sumpool"):
        return sum_pooling_rule(method, inputs=int(np.prod(golden[f"{case}/pool"])))
    return rule(method)


def explain_module(case, dtype, rule):
    golden = golden_models.load("toolbox_modules")
    everywhere = tf_lrp.Preset([(select.kind("pooling"), rule), (select.all(), rule)])
    analyzer = tf_lrp.Analyzer(golden_models.toolbox_module(case, dtype), everywhere)
    return analyzer.analyze(golden[f"{case}/x"], golden[f"{case}/R_in"])


@pytest.mark.eager
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", RULES)
@pytest.mark.parametrize("case", CASES)
def test_module(case, method, dtype):
    golden = golden_models.load("toolbox_modules")
    found = {module_key(case, method): explain_module(case, dtype, module_rule(case, method, golden))}
    golden_models.assert_agree(found, golden, dtype, bound(dtype))


@pytest.mark.parametrize("case", CASES)
def test_module_output(case):
    golden = golden_models.load("toolbox_modules")
    y = np.asarray(golden_models.toolbox_module(case, "float64")(golden[f"{case}/x"]))
    if case.startswith("sumpool"):
        y = y * np.sqrt(np.prod(golden[f"{case}/pool"]))
    assert golden_models.error(y, golden[f"{case}/y"]) <= 1e-12


def test_every_array_of_the_modules_is_accounted_for():
    given = ("x", "y", "R_in", "W", "B", "stride", "pool")
    relevances = [key for key in golden_models.load("toolbox_modules") if key.split("/")[1] not in given]
    tested = [module_key(case, method) for case in CASES for method in RULES]
    excused = dict.fromkeys(SLOW, "the toolbox's fast code multiplies the negative part by R twice")
    golden_models.assert_accounted(relevances, tested, excused)


UNIFIED = {
    "simple": Unified(gamma1=1),
    "epsilon_0.1": Unified(gamma1=1, epsilon=0.1),
    **{f"alphabeta_{a:g}": Unified(a, a - 1, gamma1p=1, m=(0, 0, 0, 1, 0)) for a in (2, 1, 0, 0.5)},
    "ww": Unified(theta0=1, theta1=0, gamma2=1),
    "flat": Unified(theta0=1, theta1=0, gamma0=1),
}


@pytest.mark.eager
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", UNIFIED)
def test_unified_reaches_every_rule_at_inputs_that_are_not_negative(method, dtype):
    found = {f"linear_nonneg/{method}": explain_module("linear_nonneg", dtype, UNIFIED[method])}
    golden_models.assert_agree(found, golden_models.load("toolbox_modules"), dtype, bound(dtype))


@pytest.mark.eager
@pytest.mark.parametrize("case", ["maxpool_2x2_s2_ties", "maxpool_3x3_s2_overlap"])
def test_by_default_the_first_of_equals_takes_all(case):
    golden = golden_models.load("toolbox_modules")
    x, relevance, shared = (golden[f"{case}/{key}"] for key in ("x", "R_in", "simple"))
    model = golden_models.toolbox_module(case, "float64")
    taken = tf_lrp.Analyzer(model, "z").analyze(x, relevance)
    assert golden_models.error(taken, shared) > 0.2  # both cases hold ties
    np.testing.assert_allclose(taken.sum(), relevance.sum())
    # With the earlier of equals made a little larger, there is nothing to share.
    distinct = x + 1e-9 * np.arange(x.size, 0, -1).reshape(x.shape)
    sharing = tf_lrp.Preset([(select.kind("pooling"), WinnerTakesAll("share"))])
    np.testing.assert_allclose(tf_lrp.Analyzer(model, sharing).analyze(distinct, relevance), taken, rtol=1e-12)


# --- Networks --------------------------------------------------------------------------------------------------------

ALL_MODULES = ("simple", "epsilon_0.1", "alphabeta_1", "alphabeta_2", "ww", "flat")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", ALL_MODULES)
def test_all_modules(method, dtype):
    golden, model = golden_models.load("toolbox_all_modules"), golden_models.toolbox_all_modules(dtype)
    analyzer = tf_lrp.Analyzer(model, preset(method), strip_softmax=False)
    found = {f"R/{method}": analyzer.analyze(golden["x"])}  # starts at the strongest probability, as R_init does
    golden_models.assert_agree(found, golden, dtype, bound(dtype))


def test_every_array_of_all_modules_is_accounted_for():
    golden = golden_models.load("toolbox_all_modules")
    golden_models.assert_accounted(golden_models.under(golden, "R/"), [f"R/{m}" for m in ALL_MODULES], {})


def test_all_modules_outputs():
    golden, model = golden_models.load("toolbox_all_modules"), golden_models.toolbox_all_modules("float64")
    assert golden_models.error(np.asarray(model(golden["x"])), golden["probs"]) <= 1e-12
    assert golden_models.error(np.asarray(tf_lrp.Analyzer(model, "z").twin(golden["x"])), golden["logits"]) <= 1e-12


XOR = ("simple", "epsilon_0.01", "epsilon_1", "alphabeta_2", "alphabeta_1", "alphabeta_0.5", "alphabeta_0", "ww", "flat")
XOR_STARTS = ("R_logit", "R_softmax", "R_onehot_other", "R_logit_pm1")

#: The toolbox gives relevance at a module's input, which is the output of the one before.
XOR_LAYERS = {"01_Tanh": "00_Linear", "02_Linear": "01_Tanh", "03_Tanh": "02_Linear", "04_Linear": "03_Tanh"}


def xor_keys(method):
    inside = [f"layerR/{method}/{module}" for module in ("00_Linear", *XOR_LAYERS)]
    return [*(f"{start}/{method}" for start in XOR_STARTS), *inside]


@pytest.fixture(scope="module")
def xor(shared_golden):
    return golden_models.load(shared_golden / "toolbox_xor.npz")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", XOR)
def test_xor(method, dtype, xor):
    model = golden_models.toolbox_xor(xor, dtype)
    of_logits = tf_lrp.Analyzer(model, preset(method))
    of_probabilities = tf_lrp.Analyzer(model, preset(method), strip_softmax=False)
    maps = of_logits.analyze(xor["x"], layers=list(XOR_LAYERS.values()))
    found = [
        maps["input"],
        of_probabilities.analyze(xor["x"]),
        of_logits.analyze(xor["x"], xor["R_init_onehot_other"]),
        of_logits.analyze(xor["x_pm1"]),
        maps["input"],
        *(maps[before] for before in XOR_LAYERS.values()),
    ]
    found = dict(zip(xor_keys(method), found, strict=True))
    golden_models.assert_agree(found, xor, dtype, bound(dtype))


def test_every_array_of_xor_is_accounted_for(xor):
    relevances = golden_models.under(xor, *(f"{start}/" for start in XOR_STARTS), "layerR/")
    assert {key for key in xor if "/" in key} == set(relevances)
    golden_models.assert_accounted(relevances, [key for method in XOR for key in xor_keys(method)], {})


LENET = {method: preset(method) for method in ("simple", "epsilon_0.01", "alphabeta_2", "alphabeta_1", "ww", "flat")}
LENET["demo_perlayer_alpha1_flat0"] = preset("alphabeta_1", (select.first(1), Flat()))
LENET_OTHER_CLASS = ("simple", "alphabeta_2")
LENET_INSIDE = ("simple", "alphabeta_2")
LENET_MODULES = ("00_Convolution", "01_Rect", "02_SumPool", "03_Convolution", "04_Rect", "05_SumPool", "06_Convolution",
                 "07_Rect", "08_SumPool", "09_Convolution", "10_Flatten")  # fmt: skip


def lenet_keys(method):
    found = [f"R/{method}"]
    if method in LENET_OTHER_CLASS:
        found.append(f"R_other_onehot/{method}")
    if method in LENET_INSIDE:
        found += [f"layerR/{method}/{module}" for module in LENET_MODULES]
    return found


@pytest.fixture(scope="module")
def lenet5(shared_golden):
    return golden_models.load(shared_golden / "toolbox_lenet5.npz")


@pytest.fixture(scope="module")
def lenet5_weights(shared_data):
    return golden_models.load(shared_data / "toolbox" / "models" / "lenet5_weights.npz")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", LENET)
def test_lenet5(method, dtype, lenet5, lenet5_weights):
    analyzer = tf_lrp.Analyzer(golden_models.toolbox_lenet5(lenet5_weights, dtype), LENET[method])
    inside = LENET_MODULES[:-1] if method in LENET_INSIDE else ()
    maps = analyzer.analyze(lenet5["x"], layers=inside)
    at_input = maps["input"]
    found = [at_input]
    if method in LENET_OTHER_CLASS:
        found.append(analyzer.analyze(lenet5["x"], lenet5["R_onehot_other"]))
    if method in LENET_INSIDE:
        found += [at_input[:2], *(maps[module][:2] for module in inside)]
    found = dict(zip(lenet_keys(method), found, strict=True))
    golden_models.assert_agree(found, lenet5, dtype, bound(dtype))


def test_every_array_of_lenet5_is_accounted_for(lenet5):
    relevances = golden_models.under(lenet5, "R/", "R_other_onehot/", "layerR/")
    assert {key for key in lenet5 if "/" in key} == set(relevances)
    golden_models.assert_accounted(relevances, [key for method in LENET for key in lenet_keys(method)], {})


def test_lenet5_activations(lenet5, lenet5_weights):
    model = golden_models.toolbox_lenet5(lenet5_weights, "float64")
    layers = keras.Model(model.input, [model.get_layer(module).output for module in LENET_MODULES])
    for module, ours in zip(LENET_MODULES, layers(lenet5["x"][:2]), strict=True):
        factor = 2 if "SumPool" in module else 1
        assert golden_models.error(factor * np.asarray(ours), lenet5[f"act_{module}"]) <= 1e-12, module


# --- Copies ----------------------------------------------------------------------------------------------------------


def test_copies_are_whole(shared_golden):
    for archive, added in (("toolbox_modules", ()), ("toolbox_all_modules", ("W/", "B/"))):
        original, copy = golden_models.assert_copied(archive, shared_golden, added), golden_models.load(archive)
        assert set(original) == set(copy) - set(golden_models.under(copy, *added) if added else ())
