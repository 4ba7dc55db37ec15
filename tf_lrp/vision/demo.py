"""The demo: pictures drawn by the model zoo, two classes each, explained by three presets, as one picture.

Nothing is downloaded: network, weights and the generator of the pictures come with the library.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tf_lrp import heatmap, model_zoo
from tf_lrp.analyzer import Analyzer

#: Two classes that are in a picture, and which picture: seed and number of the generator.
SCENES = ((("triangle", "circle"), 0, 16), (("star", "square"), 3, 35), (("ring", "cross"), 1, 22))
#: From the exact but noisy decomposition to the clearest one.
PRESETS = ("epsilon", "gamma", "cmp_a1_flat")

_CELL, _GAP, _GROUP_GAP, _BORDER = 192, 6, 26, 24
_INK, _PALE = (32, 36, 44), (128, 134, 144)
_CMAP = "bwr"


class Explanation(NamedTuple):
    """One picture: uint8 (H, W, 3), its two classes, their scores (2,), and preset -> relevance (2, H, W, C)."""

    picture: np.ndarray
    classes: tuple[str, str]
    scores: np.ndarray
    relevance: dict[str, np.ndarray]


def explain():
    """Explains the pictures of `SCENES` by each of `PRESETS`; a list of `Explanation`."""
    names = model_zoo.entry("shapes").class_names
    pictures = np.stack([model_zoo.shapes.sample(n + 1, seed, present=both).images[n] for both, seed, n in SCENES])
    neurons = np.array([[names.index(name) for name in both] for both, _, _ in SCENES])
    network, x = model_zoo.load("shapes"), model_zoo.entry("shapes").preprocess(pictures)
    scores = np.take_along_axis(np.asarray(network(x, training=False)), neurons, axis=1)
    relevance = {preset: Analyzer(network, preset).analyze(x, neurons, verbose=False) for preset in PRESETS}
    return [
        Explanation(pictures[i], both, scores[i], {preset: maps[i] for preset, maps in relevance.items()})
        for i, (both, _, _) in enumerate(SCENES)
    ]


def draw():
    """The demo as a PIL.Image: a row for each picture, and beside it three heatmaps for each of its two classes."""
    explanations = explain()
    group = len(PRESETS) * _CELL + (len(PRESETS) - 1) * _GAP
    lefts = [_BORDER + _CELL + _GROUP_GAP, _BORDER + _CELL + group + 2 * _GROUP_GAP]  # of the two groups of heatmaps
    head, caption, foot = 36, 44, 66
    width, height = lefts[1] + group + _BORDER, head + len(explanations) * (caption + _CELL) + foot
    canvas = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(canvas)

    for left in lefts:
        for column, preset in enumerate(PRESETS):
            center = left + column * (_CELL + _GAP) + _CELL // 2
            pen.text((center, head - 6), preset, _PALE, _font(16), anchor="ms")
    for row, explanation in enumerate(explanations):
        top = head + row * (caption + _CELL) + caption
        _paste(canvas, explanation.picture, _BORDER, top)
        for k, left in enumerate(lefts):
            _caption(pen, left + group / 2, top - 12, explanation.classes[k], explanation.scores[k])
            for column, preset in enumerate(PRESETS):
                heat = heatmap.to_rgb(explanation.relevance[preset][k : k + 1], cmap=_CMAP, percentile=99.5)[0]
                _paste(canvas, heat, left + column * (_CELL + _GAP), top)
    _legend(pen, width / 2, height - foot / 2 + 2)
    return canvas


def _paste(canvas, pixels, left, top):
    cell = Image.fromarray(pixels).resize((_CELL, _CELL), Image.Resampling.BICUBIC)
    ImageDraw.Draw(canvas).rectangle((left - 1, top - 1, left + _CELL, top + _CELL), outline=(208, 212, 218))
    canvas.paste(cell, (left, top))


def _caption(pen, center, baseline, name, score):
    """The class in bold and its score after it, centred together."""
    number = f"   score {score:.1f}"
    start = center - (_font(20, bold=True).getlength(name) + _font(16).getlength(number)) / 2
    pen.text((start, baseline), name, _INK, _font(20, bold=True), anchor="ls")
    pen.text((start + _font(20, bold=True).getlength(name), baseline), number, _PALE, _font(16), anchor="ls")


def _legend(pen, center, middle):
    """What the colours mean."""
    against, pro, bar = "evidence against the class", "evidence for the class", 240
    colours = heatmap.to_rgb(np.linspace(-1, 1, bar)[None], cmap=_CMAP)[0]
    for offset, colour in enumerate(colours):
        x = center - bar / 2 + offset
        pen.line((x, middle - 6, x, middle + 6), tuple(map(int, colour)))
    pen.rectangle((center - bar / 2 - 1, middle - 7, center + bar / 2, middle + 7), outline=(208, 212, 218))
    pen.text((center - bar / 2 - 14, middle), against, _INK, _font(16), anchor="rm")
    pen.text((center + bar / 2 + 14, middle), pro, _INK, _font(16), anchor="lm")


def _font(size, bold=False):
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", name)), size)
