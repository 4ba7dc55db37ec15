"""Model zoo: reference networks by name, their preprocessing and their weight files, and pictures of drawn shapes.

from tf_lrp import model_zoo
model = model_zoo.load("shapes")                                   # trained weights come with the library
pictures = model_zoo.shapes.sample(8, seed=0, present=("triangle", "circle"))
x = model_zoo.entry("shapes").preprocess(pictures.images)
squeezenet = model_zoo.load("squeezenet", weights="squeezenet_v1_1.weights.npz")
vgg = model_zoo.load("VGG16", weights="imagenet")                  # downloaded by Keras
print(model_zoo.entry("shapes").card)                              # data, accuracy, training, licence
"""

from . import shapes
from .registry import Entry, entry, load, names
from .weight_files import load_weights, save_weights

__all__ = ["Entry", "entry", "load", "load_weights", "names", "save_weights", "shapes"]
