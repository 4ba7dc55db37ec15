"""Explain a segmentation: outputs (N, H, W, classes), so an index names no neuron, and a target says what is explained.

Every picture holds a disc and a square of the same brightness, so what a pixel belongs to can only be told from the outline
around it. `target.neuron` asks about one pixel, `target.region` about a class over a mask: here all pixels found to be disc.
"""

import sys

import keras
import numpy as np
from keras import layers

import tf_lrp
from tf_lrp import heatmap, target

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
analyzer = tf_lrp.Analyzer(model, preset="cmp_a1")

# One pixel of each picture, in the middle of what was found to be a disc: why is it disc?
rows, columns = np.round([np.argwhere(f == 1).mean(axis=0) for f in found]).astype(int).T
pixel = target.neuron(rows, columns, 1)
of_pixel = analyzer.analyze(x, pixel)[..., 0]
books = analyzer.conservation(x, pixel)
print(f"of these pixels' logits, {books.output:.0f}, {books.input:.0f} reached the input; biases kept {books.bias:.0f}\n")

# A class over its mask, two classes from one forward pass.
masks = [target.region(found == k, channel=k) for k in (1, 2)]
of_disc, of_square = np.moveaxis(analyzer.analyze(x, masks)[..., 0], 1, 0)

print(f"{'support for':28}{'on background':>15}{'on disc':>15}{'on square':>15}")
for name, relevance in {"the disc's middle pixel": of_pixel, "the disc": of_disc, "the square": of_square}.items():
    support = np.maximum(relevance, 0)
    print(f"{name:28}" + "".join(f"{support[truth == k].sum() / support.sum():>15.0%}" for k in range(3)))
print(f"{'(size)':28}" + "".join(f"{(truth == k).mean():>15.0%}" for k in range(3)))

drawn = [np.uint8(255 * x.clip(0, 1)), np.uint8(127 * found), *map(heatmap.to_rgb, (of_pixel, of_disc, of_square))]
titles = ["picture", "found", "disc's middle pixel", "disc", "square"]
sheet = heatmap.grid([[d[i] for d in drawn] for i in range(4)], column_titles=titles)
print("saved", heatmap.save(sheet, sys.argv[1] if len(sys.argv) > 1 else "out/segmentation.png"))
