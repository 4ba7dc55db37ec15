"""The LRP Toolbox's first example: a digit, what a network says, and why. Usage: mini.py [MODEL DATA], files of the toolbox.

Both may be the toolbox's own, such as long-rect.txt and test_images.txt: a network for rows of pixels, and images in rows.
"""

import sys

from digits import given, perceptron

from tf_lrp.toolbox import render

nn, X, _ = given(sys.argv[1:], perceptron, n=1)

Ypred = nn.forward(X)
R = nn.lrp(Ypred)  # explains all that the network says; lrp_demo.py asks for single classes
print("predicted class:", Ypred.argmax(), "sum of the relevance:", R.sum().round(3))

digit = render.digit_to_rgb(X, scaling=8)
heatmap = render.hm_to_rgb(R, X, scaling=8, sigma=4)
render.save_image([digit, heatmap], "out/mini.png")
print("saved out/mini.png")
