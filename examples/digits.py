"""Digits and networks for mini.py, lrp_demo.py and lrp_cnn_demo.py: made here, or read from files of the LRP Toolbox."""

from pathlib import Path

import keras
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tf_lrp.toolbox import data_io, model_io, modules

FONTS = [Path(matplotlib.get_data_path(), "fonts", "ttf", f"DejaVu{name}.ttf") for name in ("Sans", "Serif", "SansMono")]


def draw(number, random):
    """A digit as grey values 0..255 of 28 x 28 pixels, somewhat shifted and rotated."""
    image = Image.new("L", (28, 28))
    font = ImageFont.truetype(FONTS[random.integers(len(FONTS))], int(random.integers(20, 27)))
    ImageDraw.Draw(image).text(14 + random.uniform(-2, 2, 2), str(number), fill=255, font=font, anchor="mm")
    return np.asarray(image.rotate(random.uniform(-15, 15), Image.Resampling.BILINEAR))


def digits(n, seed):
    """(rows of n digits (n, 784) in [-1, 1], their numbers (n,)), in the order 7, 2, 1, 0, ... at first."""
    random = np.random.default_rng(seed)
    numbers = np.r_[7, 2, 1, 0, 4, 9, 5, 6, 3, 8, random.integers(0, 10, n)][:n]
    return np.stack([draw(number, random).ravel() for number in numbers]) / 127.5 - 1, numbers


def trained(nn, shape=(784,), **options):
    """The network after training on digits of the shape."""
    x, numbers = digits(4000, seed=1)
    nn.train(pictures(x) if len(shape) > 1 else x, np.eye(10)[numbers], seed=0, **options)
    return nn


def perceptron():
    """Three layers of rectified units for rows of pixels."""
    keras.utils.set_random_seed(0)
    layers = [modules.Linear(784, 200), modules.Rect(), modules.Linear(200, 100), modules.Rect(), modules.Linear(100, 10)]
    return trained(modules.Sequential([*layers, modules.SoftMax()]), iters=1500, lrate_decay="sublinear", status=500)


def lenet5():
    """LeNet-5 with sum pooling for pictures of 32 x 32 pixels."""
    keras.utils.set_random_seed(0)
    layers = []
    for filters in ((5, 5, 1, 10), (5, 5, 10, 25), (4, 4, 25, 100)):
        layers += [modules.Convolution(filters, (1, 1)), modules.Rect(), modules.SumPool()]
    layers += [modules.Convolution((1, 1, 100, 10), (1, 1)), modules.Flatten(), modules.SoftMax()]
    return trained(modules.Sequential(layers), (32, 32, 1), iters=400, lrate=0.002, status=200)


def pictures(x):
    """Rows of 784 pixels in [-1, 1] as pictures (N, 32, 32, 1) with a border."""
    return np.pad(x.reshape(-1, 28, 28, 1), ((0, 0), (2, 2), (2, 2), (0, 0)), constant_values=-1)


def given(arguments, make_network, n=10):
    """(network, rows of n digits in [-1, 1], their numbers or None) of the files MODEL DATA [LABELS], or made here."""
    if len(arguments) < 2:
        return make_network(), *digits(n, seed=7)
    numbers = data_io.read(arguments[2])[:n].reshape(-1).astype(int) if len(arguments) > 2 else None
    return model_io.read(arguments[0]), data_io.read(arguments[1])[:n].reshape(n, -1) / 127.5 - 1, numbers
