"""The grid pointing game: how much positive relevance falls on the explained object's cell of a 2x2 mosaic.

    python benchmarks/grid_pointing.py --data DIR [--network squeezenet] [--limit 200] [--methods NAME ...] [--out table.md]

DIR holds ``images/*.jpg``, ``images64.json``, ``grid_pointing_200.json`` and the networks' ``*.weights.npz``. For each mosaic
and each of its four classes: the share of the map's positive relevance (channels summed) inside that class's cell; chance is
0.25. Prints one row per preset and method: mean, standard error over mosaics, share of hits of the strongest pixel, mosaics,
seconds. Methods that run the network dozens of times get the first ``--slow-limit`` mosaics; patterns are estimated from the
mosaics themselves, without their classes.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from PIL import Image

from tf_lrp import model_zoo
from tf_lrp.methods import catalog

WEIGHTS = {
    "squeezenet": "squeezenet_v1_1.weights.npz",
    "mobilenet_v1_025": "mobilenet_v1_025_224.weights.npz",
    "mobilenet_v2_100": "mobilenet_v2_100_224.weights.npz",
}
CELL = 224
SLOW = ("integrated_gradients", "smoothgrad", "vargrad", "smoothgrad_squared", "occlusion")


def picture(path):
    """uint8 (224, 224, 3): the centre of a photograph whose shorter side is 256."""
    image = Image.open(path).convert("RGB")
    left, top = (image.width - CELL) // 2, (image.height - CELL) // 2
    return np.asarray(image.crop((left, top, left + CELL, top + CELL)))


def mosaic(data, files):
    """uint8 (448, 448, 3) from the four files: top left, top right, bottom left, bottom right."""
    a, b, c, d = (picture(data / "images" / f) for f in files)
    return np.vstack([np.hstack([a, b]), np.hstack([c, d])])


def shares(relevance):
    """Share of positive relevance in each cell and the cell of the strongest pixel: (K, 448, 448) -> (K, 4), (K,)."""
    cells = relevance.reshape(len(relevance), 2, CELL, 2, CELL).transpose(0, 1, 3, 2, 4).reshape(len(relevance), 4, -1)
    positive = np.maximum(cells, 0).sum(axis=2)
    return positive / positive.sum(axis=1, keepdims=True), cells.max(axis=2).argmax(axis=1)


def accuracy(network, data):
    """Top-1 on the listed photographs."""
    listed = json.loads((data / "images64.json").read_text())["images"]
    model = model_zoo.load(network, weights=data / WEIGHTS[network], output="logits")
    x = model_zoo.entry(network).preprocess(np.stack([picture(data / "images" / e["file"]) for e in listed]))
    return float((model.predict(x, verbose=0).argmax(axis=1) == [e["class"] for e in listed]).mean()), len(listed)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--network", default="squeezenet", choices=WEIGHTS)
    parser.add_argument("--limit", type=int, default=200, help="number of mosaics")
    parser.add_argument("--slow-limit", type=int, default=50, help=f"number of mosaics for {', '.join(SLOW)}")
    parser.add_argument("--methods", nargs="*", default=catalog.names())
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()

    top1, pictures = accuracy(arguments.network, arguments.data)
    size = (2 * CELL, 2 * CELL, 3)
    model = model_zoo.load(
        arguments.network, weights=arguments.data / WEIGHTS[arguments.network], input_shape=size, output="logits"
    )
    mosaics = json.loads((arguments.data / "grid_pointing_200.json").read_text())["mosaics"][: arguments.limit]
    preprocess = model_zoo.entry(arguments.network).preprocess
    lines = [
        f"{arguments.network}: top-1 {top1:.3f} on {pictures} photographs; {len(mosaics)} mosaics x 4 classes.",
        "",
        "| preset or method | positive relevance inside | standard error | pointing hits | mosaics | seconds a mosaic |",
        "|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for name in arguments.methods:
        explainer = catalog.explainer(name, model)
        used = mosaics[: arguments.slow_limit] if name in SLOW else mosaics
        if hasattr(explainer, "fit"):
            batches = (preprocess(mosaic(arguments.data, entry["files"])[None]) for entry in mosaics)
            explainer.fit(np.concatenate(list(batches)), batch_size=1)
        found, hits, began = [], [], time.process_time()
        for entry in used:
            x = preprocess(mosaic(arguments.data, entry["files"])[None])
            relevance = explainer.analyze(x, neuron_selection=np.array([entry["classes"]]))[0].sum(axis=-1)
            inside, strongest = shares(relevance)
            found.append(np.diag(inside).mean())
            hits.append((strongest == np.arange(4)).mean())
        error = np.std(found) / np.sqrt(len(found))
        seconds = (time.process_time() - began) / len(used)
        lines.append(f"| `{name}` | {np.mean(found):.3f} | {error:.3f} | {np.mean(hits):.3f} | {len(used)} | {seconds:.2f} |")
        print(lines[-1], flush=True)
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
