"""Sixteen methods side by side: which of them show the triangle that is asked for? Nothing is downloaded."""

import sys

from tf_lrp import heatmap, model_zoo
from tf_lrp.methods import explainer

NAMES = [
    "cmp_a2_flat", "epsilon", "zplus", "deep_taylor_decomposition", "excitation_backprop", "gradient", "input_t_gradient",
    "integrated_gradients", "smoothgrad", "guided_backprop", "deconvnet", "pattern_net", "pattern_attribution", "grad_cam",
    "occlusion", "random",
]  # fmt: skip

model = model_zoo.load("shapes")
preprocess = model_zoo.entry("shapes").preprocess
pictures = model_zoo.shapes.sample(1, seed=3, present=("triangle", "circle"))
x, triangle = preprocess(pictures.images), model_zoo.shapes.CLASSES.index("triangle")

maps = []
for name in NAMES:
    method = explainer(name, model)
    if hasattr(method, "fit"):  # the pattern methods look at data first
        method.fit(preprocess(model_zoo.shapes.sample(64, seed=9).images))
    relevance = method.analyze(x, triangle)
    inside = relevance.clip(0).sum(axis=-1)[pictures.masks[:, triangle]].sum() / relevance.clip(0).sum()
    print(f"{name:26} positive relevance on the triangle: {inside:.0%}")
    maps.append(heatmap.to_rgb(relevance)[0])

lines = []
for n in range(0, len(NAMES), 4):
    titles = [name.replace("_decomposition", "").replace("_", " ") for name in NAMES[n : n + 4]]
    lines.append(heatmap.grid([maps[n : n + 4]], column_titles=titles, cell_size=(160, 160)))
height = sum(line.height for line in lines)
sheet = lines[0].resize((lines[0].width, height))
top = 0
for line in lines:
    sheet.paste(line, (0, top))
    top += line.height
print("saved", heatmap.save(sheet, sys.argv[1] if len(sys.argv) > 1 else "out/methods.png"))
