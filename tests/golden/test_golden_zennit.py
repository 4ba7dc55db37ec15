"""Relevance equals what zennit 1.0.0 computed for three networks, in float64 to 1e-9 of the map's maximum."""

import golden_models
import numpy as np
import pytest
from golden_models import DTYPES

import tf_lrp
from tf_lrp import select
from tf_lrp.rules import AlphaBeta, Epsilon, Flat, Gamma, Pass, WSquare, ZBox, ZPlus

#: zennit's stabilizer of every denominator but Epsilon's own.
STABILIZER = 1e-6

#: Its rule `Norm` for average pooling and sums.
NORM = (select.kind("average_pooling", "merge"), Epsilon(STABILIZER))

FLAT = Flat(stabilizer=STABILIZER)
WSQUARE = WSquare(bias=True, stabilizer=STABILIZER)


def preset(*rules):
    return tf_lrp.Preset((NORM, *rules))


def everywhere(rule):
    return preset((select.all(), rule))


def at_first(rule):
    return preset((select.first(1), rule), (select.all(), Epsilon(1e-6)))


def box(net):
    arrays = golden_models.load(f"zennit_{net}")
    return {"low": arrays["zbox/low"].tolist(), "high": arrays["zbox/high"].tolist()}


#: zennit's method -> the preset that reaches it, for a network.
METHODS = {
    "epsilon_1e-6": lambda net: everywhere(Epsilon(1e-6)),
    "epsilon_0.25": lambda net: everywhere(Epsilon(0.25)),
    "epsilon_normscale_0.25": lambda net: everywhere(Epsilon(0.25, norm_scale=True)),
    "epsilon_clip_0.25": lambda net: everywhere(Epsilon(0.25, clip=True)),
    "zplus": lambda net: everywhere(ZPlus()),
    "alpha2beta1": lambda net: everywhere(AlphaBeta(2, 1)),
    "alpha1beta0": lambda net: everywhere(AlphaBeta(1, 0)),
    "gamma_0.25": lambda net: everywhere(Gamma(0.25)),
    "wsquare": lambda net: everywhere(WSQUARE),
    "flat": lambda net: everywhere(FLAT),
    "zbox_first": lambda net: at_first(ZBox(**box(net), stabilizer=STABILIZER)),
    "wsquare_first": lambda net: at_first(WSQUARE),
    "flat_first": lambda net: at_first(FLAT),
    "epsilon_1e-6__nobias": lambda net: everywhere(Epsilon(1e-6, bias=False)),
    "zplus__nobias": lambda net: everywhere(ZPlus(bias=False)),
    "alpha2beta1__nobias": lambda net: everywhere(AlphaBeta(2, 1, bias=False)),
    "gamma_0.25__nobias": lambda net: everywhere(Gamma(0.25, bias=False)),
    "wsquare__nobias": lambda net: everywhere(WSquare(stabilizer=STABILIZER)),
    "epsilon_plus": lambda net: tf_lrp.preset("epsilon_plus"),
    "epsilon_plus_flat": lambda net: tf_lrp.preset("epsilon_plus_flat"),
    "epsilon_alpha2_beta1": lambda net: tf_lrp.preset("epsilon_alpha2_beta1"),
    "epsilon_alpha2_beta1_flat": lambda net: tf_lrp.preset("epsilon_alpha2_beta1_flat"),
    "epsilon_gamma_box": lambda net: tf_lrp.preset("epsilon_gamma_box", **box(net)),
    "epsilon_plus__nobias": lambda net: preset(
        (select.kind("conv"), ZPlus(bias=False)), (select.all(), Epsilon(1e-6, bias=False))
    ),
    "epsilon_gamma_box__nobias": lambda net: preset(
        (select.first(1, kind="conv"), ZBox(**box(net), stabilizer=STABILIZER)),
        (select.kind("conv"), Gamma(0.25, bias=False)),
        (select.all(), Epsilon(1e-6, bias=False)),
    ),
    # ReLU's gradient instead of Pass: the same, since z+ leaves nothing to an input of zero.
    "excitation_backprop": lambda net: everywhere(ZPlus()),
    "epsilon_plus__bn_pass": lambda net: preset(
        (select.kind("normalization"), Pass()), (select.kind("conv"), ZPlus()), (select.all(), Epsilon(1e-6))
    ),
    "epsilon_1e-6__bn_pass": lambda net: preset((select.kind("normalization"), Pass()), (select.all(), Epsilon(1e-6))),
}

