"""`tf_lrp.toolbox` computes what the LRP Toolbox 1.3.1 computed: single modules, and networks from its files."""

import golden_models
import numpy as np
import pytest

from tf_lrp.toolbox import model_io, modules

CASES = ("linear", "linear_nonneg", "conv_3x2_s2x1", "conv_truncated_8x8_k3_s2", "maxpool_2x2_s2_ties",
         "maxpool_3x3_s2_overlap", "sumpool_2x2_s2_nonneg", "sumpool_2x2_s2_signed", "sumpool_3x2_s2x1_overlap")  # fmt: skip
METHODS = ("simple", "epsilon_0.1", "alphabeta_2", "alphabeta_1", "alphabeta_0", "alphabeta_0.5", "ww", "flat")
#: Other names of the same decompositions, upper and lower case.
ALIASES = {"simple": "none", "epsilon": "EPS", "alphabeta": "alpha", "ww": "w^2", "flat": "Flat"}
#: Simple is stabilized by 1e-12 and 1e-16 there; all else agrees to rounding.
BOUND = 1e-9


def arguments(method):
    name, _, parameter = method.partition("_")
    return (name, float(parameter)) if parameter else (name,)


def assert_close(found, golden, bound=BOUND):
    assert golden_models.error(np.asarray(found), golden) <= bound


def module_of(case, golden):
    shapes = {key: golden[f"{case}/{key}"] for key in ("W", "B", "stride", "pool") if f"{case}/{key}" in golden}
    if case.startswith("linear"):
        module = modules.Linear(*shapes["W"].shape)
    elif case.startswith("conv"):
        module = modules.Convolution(shapes["W"].shape, shapes["stride"].tolist())
    else:
        kind = modules.MaxPool if case.startswith("maxpool") else modules.SumPool
        return kind(shapes["pool"].tolist(), shapes["stride"].tolist())
    module.W, module.B = shapes["W"], shapes["B"]
    return module


@pytest.mark.eager
@pytest.mark.parametrize("case", CASES)
def test_single_modules(case):
    golden = golden_models.load("toolbox_modules")
    module = module_of(case, golden)
    assert_close(module.forward(golden[f"{case}/x"]), golden[f"{case}/y"], 1e-12)
    for method in METHODS:
        expected = golden.get(f"{case}/{method}_slow", golden[f"{case}/{method}"])  # the fast code has a fault, see there
        assert_close(module.lrp(golden[f"{case}/R_in"], *arguments(method)), expected)
    name, *parameter = arguments("epsilon_0.1")
    assert_close(module.lrp(golden[f"{case}/R_in"], ALIASES[name], *parameter), golden[f"{case}/epsilon_0.1"])


@pytest.fixture(scope="module")
def network():
    """Convolution Rect MaxPool Tanh SumPool Flatten Linear Rect Linear SoftMax."""
    golden = golden_models.load("toolbox_all_modules")
    layers = [modules.Convolution((3, 3, 2, 4), (1, 1)), modules.Rect(), modules.MaxPool((2, 2), (2, 2)), modules.Tanh(),
              modules.SumPool((2, 2), (1, 1)), modules.Flatten(), modules.Linear(16, 6), modules.Rect(), modules.Linear(6, 3),
              modules.SoftMax()]  # fmt: skip
    for module, name in ((layers[0], "conv"), (layers[6], "linear1"), (layers[8], "linear2")):
        module.W, module.B = golden[f"W/{name}"], golden[f"B/{name}"]
    return modules.Sequential(layers)


ALL_MODULES = ("simple", "epsilon_0.1", "alphabeta_1", "alphabeta_2", "ww", "flat")


@pytest.mark.eager
@pytest.mark.parametrize("ending", [".txt", ".nn", ".keras"])
def test_a_network_from_files(ending, network, tmp_path):
    golden = golden_models.load("toolbox_all_modules")
    network.forward(golden["x"])  # by which the shape of the pictures is known, which a Keras model has
    model_io.write(network, tmp_path / f"network{ending}")
    nn = model_io.read(str(tmp_path / f"network{ending}"))
    assert_close(nn.forward(golden["x"]), golden["probs"], 1e-12)
    for method in ALL_MODULES:
        assert_close(nn.lrp(golden["R_init"], *arguments(method)), golden[f"R/{method}"])
    nn.drop_softmax_output_layer()
    assert_close(nn.forward(golden["x"]), golden["logits"], 1e-12)


@pytest.mark.eager
def test_aliases_and_a_forward_pass_that_is_aware_of_lrp(network):
    golden = golden_models.load("toolbox_all_modules")
    network.forward(golden["x"], lrp_aware=True)
    for method in ALL_MODULES:
        name, *parameter = arguments(method)
        assert_close(network.lrp(golden["R_init"], ALIASES[name], *parameter), golden[f"R/{method}"])


# ---- the toolbox's own networks, which are not kept here -------------------------------------------------------------


@pytest.fixture(scope="module")
def lenet5(shared_golden, shared_data):
    return golden_models.load(shared_golden / "toolbox_lenet5.npz"), shared_data / "toolbox" / "models" / "LeNet-5.txt"


@pytest.mark.parametrize("method", ["simple", "epsilon_0.01", "alphabeta_1", "alphabeta_2", "ww", "flat"])
def test_lenet5(method, lenet5):
    golden, path = lenet5
    nn = model_io.read(path)
    assert_close(nn.forward(golden["x"]), golden["logits"], 1e-12)
    assert_close(nn.lrp(golden["R_init"], *arguments(method)), golden[f"R/{method}"])
    if f"R_other_onehot/{method}" in golden:
        assert_close(nn.lrp(golden["R_onehot_other"], *arguments(method)), golden[f"R_other_onehot/{method}"])


def test_lenet5_with_a_decomposition_for_each_layer(lenet5):
    golden, path = lenet5
    nn = model_io.read(path)
    nn.set_lrp_parameters("alpha", 1.0)
    nn.modules[0].set_lrp_parameters("flat")
    nn.forward(golden["x"])
    assert_close(nn.lrp(golden["R_init"]), golden["R/demo_perlayer_alpha1_flat0"])
    assert_close(nn.lrp(golden["R_init"], "simple"), golden["R/simple"])  # explicit ones override those that are set


@pytest.mark.eager
@pytest.mark.parametrize("file", ["models/xor_net_small.txt", "format_samples/xor_legacy_rows.txt"])
def test_xor_in_both_layouts(file, shared_golden, shared_data):
    golden = golden_models.load(shared_golden / "toolbox_xor.npz")
    nn = model_io.read(shared_data / "toolbox" / file)
    assert_close(nn.forward(golden["x"]), golden["probs"], 1e-12)
    for method in ("simple", "epsilon_0.01", "epsilon_1", "alphabeta_2", "alphabeta_0.5", "alphabeta_0", "ww", "flat"):
        assert_close(nn.lrp(golden["R_init_softmax"], *arguments(method)), golden[f"R_softmax/{method}"])
