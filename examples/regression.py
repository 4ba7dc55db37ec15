"""Explain an estimate: what in a picture raised it, and what lowered it.

The network learns a balance: bright dots count +1, dark dots -1, on grey. So what raises and what lowers it is known.
Relevance is in units of the estimate: R > 0 raised it, R < 0 lowered it.
"""

import sys

import keras
import numpy as np
from keras import layers

import tf_lrp
from tf_lrp import heatmap

SIZE = 32


def pictures(n, seed):
    """Pictures around 0 (grey), their balances, and the pixels of the bright and of the dark dots."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 0.1, (n, SIZE, SIZE))
    signs = np.zeros(x.shape)
    count = rng.integers(0, 5, (n, 2))
    for i in range(n):
        # Dots on a grid of 8 x 8 places, so that none hides another.
        places = rng.choice(64, count[i].sum(), replace=False)
        for k, (row, column) in enumerate(zip(*np.divmod(places, 8), strict=True)):
            signs[i, 4 * row : 4 * row + 3, 4 * column : 4 * column + 3] = 1 if k < count[i, 0] else -1
    return (x + signs)[..., None].astype("float32"), (count[:, 0] - count[:, 1]).astype("float32"), signs > 0, signs < 0


keras.utils.set_random_seed(1)
model = keras.Sequential(
    [
        keras.Input((SIZE, SIZE, 1)),
        layers.Conv2D(8, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(8, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(1),
    ]
)
model.compile(keras.optimizers.Adam(0.02), "mean_squared_error")
x, balance, *_ = pictures(2000, seed=0)
model.fit(x, balance, epochs=12, batch_size=64, verbose=0)
x, balance, bright, dark = pictures(300, seed=1)
estimate = model.predict(x, verbose=0)[:, 0]
print(f"estimates are off by {np.abs(estimate - balance).mean():.2f} on average, guesses of 0 by {np.abs(balance).mean():.2f}")

analyzer = tf_lrp.Analyzer(model, preset="cmp_a1")
relevance = analyzer.analyze(x)[..., 0]  # a single output needs no neuron_selection
raised, lowered = np.maximum(relevance, 0), np.minimum(relevance, 0)

print("bright  dark  what raised  what lowered  biases  estimate")
for i in range(5):
    bias = analyzer.conservation(x[[i]]).bias
    sums = f"{raised[i].sum():+11.2f}  {lowered[i].sum():+12.2f}  {bias:+6.2f}  {estimate[i]:+8.2f}"
    print(f"{bright[i].sum() // 9:6}  {dark[i].sum() // 9:4}  {sums}")
print(f"what raised lies on bright dots: {raised[bright].sum() / raised.sum():.0%}; they are {bright.mean():.0%} of a picture")
print(f"what lowered lies on dark dots: {lowered[dark].sum() / lowered.sum():.0%}; they are {dark.mean():.0%} of a picture")

rows = [[np.uint8(255 * np.clip(x[i] / 3 + 0.5, 0, 1)), heatmap.to_rgb(relevance[i])] for i in range(5)]
sheet = heatmap.grid(list(zip(*rows, strict=True)), ["picture", "relevance"], [f"{e:+.1f}" for e in estimate[:5]])
print("saved", heatmap.save(sheet, sys.argv[1] if len(sys.argv) > 1 else "out/regression.png"))
