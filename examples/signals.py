"""Explain signals (N, time, sensors): which sensor, and when, made a network hear a fast burst rather than a slow one.

Every recording of four noisy sensors holds two bursts in two of the sensors, one slow and one fast; the class says which
of them is the stronger. So it is known where the relevance for either class has to be.
"""

import sys

import keras
import numpy as np
from keras import layers

import tf_lrp
from tf_lrp import heatmap

TIME, SENSORS, LENGTH, PERIODS = 128, 4, 24, (12, 4)  # periods of the slow and the fast burst, in time steps


def record(n, seed):
    """Recordings, their classes (0 slow, 1 fast), and where each of the two bursts is: bool (n, 2, TIME, SENSORS)."""
    rng = np.random.default_rng(seed)
    x, where = rng.normal(0, 0.2, (n, TIME, SENSORS)), np.zeros((n, 2, TIME, SENSORS), bool)
    strength = rng.permuted(np.tile([0.6, 1.4], (n, 1)), axis=1)
    for i in range(n):
        for burst, sensor in enumerate(rng.choice(SENSORS, 2, replace=False)):
            span = np.arange(LENGTH) + rng.integers(TIME - LENGTH)
            x[i, span, sensor] += strength[i, burst] * np.sin(2 * np.pi * span / PERIODS[burst] + rng.uniform(0, 6))
            where[i, burst, span, sensor] = True
    return x.astype("float32"), strength.argmax(axis=1), where


keras.utils.set_random_seed(1)
model = keras.Sequential(
    [
        keras.Input((TIME, SENSORS)),
        layers.Conv1D(16, 9, activation="relu"),
        layers.MaxPooling1D(2),
        layers.Conv1D(16, 7, activation="relu"),
        layers.GlobalAveragePooling1D(),
        layers.Dense(2),
    ]
)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
x, labels, _ = record(1500, seed=0)
model.fit(x, labels, epochs=12, batch_size=64, verbose=0)
x, labels, where = record(200, seed=1)
print(f"accuracy on new recordings: {model.evaluate(x, labels, verbose=0)[1]:.0%}")

analyzer = tf_lrp.Analyzer(model, preset="cmp_a1")
relevance = analyzer.analyze(x, np.tile([0, 1], (200, 1)))  # (200, 2, 128, 4): both classes from one forward pass
support = np.maximum(relevance, 0)  # what speaks for the class

for k, name in enumerate(("slow", "fast")):
    inside = (support[:, k] * where[:, k]).sum() / support[:, k].sum()
    other = (support[:, k] * where[:, 1 - k]).sum() / support[:, k].sum()
    found = support[:, k].sum(axis=1).argmax(axis=1) == where[:, k].any(axis=1).argmax(axis=1)
    print(
        f'support for "{name}" in the {name} burst: {inside:.0%}, in the other: {other:.0%}; sensor: {found.mean():.0%} right'
    )
print(f"a burst is {where[:, 0].mean():.1%} of a recording")

# A recording as a picture has one row for each sensor.
rows = [[heatmap.to_rgb(np.repeat(m.T, 12, axis=0)) for m in (x[i], relevance[i, 0], relevance[i, 1])] for i in range(6)]
sheet = heatmap.grid(rows, column_titles=["recording", 'relevance for "slow"', '"fast"'])
print("saved", heatmap.save(sheet, sys.argv[1] if len(sys.argv) > 1 else "out/signals.png"))