#: Those of the methods that only some networks have.
ONLY = {
    "excitation_backprop": ("cnn", "resnet"),
    "epsilon_plus__bn_pass": ("resnet",),
    "epsilon_1e-6__bn_pass": ("resnet",),
}

#: Methods at which zennit's relevance inside the network is given.
INSIDE = ("epsilon_plus", "flat")

#: zennit's modules whose outputs' relevance is given, for each network -> our layer, where that has another name.
LAYERS = {
    "cnn": dict.fromkeys(("conv1", "relu1", "maxpool1", "conv2", "relu2", "avgpool2", "flatten", "fc1", "relu3", "fc2")),
    "dense": dict.fromkeys(("fc1", "relu1", "fc2", "tanh2", "fc3")),
    "resnet": {
        **dict.fromkeys(("conv1", "bn1", "relu", "avgpool", "fc")),
        **{f"block1.{name}": None for name in ("conv1", "bn1", "relu1", "conv2", "bn2", "relu2")},
        **{f"block2.{name}": None for name in ("conv1", "bn1", "relu1", "conv2", "bn2", "relu2")},
        **{"block2.downsample.0": None, "block2.downsample.1": None},
        **{f"block{n}.canonizer_sum": f"block{n}.add" for n in (1, 2)},
        "flatten": "avgpool",  # global pooling of ours drops the axes that zennit's keeps until its Flatten
    },
}

_GRADIENT = "a gradient method: no rule shares relevance"

#: Keys of each archive that no preset reaches, and why.
NOT_EXPRESSED = {
    net: {f"R/{m}/{start}": _GRADIENT for m in ("gradient", "guided_backprop", "deconvnet") for start in ("max", "c2")}
    for net in LAYERS
}
NOT_EXPRESSED["dense"] |= {
    f"R/excitation_backprop/{start}": "multiplies relevance by tanh's derivative; activations of ours pass relevance"
    for start in ("max", "c2")
}
NOT_EXPRESSED["resnet"]["R/epsilon_plus__no_canonizer/max"] = (
    "zennit without its canonizer copies relevance at sums, so that it grows: not a rule but a pitfall"
)

#: float32 tolerances where denominators near zero magnify its rounding, with the error measured beside them.
LOOSE = {
    ("cnn", "epsilon_1e-6__nobias"): 3e-5,  # 3e-6 here, more with other orders of summation
    ("resnet", "wsquare"): 1e-4,  # 2.3e-5
    ("resnet", "wsquare__nobias"): 1e-4,  # 2.3e-5
    ("resnet", "flat"): 1e-4,  # 2.2e-5
    ("resnet", "epsilon_1e-6__bn_pass"): 2e-3,  # 1.0e-4
    ("resnet", "epsilon_1e-6__nobias"): 2e-3,  # 2.3e-4
    ("resnet", "epsilon_gamma_box__nobias"): 2e-3,  # 3.1e-4
    ("resnet", "gamma_0.25__nobias"): 2e-3,  # 1.4e-3
}


def tolerance(net, dtype, method):
    return 1e-9 if dtype == "float64" else LOOSE.get((net, method), 1e-5)


def cases(net):
    return [method for method in METHODS if net in ONLY.get(method, (net,))]


def starts(method):
    return ("max",) if method.endswith("__bn_pass") else ("max", "c2")


def keys(method, net):
    """Keys of the archive that belong to a method."""
    found = [f"R/{method}/{start}" for start in starts(method)]
    return found + [f"Rint/{method}/{layer}" for layer in LAYERS[net] if method in INSIDE]


