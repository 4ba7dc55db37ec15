"""What measuring costs beside explaining: localization of many pictures by one preset, against `analyze` of the same pictures.

    python benchmarks/evaluation_cost.py --data DIR [--network squeezenet] [--pictures 1000] [--preset cmp_a1] [--turns 3]

DIR holds the networks' ``*.weights.npz``. Pictures are noise with a rectangle of a quarter as mask, one class each: what is in
them makes no difference to the time. Both ways start from uint8 pictures in memory and take turns in one process; printed are
the CPU seconds of each turn, summed over threads, and the median of their ratios.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from tf_lrp import Analyzer, model_zoo
from tf_lrp.evaluation import engine
from tf_lrp.evaluation.protocols import localization

WEIGHTS = {
    "squeezenet": "squeezenet_v1_1",
    "mobilenet_v1_025": "mobilenet_v1_025_224",
    "mobilenet_v2_100": "mobilenet_v2_100_224",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--network", default="squeezenet", choices=WEIGHTS)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--preset", default="cmp_a1")
    parser.add_argument("--batch-size", type=int, default=20)
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()

    known = model_zoo.entry(arguments.network)
    model = model_zoo.load(known.name, weights=arguments.data / f"{WEIGHTS[known.name]}.weights.npz", output="logits")
    rng, (height, width) = np.random.default_rng(0), known.size
    images = rng.integers(0, 256, (arguments.pictures, height, width, 3), np.uint8)
    labels = rng.integers(0, model.output_shape[-1], (arguments.pictures, 1)).astype(np.int32)
    masks = np.zeros((arguments.pictures, 1, height, width), bool)
    masks[..., : height // 2, : width // 2] = True
    parts = [slice(n, n + arguments.batch_size) for n in range(0, arguments.pictures, arguments.batch_size)]
    analyzer = Analyzer(model, arguments.preset, batch_size=arguments.batch_size, verbose=False)
    measured = localization.task(analyzer, known.preprocess)

    def analyze():
        for part in parts:
            analyzer.analyze(known.preprocess(images[part]), labels[part])

    def measure():
        for number, part in enumerate(parts):
            measured(engine.Batch(number, ("",) * len(images[part]), images[part], labels[part], masks[part]))

    seconds = {analyze: [], measure: []}
    for way in seconds:  # warm-up: tracing
        way()
    for turn in range(arguments.turns):
        for way in seconds:
            began = time.process_time()
            way()
            seconds[way].append(time.process_time() - began)
        print(f"turn {turn + 1}: analyze {seconds[analyze][-1]:.1f} CPU s, localization {seconds[measure][-1]:.1f}", flush=True)
    ratio = np.median(np.divide(seconds[measure], seconds[analyze]))
    print(f"{known.name}, {arguments.preset}, {arguments.pictures} pictures: {ratio:.2f} times analyze")


if __name__ == "__main__":
    main()
