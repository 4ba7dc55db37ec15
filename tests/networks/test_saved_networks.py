"""Networks of keras.applications, exported and loaded in a process that has never seen them: the same explanations."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lrp

PRESETS = ("z", "cmp_a1_flat", "cmp_a2_flat")
#: Network -> whether it is written by ``model.export`` or by ``tf.saved_model.save``.
NETWORKS = {"MobileNetV2": "keras", "ResNet50": "tf", "DenseNet121": "keras", "EfficientNetB0": "tf", "ConvNeXtTiny": "keras"}

LOADED = f"""
import sys
import numpy as np
import tensorflow as tf
import tf_lrp
tf.config.run_functions_eagerly(True)
folder, *names = sys.argv[1:]
for name in names:
    model, x = tf_lrp.load(folder + name), np.load(folder + name + ".npy")
    opened = tf_lrp.Analyzer(model, verbose=False)
    maps = dict((p, opened.with_preset(p).analyze(x)) for p in {PRESETS!r})
    np.savez(folder + name + ".npz", outputs=model(x), **maps)
"""


@pytest.mark.slow
@pytest.mark.eager
def test_exported_networks_are_explained_as_the_networks_themselves(coverage, tmp_path):
    expected = {}
    for name, how in NETWORKS.items():
        build = getattr(keras.applications, name)
        model = coverage.randomize(build(weights=None, input_shape=(96, 96, 3), classes=10, classifier_activation=None))
        x = coverage.random_inputs(model)
        coverage.calibrate(model, x)
        np.save(tmp_path / f"{name}.npy", x)
        tf.config.run_functions_eagerly(False)  # to save is to trace
        if how == "keras":
            model.export(tmp_path / name, verbose=False)
        else:
            tf.saved_model.save(model, str(tmp_path / name))
        tf.config.run_functions_eagerly(True)
        opened = tf_lrp.Analyzer(model, verbose=False)
        expected[name] = {p: opened.with_preset(p).analyze(x) for p in PRESETS} | {"outputs": model(x)}
        keras.backend.clear_session()
    subprocess.run([sys.executable, "-c", LOADED, f"{tmp_path}/", *NETWORKS], check=True, timeout=1200)
    for name, maps in expected.items():
        found = np.load(tmp_path / f"{name}.npz")
        for key, want in maps.items():
            want = np.asarray(want)
            assert np.abs(found[key] - want).max() <= 1e-5 * np.abs(want).max(), (name, key)
