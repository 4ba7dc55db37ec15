"""Compiled by XLA, in mixed precision, over several devices: the same explanation."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from eagerly import eagerly
from keras import layers
from locations import TESTS
from small_models import convnet, pictures, randomize

import tf_lrp
from tf_lrp.explain.passes import PassKind, pass_function

pytestmark = pytest.mark.compiled

PRESETS = [name for name in tf_lrp.presets.names() if name not in ("attnlrp", "cp_lrp")]


def assert_close(found, expected, tolerance):
    for f, e in zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(f, e, atol=tolerance * np.abs(e).max())


@pytest.mark.parametrize("preset", PRESETS)
def test_xla_on_every_preset(preset):
    with eagerly():
        expected = tf_lrp.Analyzer(convnet(), preset, jit_compile=False).analyze(pictures())
    assert_close(tf_lrp.Analyzer(convnet(), preset, jit_compile=True).analyze(pictures()), expected, 1e-5)


def test_a_smaller_last_batch_is_not_compiled_again():
    analyzer = tf_lrp.Analyzer(convnet(), "epsilon", jit_compile=True, batch_size=4)
    sizes = []
    run = analyzer._run
    analyzer._run = lambda inputs, *rest: (sizes.append(len(inputs[0])), run(inputs, *rest))[1]
    x = pictures(11)
    for selection in (None, np.arange(11) % 5, np.stack([np.arange(11) % 5, np.ones(11, int)], 1)):
        expected = tf_lrp.Analyzer(convnet(), "epsilon", jit_compile=False).analyze(x, selection)
        assert_close(analyzer.analyze(x, selection), expected, 1e-5)
    assert set(sizes) == {4}


def test_where_xla_is_used():
    assert tf_lrp.Analyzer(convnet(), "epsilon").jit_compile == bool(tf.config.list_logical_devices("GPU"))
    with pytest.raises(ValueError, match='"auto", True or False'):
        tf_lrp.Analyzer(convnet(), "epsilon", jit_compile="always")


def test_no_retracing_for_batches_of_any_size():
    analyzer = tf_lrp.Analyzer(convnet(), "cmp_a2_flat", trace="always")
    for samples in (3, 3, 1, 7):
        analyzer.analyze(pictures(samples))
        analyzer(pictures(samples))
    (run,) = analyzer.compiled_passes.values()
    assert run.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_is_explained_in_float32(policy):
    def model(dtype):
        x = inputs = keras.Input((8, 8, 3))
        x = layers.MaxPooling2D(2, dtype=dtype)(layers.Conv2D(4, 3, padding="same", activation="relu", dtype=dtype)(x))
        x = layers.Flatten(dtype=dtype)(x)
        return randomize(keras.Model(inputs, layers.Dense(3, dtype=dtype)(x)))

    mixed = tf_lrp.Analyzer(model(policy), "epsilon")
    relevance = mixed.analyze(pictures())
    assert relevance.dtype == np.float32
    assert_close(relevance, tf_lrp.Analyzer(model("float32"), "epsilon").analyze(pictures()), 1e-6)
    narrow = mixed.analyze(pictures(), dtype="bfloat16")
    assert narrow.dtype == tf.bfloat16.as_numpy_dtype
    assert_close(narrow.astype("float32"), relevance, 1e-2)


def test_a_cast_to_integers_still_rounds():
    inputs = keras.Input((3,))
    whole = keras.ops.cast(keras.ops.cast(2 * inputs, "int32"), "float32")
    model = keras.Model(inputs, layers.Dense(2, use_bias=False)(whole))
    x = np.array([[0.7, 1.2, -0.4]], "float32")
    np.testing.assert_allclose(tf_lrp.Analyzer(model, "z").twin(x), model(x), rtol=1e-6)


def test_many_targets_share_the_forward_pass():
    """Of the passes of K targets each has a backward pass of its own; forward and denominators are there once."""
    analyzer = tf_lrp.Analyzer(convnet(), "cmp_a2", jit_compile=False)
    counts = {}
    for targets in (1, 3):
        selection = np.tile(np.arange(targets), (2, 1))
        expected = np.stack([analyzer.analyze(pictures(2), k) for k in range(targets)], axis=1)
        assert_close(analyzer.analyze(pictures(2), selection), expected, 1e-6)
        function, signature = pass_function(analyzer, PassKind("indices", targets, None, 0))
        graph = tf.function(function, input_signature=signature).get_concrete_function().graph
        kinds = [op.type for op in graph.get_operations() if op.outputs and _is_used(op)]
        counts[targets] = {kind: kinds.count(kind) for kind in ("Conv2D", "Conv2DBackpropInput")}
    assert counts[3]["Conv2D"] == counts[1]["Conv2D"]
    assert counts[3]["Conv2DBackpropInput"] == 3 * counts[1]["Conv2DBackpropInput"]


def _is_used(op):
    """Whether an operation's values go anywhere: those of a linear map whose gradient alone is wanted do not."""
    return any(t.consumers() for t in op.outputs) or op.type == "Conv2DBackpropInput"


SEVERAL_DEVICES = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np, tensorflow as tf
cpus = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)
import tf_lrp
from small_models import convnet, pictures
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
x = pictures(10)
expected = tf_lrp.Analyzer(convnet(), "cmp_a2_flat").analyze(x)
with strategy.scope():
    analyzer = tf_lrp.Analyzer(convnet(), "cmp_a2_flat")
dataset = strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensor_slices((np.arange(10), x)).batch(4))
@tf.function
def explain(n, pictures):
    return strategy.run(lambda n, x: (n, analyzer(x), analyzer(x, tf.zeros(tf.shape(x)[:1], tf.int32))), (n, pictures))
found, used, seen = np.zeros_like(expected), 0, []
for n, pictures_of_all in dataset:
    numbers, relevance, _ = (strategy.experimental_local_results(t) for t in explain(n, pictures_of_all))
    used = max(used, sum(len(part) > 0 for part in numbers))
    for part, maps in zip(numbers, relevance):
        found[part.numpy()] = maps.numpy()
        seen += part.numpy().tolist()
assert sorted(seen) == list(range(10)) and used == 2
np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
print("same")
"""


def test_several_devices():
    tests = str(TESTS)
    run = subprocess.run([sys.executable, "-c", SEVERAL_DEVICES, tests], capture_output=True, text=True, check=False)
    assert run.stdout.strip().endswith("same"), run.stderr[-2000:]
