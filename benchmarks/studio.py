"""How long the studio takes from a change of a rule to the new map, against the model's gradient.

    python benchmarks/studio.py [--networks squeezenet VGG16 ResNet50] [--turns 9] [--out docs/studio-speed.md]

A server runs in this process and is asked over HTTP, as the page asks it. A network with random weights explains one picture,
with three segments of equal length; then the parameter of one segment changes, again and again, and the relevance of the input
and of the layers below the segments' ends is asked for. The gradient is that of a ``tf.function``, for the same picture.
Requests and gradients take turns; medians are taken, after two that are not counted.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import tensorflow as tf
import uvicorn
from performance import machine, table

from tf_lrp.studio import application
from tf_lrp.studio.studio import Settings, Studio

TOKEN = "benchmark"
TEXT = """\
# Speed of the studio

Written by `python benchmarks/studio.py{arguments}`.

- Machine: {machine}.
- One picture of 224x224, random weights. From the request to the whole answer, over HTTP; the gradient is that of a
  `tf.function`. Medians of {turns}, taken in turns; seconds of wall time, and in brackets of all threads' processor time.
- The changed segment is the lowest, the middle or the highest third of the layers with weights: gamma, epsilon and LRP-0.

{table}
"""


class Server:
    """A studio that is asked over HTTP."""

    def __init__(self, settings):
        self.studio = Studio(settings)
        self._server = uvicorn.Server(uvicorn.Config(None, port=0, log_level="warning", access_log=False))
        listening = self._server.config.bind_socket()
        port = listening.getsockname()[1]
        self._server.config.app = application.create(self.studio, TOKEN, "127.0.0.1", port)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listening]}, daemon=True)
        self._thread.start()
        headers = {"Authorization": f"Bearer {TOKEN}"}
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=600)

    def ask(self, path, body=None):
        """The JSON that a route answers."""
        answer = self.client.get(path) if body is None else self.client.post(path, json=body)
        answer.raise_for_status()
        return answer.json()

    def close(self):
        self._server.should_exit = True
        self._thread.join()


def thirds(count, changed, value):
    """Three segments; the one that is changed has another parameter."""
    bounds = [0, count // 3, 2 * count // 3, count]
    values = [value if part == changed else 0.25 for part in range(3)]
    rules = [
        {"class": "Gamma", "gamma": values[0]},
        {"class": "Epsilon", "epsilon": values[1]},
        {"class": "Unified", "gamma1": 1.0, "epsilon": values[2]},
    ]
    return [{"first": bounds[n], "last": bounds[n + 1] - 1, "rule": rule} for n, rule in enumerate(rules)]


def clocked(work):
    """Seconds of wall time and of processor time of some work."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def measured(network, turns):
    """Name -> (wall, processor) medians, for one network."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        server = Server(Settings(network, Path(folder), weights="random"))
        layers = server.ask("/api/model/layers")["layers"]
        opened = time.perf_counter() - start
        count = sum(layer["weighted"] for layer in layers)
        ends = [
            next(layer["relevance"] for layer in layers if layer["index"] == end)
            for end in (count // 3 - 1, 2 * count // 3 - 1)
        ]
        picture = server.ask("/api/pictures")["pictures"][0]["id"]
        opened_network = server.studio.network
        x = tf.constant(opened_network.prepare(np.zeros((1, *opened_network.size, 3), np.uint8)) + 1.0)

        @tf.function
        def gradient(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                score = opened_network.model(x, training=False)[0, 0]
            return tape.gradient(score, x)

        value = 0.25

        def explain(changed):
            nonlocal value
            value += 0.001
            body = {"picture": picture, "source": {"segments": thirds(count, changed, value)}, "layers": ends}
            server.ask("/api/explain", {**body, "channel": "main", "sequence": int(value * 1000)})

        first = clocked(lambda: explain(0))
        works = {"gradient": lambda: gradient(x).numpy()}
        works |= {name: lambda part=part: explain(part) for part, name in enumerate(("lowest", "middle", "highest"))}
        seconds = {name: [] for name in works}
        for turn in range(turns + 2):
            for name, work in works.items():
                taken = clocked(work)
                if turn >= 2:
                    seconds[name].append(taken)
        server.close()
    medians = {name: tuple(statistics.median(s) for s in zip(*all_of, strict=True)) for name, all_of in seconds.items()}
    return {"opened": (opened, 0), "first": first, **medians}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", default=["squeezenet", "VGG16", "ResNet50"])
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--note", default="", help="said of the machine")
    parser.add_argument("--out", type=Path, default=Path("out/studio-speed.md"))
    arguments = parser.parse_args()
    rows = []
    for network in arguments.networks:
        result = measured(network, arguments.turns)
        gradient = result["gradient"]
        row = [network, f"{result['opened'][0]:.1f}", f"{result['first'][0]:.2f}", f"{gradient[0]:.3f} ({gradient[1]:.3f})"]
        for name in ("lowest", "middle", "highest"):
            wall, processor = result[name]
            row.append(f"{wall:.3f} ({processor:.3f})")
            row.append(f"{wall / gradient[0]:.2f} ({processor / gradient[1]:.2f})")
        rows.append(row)
        print(*row, sep=" | ", flush=True)
    heads = ["network", "opened, s", "first map, s", "gradient, s"]
    heads += [head for name in ("lowest", "middle", "highest") for head in (f"{name} third, s", "/ gradient")]
    page = TEXT.format(
        arguments="".join(f" {a}" for a in sys.argv[1:] if "/" not in a or a.endswith(".md")),
        machine=machine() + (f", {arguments.note}" if arguments.note else ""),
        turns=arguments.turns,
        table="\n".join(table(heads, rows)),
    )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
