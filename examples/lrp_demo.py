"""Ten digits, each explained as what it is taken for and as what it is not, by three decompositions.

Usage: lrp_demo.py [MODEL DATA [LABELS]], files of the LRP Toolbox: a network for rows of pixels, images in rows, their classes.
"""

import sys

import numpy as np
from digits import given, perceptron

from tf_lrp import heatmap
from tf_lrp.toolbox import render

DECOMPOSITIONS = {"simple": (), "epsilon 1": ("epsilon", 1.0), "alpha 2": ("alphabeta", 2.0)}

nn, X, numbers = given(sys.argv[1:], perceptron)
nn.drop_softmax_output_layer()  # scores are explained, not probabilities
scores = nn.forward(X, lrp_aware=True)  # many explanations follow
predicted = scores.argmax(1)
wrong = np.where(predicted == 2, 7, 2)  # a 7 asked for its 2, as in the toolbox's manual

rows = []
for i in range(len(X)):
    print("class", "?" if numbers is None else numbers[i], "predicted", predicted[i], "with", scores[i, predicted[i]].round(2))
heatmaps = {}
for name, arguments in DECOMPOSITIONS.items():
    heatmaps[name] = nn.lrp(scores * np.eye(10)[predicted], *arguments)
    heatmaps[f"{name}, as another"] = nn.lrp(np.eye(10)[wrong], *arguments)  # red speaks for it, whatever the score's sign
for i, x in enumerate(X):
    images = [render.digit_to_rgb(x, 4), *(render.hm_to_rgb(R[i], x, scaling=4, sigma=2) for R in heatmaps.values())]
    rows.append([(255 * image).astype("uint8") for image in images])
titles = [f"{p}, or {w}?" for p, w in zip(predicted, wrong, strict=True)]
heatmap.save(heatmap.grid(rows, titles, ["digit", *heatmaps]), "out/lrp_demo.png")
print("saved out/lrp_demo.png")
