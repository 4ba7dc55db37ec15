"""Explain two classes in one picture and save the heatmaps. Nothing is downloaded: the network and the picture are ours."""

import sys

import tf_lrp
from tf_lrp import heatmap, model_zoo

model = model_zoo.load("shapes")
picture = model_zoo.shapes.sample(1, seed=3, present=("triangle", "circle")).images
x = model_zoo.entry("shapes").preprocess(picture)

analyzer = tf_lrp.Analyzer(model, preset="cmp_a1_flat")
classes = model_zoo.shapes.CLASSES
targets = [[classes.index("triangle"), classes.index("circle")]]
relevance = analyzer.analyze(x, neuron_selection=targets)  # (1, 2, 96, 96, 3): two classes from one forward pass

print(analyzer.rules())
print(analyzer.conservation(x, neuron_selection=classes.index("triangle")))

rgb = heatmap.to_rgb(relevance[0])
sheet = heatmap.grid([[picture[0], rgb[0], rgb[1]]], column_titles=["picture", "triangle", "circle"])
print("saved", heatmap.save(sheet, sys.argv[1] if len(sys.argv) > 1 else "out/first_steps.png"))
