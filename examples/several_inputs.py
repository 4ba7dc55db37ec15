"""Explain a network with two inputs, a picture and a row of metadata: how much came from which.

A finding is positive if there is a bright spot in the picture or the patient is old. So in every case the truth is known:
relevance belongs to the spot, or to the column "age", or to both.
"""

import keras
import numpy as np
from keras import layers

import tf_lrp

SIZE, COLUMNS = 24, ("age", "height", "weight")


def cases(n, seed):
    """Inputs as a dict, labels, whether there is a spot, whether the patient is old, and the spots' pixels."""
    rng = np.random.default_rng(seed)
    picture, metadata = rng.normal(0, 0.1, (n, SIZE, SIZE)), rng.normal(0, 0.3, (n, len(COLUMNS)))
    spot, old = rng.random(n) < 0.5, rng.random(n) < 0.5
    centre = rng.integers(3, SIZE - 3, (2, n, 1, 1))
    rows, columns = np.mgrid[:SIZE, :SIZE]
    where = (np.hypot(rows - centre[0], columns - centre[1]) < 3) & spot[:, None, None]
    picture[where] += 1
    metadata[:, 0] += 2.0 * old
    x = {"picture": picture[..., None].astype("float32"), "metadata": metadata.astype("float32")}
    return x, (spot | old).astype("int32"), spot, old, where


keras.utils.set_random_seed(1)
picture = keras.Input((SIZE, SIZE, 1), name="picture")
metadata = keras.Input((len(COLUMNS),), name="metadata")
seen = layers.Conv2D(16, 3, activation="relu")(picture)
seen = layers.MaxPooling2D(2)(seen)
seen = layers.Conv2D(16, 3, activation="relu")(seen)
seen = layers.GlobalMaxPooling2D()(seen)
known = layers.Dense(16, activation="relu")(metadata)
model = keras.Model({"picture": picture, "metadata": metadata}, layers.Dense(1)(layers.Concatenate()([seen, known])))
model.compile(keras.optimizers.Adam(0.005), keras.losses.BinaryCrossentropy(from_logits=True), metrics=["accuracy"])
x, labels, *_ = cases(1200, seed=0)
model.fit(x, labels, epochs=10, batch_size=64, verbose=0)
x, labels, spot, old, where = cases(400, seed=1)
print(f"accuracy on new cases: {model.evaluate(x, labels, verbose=0)[1]:.0%}")

analyzer = tf_lrp.Analyzer(model, preset="epsilon_plus")
relevance = analyzer.analyze(x)  # a dict again: {"picture": (400, 24, 24, 1), "metadata": (400, 3)}

of_picture, of_metadata = relevance["picture"].sum(axis=(1, 2, 3)), relevance["metadata"].sum(axis=1)
share = {}
for name, chosen in {"spot, young": spot & ~old, "no spot, old": ~spot & old, "spot, old": spot & old}.items():
    share[name] = of_picture[chosen].sum() / (of_picture[chosen].sum() + of_metadata[chosen].sum())
    print(f"{name:13}: relevance from the picture {share[name]:4.0%}, from the metadata {1 - share[name]:4.0%}")

inside = relevance["picture"][..., 0][where].sum() / relevance["picture"][spot].sum()
print(f"of the picture's relevance in the spot: {inside:.0%}; the spot is {where[spot].mean():.0%} of the picture")
by_column = np.abs(relevance["metadata"][old]).sum(axis=0)
print("of the metadata's:", ", ".join(f"{c} {v:.0%}" for c, v in zip(COLUMNS, by_column / by_column.sum(), strict=True)))
# What biases keep or add on the way differs between the branches: the balance says how much.
print(analyzer.conservation(x))