def initial_relevance(net, start):
    """R_init: the logit of the strongest class, or 1 at class 2."""
    arrays = golden_models.load(f"zennit_{net}")
    logits = arrays["logits"]
    one_hot = np.eye(logits.shape[1])
    return one_hot[arrays["argmax"]] * logits if start == "max" else np.tile(one_hot[2], (len(logits), 1))


def relevances(net, dtype, method):
    """Our relevance for each of the method's keys."""
    x, begin = golden_models.load(f"zennit_{net}")["x"], starts(method)
    analyzer = tf_lrp.Analyzer(
        golden_models.zennit(net, dtype), METHODS[method](net), fold_batchnorm=not method.endswith("__bn_pass")
    )
    names = {theirs: ours or theirs for theirs, ours in LAYERS[net].items()} if method in INSIDE else {}
    maps = analyzer.analyze(
        np.concatenate([x] * len(begin)),
        np.concatenate([initial_relevance(net, start) for start in begin]),
        layers=sorted(set(names.values())),
    )
    at_input = maps["input"]
    inside = {theirs: maps[ours][: len(x)] for theirs, ours in names.items()}
    if "avgpool" in inside:
        inside["avgpool"] = inside["avgpool"][:, np.newaxis, np.newaxis]
    return dict(zip(keys(method, net), [*np.split(at_input, len(begin)), *inside.values()], strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("net", "method"), [(net, method) for net in LAYERS for method in cases(net)])
def test_relevance(net, method, dtype):
    found, golden = relevances(net, dtype, method), golden_models.load(f"zennit_{net}")
    golden_models.assert_agree(found, golden, dtype, tolerance(net, dtype, method))


@pytest.mark.parametrize("net", LAYERS)
def test_every_array_is_accounted_for(net):
    relevances = golden_models.under(golden_models.load(f"zennit_{net}"), "R/", "Rint/")
    tested = [key for method in cases(net) for key in keys(method, net)]
    golden_models.assert_accounted(relevances, tested, NOT_EXPRESSED[net])


@pytest.mark.parametrize("net", LAYERS)
def test_copy_is_whole(net, shared_golden):
    original = golden_models.assert_copied(f"zennit_{net}", shared_golden)
    assert set(original) == set(golden_models.load(f"zennit_{net}"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("net", LAYERS)
def test_logits(net, dtype):
    golden = golden_models.load(f"zennit_{net}")
    model = golden_models.zennit(net, dtype)
    bound = 1e-9 if dtype == "float64" else 1e-5
    for m in (model, tf_lrp.Analyzer(model, "epsilon_plus").twin):
        assert golden_models.error(np.asarray(m(golden["x"].astype(dtype))), golden["logits"]) <= bound


@pytest.mark.eager
@pytest.mark.parametrize("net", LAYERS)
def test_default_start_is_the_strongest_logit(net):
    golden = golden_models.load(f"zennit_{net}")
    found = tf_lrp.Analyzer(golden_models.zennit(net, "float64"), "epsilon_plus").analyze(golden["x"])
    assert golden_models.error(found, golden["R/epsilon_plus/max"]) <= 1e-9


@pytest.mark.eager
def test_a_bare_plus_is_a_sum():
    golden = golden_models.load("zennit_resnet")
    found = tf_lrp.Analyzer(golden_models.zennit("resnet_plus", "float64"), "epsilon_plus").analyze(golden["x"])
    assert golden_models.error(found, golden["R/epsilon_plus/max"]) <= 1e-9


@pytest.mark.eager
@pytest.mark.parametrize("net", LAYERS)
def test_w_square_leaves_the_bias_out_by_default(net):
    golden = golden_models.load(f"zennit_{net}")
    found = tf_lrp.Analyzer(golden_models.zennit(net, "float64"), WSquare()).analyze(golden["x"])
    assert golden_models.error(found, golden["R/wsquare__nobias/max"]) <= 1e-3  # zennit's stabilizer: 4.3e-4 in the resnet
    assert golden_models.error(found, golden["R/wsquare/max"]) > 5e-2
