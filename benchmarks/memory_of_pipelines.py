"""Peak memory of explaining a dataset and writing it to disk: it must not grow with the number of pictures.

    python benchmarks/memory_of_pipelines.py [--counts 1000 10000] [--size 32] [--batch 32] [--out table.md]

Each row is a process of its own: it makes random pictures one by one, explains them with a small convolutional network and
writes picture, label and relevance in shards into a temporary folder (``explain`` into ``write``), or reads the explained
dataset without writing (``explain`` alone). Peak memory is the process's largest resident set; "before" is that set when the
first batch has been explained, so that TensorFlow itself is in both.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def peak():
    """Largest resident set of this process so far, in MiB (Linux counts in KiB, macOS in bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def measure(count, size, batch, format):
    """Explains ``count`` pictures in this process; prints a JSON line of what it took."""
    import keras
    import tensorflow as tf

    import tf_lrp
    import tf_lrp.data

    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Conv2D(16, 3, activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.Conv2D(32, 3, activation="relu"),
    ]
    layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)]
    analyzer = tf_lrp.Analyzer(keras.Sequential([keras.Input((size, size, 3)), *layers]), "cmp_a2_flat")

    def picture(n):
        return tf.random.stateless_uniform((size, size, 3), tf.stack([n, 0])), n % 10

    explained = tf_lrp.data.explain(tf.data.Dataset.range(count).map(picture).batch(batch), analyzer, "labels")
    next(iter(explained))
    before, began = peak(), time.perf_counter()
    if format == "explain alone":
        written = sum(len(x) for x, _, _ in explained)
    else:
        with tempfile.TemporaryDirectory() as folder:
            written = tf_lrp.data.write(explained, folder, format=format)
    assert written == count
    print(json.dumps({"before": before, "peak": peak(), "seconds": time.perf_counter() - began}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="*", default=[1000, 10000])
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--formats", nargs="*", default=["explain alone", "tfrecord", "npz"])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # count and format of this very process
    arguments = parser.parse_args()
    if arguments.one:
        return measure(int(arguments.one[0]), arguments.size, arguments.batch, arguments.one[1])

    lines = [
        f"Pictures of {arguments.size} x {arguments.size} x 3, batches of {arguments.batch}, shards of 256.",
        "",
        "| written as | pictures | explained pictures take | before | peak | seconds |",
        "|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for format in arguments.formats:
        for count in arguments.counts:
            shape = ["--size", str(arguments.size), "--batch", str(arguments.batch)]
            command = [sys.executable, __file__, "--one", str(count), format, *shape]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            data = count * (2 * arguments.size**2 * 3 * 4 + 8) / 2**20
            lines.append(
                f"| {format} | {count:,} | {data:.0f} MiB | {found['before']:.0f} MiB | {found['peak']:.0f} MiB | "
                f"{found['seconds']:.1f} |"
            )
            print(lines[-1], flush=True)
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
