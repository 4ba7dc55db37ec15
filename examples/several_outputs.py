"""Explain a detector: one backbone, one head for the class of an object and one for its box. Each is asked on its own.

Every picture holds one object, a disc or a ring, of random size and place, among scratches and noise.
"""

import sys

import keras
import numpy as np
from keras import layers

import tf_lrp
from tf_lrp import heatmap

SIZE = 32
CLASSES, EDGES = ("disc", "ring"), ("top", "left", "bottom", "right")


def pictures(n, seed):
    """Pictures, the targets of both heads (classes; boxes (n, 4) in pixels), and the objects' pixels."""
    rng = np.random.default_rng(seed)
    kind, radius = np.arange(n) % 2, rng.uniform(4, 7, n)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    centre = rng.uniform(8, SIZE - 9, (2, n))
    distance = np.hypot(rows - centre[0, :, None, None], columns - centre[1, :, None, None])
    where = (distance < radius[:, None, None]) & ((kind == 0)[:, None, None] | (distance > radius[:, None, None] - 2.5))
    x = rng.normal(0.1, 0.05, where.shape)
    x[np.arange(n), rng.integers(SIZE, size=n)] += 0.3  # a scratch
    x[where] = 1
    boxes = np.stack([centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius], axis=1)
    return x[..., None].astype("float32"), {"classes": kind, "boxes": boxes.astype("float32")}, where


keras.utils.set_random_seed(1)
picture = keras.Input((SIZE, SIZE, 1))
features = picture
for filters in (8, 16, 16):
    features = layers.Conv2D(filters, 3, padding="same", activation="relu")(features)
    features = layers.MaxPooling2D(2)(features)
features = layers.Flatten()(features)
heads = {
    "classes": layers.Dense(2, name="class_scores")(features),
    "boxes": layers.Dense(4, name="box_edges")(layers.Dense(32, activation="relu")(features)),
}
model = keras.Model(picture, heads)
losses = {"classes": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "boxes": "mean_absolute_error"}
model.compile(keras.optimizers.Adam(0.003), losses)
x, targets, _ = pictures(1500, seed=0)
model.fit(x, targets, epochs=8, batch_size=64, verbose=0)
x, targets, where = pictures(100, seed=1)
found = model.predict(x, verbose=0)
right, error = found["classes"].argmax(axis=1) == targets["classes"], np.abs(found["boxes"] - targets["boxes"])
print(f"right classes: {right.mean():.0%}; edges are off by {error.mean():.1f} pixels")

analyzer = tf_lrp.Analyzer(model, preset="gamma")
of_class = analyzer.analyze(x, output="classes")  # (100, 32, 32, 1): why this class?
of_edges = analyzer.analyze(x, np.tile(range(4), (100, 1)), output="boxes")  # (100, 4, 32, 32, 1): why these edges?

for name, relevance in [("class", of_class), *((edge, of_edges[:, k]) for k, edge in enumerate(EDGES))]:
    support = np.maximum(relevance[..., 0], 0)
    print(f"support for {name:6} on the object: {support[where].sum() / support.sum():.0%}")
print(f"the object is {where.mean():.0%} of a picture")
print(analyzer.conservation(x, EDGES.index("left"), output="boxes"))

columns = [np.uint8(255 * x.clip(0, 1)), heatmap.to_rgb(of_class), *(heatmap.to_rgb(of_edges[:, k]) for k in range(4))]
sheet = heatmap.grid([[c[i] for c in columns] for i in range(4)], column_titles=["picture", "class", *EDGES])
print("saved", heatmap.save(sheet, sys.argv[1] if len(sys.argv) > 1 else "out/several_outputs.png"))
