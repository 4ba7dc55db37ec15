"""Explain a segmentation: outputs (N, H, W, classes), so an index names no neuron, and R_init is given as floats.

Every picture holds a disc and a square of the same brightness, so what a pixel belongs to can only be told from the outline
around it. R_init = logits * mask asks about any set of pixels and classes: here one pixel, then all pixels found to be disc.
"""

import sys

import keras
import numpy as np
from keras import layers

import tf_lrp
from tf_lrp import heatmap

SIZE, CLASSES = 32, ("background", "disc", "square")


def pictures(n, seed):
    """Pictures and the class of each of their pixels (n, SIZE, SIZE)."""
    rng = np.random.default_rng(seed)
    side = rng.permuted(np.tile([8, 23], (n, 1)), axis=1)  # one object on the left, one on the right
    rows = rng.integers(7, SIZE - 7, (n, 2))
    v, u = np.mgrid[:SIZE, :SIZE]
    down, right = (np.abs(g - at[:, :, None, None]) for g, at in ((v, rows), (u, side)))
    truth = np.where(np.hypot(down[:, 0], right[:, 0]) < 6.5, 1, 0)
    truth[np.maximum(down[:, 1], right[:, 1]) < 6] = 2
    x = rng.normal(0.7 * (truth > 0), 0.1)
    return x[..., None].astype("float32"), truth


keras.utils.set_random_seed(1)
picture = keras.Input((SIZE, SIZE, 1))
fine = layers.Conv2D(16, 3, padding="same", activation="relu")(picture)
coarse = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(fine)
coarse = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(coarse)
coarse = layers.Conv2D(32, 3, padding="same", activation="relu")(coarse)
coarse = layers.Conv2DTranspose(16, 4, strides=4, activation="relu")(coarse)
both = layers.Concatenate()([fine, coarse])
both = layers.Conv2D(16, 3, padding="same", activation="relu")(both)
model = keras.Model(picture, layers.Conv2D(len(CLASSES), 1)(both))
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.Adam(0.005), loss, metrics=["accuracy"])
x, truth = pictures(500, seed=0)
model.fit(x, truth, epochs=6, batch_size=25, verbose=0)
x, truth = pictures(50, seed=1)
print(f"right pixels in new pictures: {model.evaluate(x, truth, verbose=0)[1]:.1%}")

logits = model.predict(x, verbose=0)  # (50, 32, 32, 3)
found = logits.argmax(axis=-1)
print([(found[truth==k]==k).mean() for k in range(3)])
for p in ("epsilon", "cmp_a1", "cmp_a2", "epsilon_plus", "gamma"):
    analyzer = tf_lrp.Analyzer(model, preset=p)
    for k in (1, 2):
        R = analyzer.analyze(x, logits * (found == k)[..., None] * np.eye(3, dtype="float32")[k])
        s = np.maximum(R[..., 0], 0)
        print(p, k, [(s[truth == j].sum() / s.sum()) for j in range(3)], R.sum(), [(truth==j).mean() for j in range(3)])
