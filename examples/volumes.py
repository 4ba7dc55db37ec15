"""Explain volumes (N, depth, height, width, 1), such as scans: a small bright blob decides the class, and has the relevance.

Every volume is full of noise and holds three larger, paler lumps; in half of them there is also a blob a few voxels wide.
"""

import sys

import keras
import numpy as np
from keras import layers

import tf_lrp
from tf_lrp import heatmap

SIZE = 16
GRID = np.stack(np.meshgrid(*[np.arange(SIZE)] * 3, indexing="ij"), axis=-1)


def scan(n, seed):
    """Volumes, whether there is a blob (0 or 1), and its voxels: bool (n, SIZE, SIZE, SIZE)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 0.1, (n, SIZE, SIZE, SIZE))
    labels, where = np.arange(n) % 2, np.zeros(x.shape, bool)
    for i in range(n):
        centres = rng.integers(3, SIZE - 3, (4, 3))
        distance = np.linalg.norm(GRID[None] - centres[:, None, None, None], axis=-1)
        x[i] += 0.4 * (distance[1:] < 4).any(axis=0)
        where[i] = (distance[0] < 2) & (labels[i] == 1)
        x[i][where[i]] = 1
    return x[..., None].astype("float32"), labels, where


keras.utils.set_random_seed(1)
model = keras.Sequential(
    [
        keras.Input((SIZE, SIZE, SIZE, 1)),
        layers.Conv3D(8, 3, activation="relu"),
        layers.MaxPooling3D(2),
        layers.Conv3D(16, 3, activation="relu"),
        layers.Conv3D(16, 3, activation="relu"),
        layers.GlobalMaxPooling3D(),
        layers.Dense(1),
    ]
)
model.compile(keras.optimizers.Adam(0.005), keras.losses.BinaryCrossentropy(from_logits=True), metrics=["accuracy"])
x, labels, _ = scan(300, seed=0)
model.fit(x, labels, epochs=10, batch_size=20, verbose=0)
x, labels, where = scan(60, seed=1)
print(f"accuracy on new volumes: {model.evaluate(x, labels, verbose=0)[1]:.0%}")

x, where = x[labels == 1], where[labels == 1]
analyzer = tf_lrp.Analyzer(model, preset="cmp_a1")
relevance = analyzer.analyze(x)  # (30, 16, 16, 16, 1): what speaks for a blob, R > 0, or against one, R < 0
support = np.maximum(relevance, 0)
inside = support[..., 0][where].sum() / support.sum()
print(f"support in the blob: {inside:.0%}; the blob is {where.mean():.1%} of a volume")
strongest = relevance.reshape(len(x), -1).argmax(axis=1)
print(f"strongest voxel in the blob: {where.reshape(len(x), -1)[np.arange(len(x)), strongest].mean():.0%} of the volumes")
books = analyzer.conservation(x)
print(f"of all logits, {books.output:.0f}, {books.input:.0f} reached the voxels; biases kept {books.bias:.0f}")

# Slices of the first volume around the strongest voxel, and the relevance in them.
depth = np.unravel_index(strongest[0], where.shape[1:])[0]
cuts = range(max(depth - 4, 0), min(depth + 5, SIZE), 2)
maps = heatmap.to_rgb(relevance[0, ..., 0], normalization="shared")
grey = np.uint8(255 * np.clip(x[0, ..., 0], 0, 1))
sheet = heatmap.grid([[grey[d] for d in cuts], [maps[d] for d in cuts]], ["volume", "relevance"], [f"depth {d}" for d in cuts])
print("saved", heatmap.save(sheet, sys.argv[1] if len(sys.argv) > 1 else "out/volumes.png"))
