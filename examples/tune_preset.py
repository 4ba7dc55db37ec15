"""Search the preset that puts the most relevance on what is asked for, and compare it on new pictures.

Nothing is downloaded. pip install "tf_lrp[tune]".
"""

import sys

import numpy as np

from tf_lrp import heatmap, model_zoo
from tf_lrp.methods import explainer
from tf_lrp.tuning import Data, tune

try:
    import optuna  # noqa: F401
except ImportError:
    sys.exit('Optuna is not installed: pip install "tf_lrp[tune]"')

model = model_zoo.load("shapes", output="logits")
preprocess = model_zoo.entry("shapes").preprocess
CLASSES = ("triangle", "circle")
places = [model_zoo.shapes.CLASSES.index(name) for name in CLASSES]


def pictures(n, seed):
    """Pictures with a triangle and a circle, as the network takes them; both are to be explained; where they are."""
    drawn = model_zoo.shapes.sample(n, seed, present=CLASSES)
    return drawn.images, Data(preprocess(drawn.images), np.tile(places, (n, 1)), drawn.masks[:, places])


_, seen = pictures(16, seed=1)
images, held_out = pictures(24, seed=2)  # the search never sees these: on its own data every winner looks better than it is
tuned = tune(model, seen, "localization", budget=8, references=["cmp_a2_flat", "epsilon"])
print(tuned)

validation = tuned.validate(model, held_out)
for name, found in validation.measurements.items():
    value, error, _ = found["localization"]
    print(f"{name:12} positive relevance on the object, new pictures: {value:.0%} ± {error:.0%}")
gain, error = validation.gains["cmp_a2_flat"]["localization"]
print(f"tuned against cmp_a2_flat, picture by picture: {gain:+.0%} ± {error:.0%}")

x = held_out.x[:1]
maps = [tuned.analyzer(model).analyze(x, places[0]), explainer("cmp_a2_flat", model).analyze(x, places[0])]
sheet = heatmap.grid(
    [[images[0], *(heatmap.to_rgb(r)[0] for r in maps)]],
    column_titles=["picture", "tuned", "cmp_a2_flat"],
    cell_size=(256, 256),
)
print("saved", heatmap.save(sheet, sys.argv[1] if len(sys.argv) > 1 else "out/tune_preset.png"))
