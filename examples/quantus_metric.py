"""Measure explanations with Quantus: how much relevance lies on the object it should lie on. pip install "tf_lrp[quantus]"."""

import sys

import numpy as np

import tf_lrp.quantus
from tf_lrp import model_zoo

try:
    import quantus
except ImportError:
    sys.exit('Quantus is not installed: pip install "tf_lrp[quantus]"')

model = model_zoo.load("shapes")
samples = model_zoo.shapes.sample(8, seed=1, present=("triangle", "circle"))
x = model_zoo.entry("shapes").preprocess(samples.images)
triangle = model_zoo.shapes.CLASSES.index("triangle")
masks = samples.masks[:, [triangle]]  # where the triangle is: (N, 1, H, W), as Quantus orders axes

for method in ("cmp_a2_flat", "epsilon", "gradient", "random"):
    metric = quantus.RelevanceMassAccuracy(abs=True, disable_warnings=True)
    scores = metric(
        model=model,
        x_batch=x,
        y_batch=np.full(len(x), triangle),
        s_batch=masks,
        explain_func=tf_lrp.quantus.explain,
        explain_func_kwargs={"method": method},
        channel_first=False,
    )
    print(f"{method:12} relevance mass on the triangle: {np.mean(scores):.0%}")
