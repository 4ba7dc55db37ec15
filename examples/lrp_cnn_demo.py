"""LeNet-5 on digits: one decomposition for all layers, and one for each. Also why a digit would be another one.

Usage: lrp_cnn_demo.py [MODEL DATA [LABELS]], files of the LRP Toolbox, such as LeNet-5.txt, images in rows, and their classes.
"""

import sys

import numpy as np
from digits import given, lenet5, pictures

from tf_lrp import heatmap
from tf_lrp.toolbox import data_io, render

nn, X, numbers = given(sys.argv[1:], lenet5)
X = pictures(X)
nn.drop_softmax_output_layer()
scores = nn.forward(X, lrp_aware=True)
predicted = scores.argmax(1)
wrong = np.where(predicted == 2, 7, 2)
if numbers is not None:
    print("classes that were found:", f"{np.mean(predicted == numbers):.0%}")

of_predicted = scores * np.eye(10)[predicted]
maps = {
    "epsilon 1": nn.lrp(of_predicted, "epsilon", 1.0),
    "as another": nn.lrp(np.eye(10)[wrong], "epsilon", 1.0),
    "alpha 2": nn.lrp(of_predicted, "alphabeta", 2.0),
}
# A decomposition for each layer: what excites the network, and at the pixels, where it looks.
nn.set_lrp_parameters("alpha", 1.0)
for of_first_layer in ("ww", "flat"):
    nn.modules[0].set_lrp_parameters(of_first_layer)
    maps[f"alpha 1, {of_first_layer} first"] = nn.lrp(of_predicted)

rows = []
for i, x in enumerate(X):
    x = (x.sum(-1) + 1) / 2
    images = [render.digit_to_rgb(x, 4)]
    images += [render.hm_to_rgb(R[i].sum(-1), x, scaling=4, sigma=2, cmap="black-firered") for R in maps.values()]
    images[2] = render.hm_to_rgb(maps["as another"][i].sum(-1), x, scaling=4, sigma=2)  # the colours of the manual
    rows.append([(255 * image).astype("uint8") for image in images])
titles = [f"{p}, or {w}?" for p, w in zip(predicted, wrong, strict=True)]
heatmap.save(heatmap.grid(rows, titles, ["digit", *maps]), "out/lrp_cnn_demo.png")
data_io.write(maps["epsilon 1"], "out/lrp_cnn_demo.npy")
print("saved out/lrp_cnn_demo.png and .npy")
