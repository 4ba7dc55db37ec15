"""How long a person waits for the first heatmap, and how large the traced graphs are.

    python benchmarks/first_explanation.py [--zennit-python PATH] [--networks ...] [--turns 5] [--out docs/first-explanation.md]

Every measurement runs in a process of its own (`performance_worker.py`), which has explained a small network before, so that
what the framework sets up once is not counted. The processes of one turn follow each other; a ratio is that of two medians.
zennit needs other packages than tf_lrp: give the interpreter of an environment that has it, as for `performance.py`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

from performance import ask, machine, table

PRESET, COMPOSITE = "cmp_a2_flat", "EpsilonAlpha2Beta1Flat"
#: Types of operations with columns of their own; the others are counted together.
SHOWN = ("Conv2D", "Conv2DBackpropInput", "DepthwiseConv2dNative", "DepthwiseConv2dNativeBackpropInput",
         "MatMul", "Mul", "AddV2", "ReadVariableOp", "Const")  # fmt: skip
TEXT = """\
# The first explanation

Written by `python benchmarks/first_explanation.py{arguments}`.

- Machine: {machine}.
- Versions: {versions}.
- One picture of 224x224, random weights, `{preset}` against zennit's `{composite}`; seconds of wall time from a model in memory
  to NumPy relevance, building included; medians of {turns} processes each, which take turns.
- *eager*: what `Analyzer(model).analyze(x)` does at first. *traced*: with `trace="always"`, the graph included. The *gradient*
  is that of a `tf.function`, traced at its first call. Each process had explained another network before.

{first}

## Another preset for the same picture

`session = analyzer.session(x)`, then `session.analyze(preset)`: seconds, and in brackets the share of the first explanation of
a session (opening, building, forward and backward pass). One layer's rule changed, at a sixth, a half and five sixths of the
layers from the input: relevance is propagated again from there to the input. Then all rules changed.

{session}

## Operations of the traced graphs

{operations}

## Analyzers that are dropped

{analyzers} analyzers of one small network in one process, every other one traced, each dropped when the next is made: after
each tenth of them the process holds {sizes} MiB.
"""


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--zennit-python", help="interpreter of an environment with zennit, PyTorch and torchvision")
    parser.add_argument("--networks", nargs="+", default=["MobileNetV2", "ResNet50", "EfficientNetB0", "VGG16"])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--analyzers", type=int, default=1000, help="how many are made in one process")
    parser.add_argument("--timeout", type=float, default=600)
    parser.add_argument("--note", default="", help="said of the machine")
    parser.add_argument("--out", type=Path, default=Path("out/first-explanation.md"))
    return parser.parse_args()


def main():
    arguments = parsed()
    job = {"kind": "first", "device": "cpu", "threads": None, "batch": 1, "size": 224, "targets": None}
    versions = {}

    def measured(library, network, what, method, **options):
        interpreter = arguments.zennit_python if library == "zennit" else sys.executable
        result = ask(
            interpreter,
            {**job, "library": library, "network": network, "what": what, "methods": [method], **options},
            arguments.timeout,
        )
        if "error" in result:
            raise RuntimeError(f"{library}, {network}, {what}: {result['error']}")
        versions.update(result["versions"])
        print(f"{time.strftime('%H:%M:%S')} {library} {network} {what} {options} {result['first']}", flush=True)
        return result["first"]

    variants = {
        "gradient": ("tf_lrp", "gradient", {}),
        "eager": ("tf_lrp", PRESET, {"trace": "auto"}),
        "traced": ("tf_lrp", PRESET, {"trace": "always"}),
    }
    if arguments.zennit_python:
        variants["zennit"] = ("zennit", COMPOSITE, {})
    first, session, operations = [], [], []
    for network in arguments.networks:
        turns = [
            {name: measured(lib, network, "first", method, **how) for name, (lib, method, how) in variants.items()}
            for _ in range(arguments.turns)
        ]
        seconds = {name: statistics.median(t[name]["build"] + t[name]["first"] for t in turns) for name in variants}
        build = statistics.median(t["eager"]["build"] for t in turns)
        peaks = {name: statistics.median(t[name]["peak"] for t in turns) for name in variants}
        zennit = f"{seconds['zennit']:.2f}" if "zennit" in seconds else "not measured"
        ratio = f"{seconds['eager'] / seconds['zennit']:.2f}" if "zennit" in seconds else ""
        first.append(
            (network, f"{seconds['eager']:.2f} ({build:.2f} building)", zennit, ratio, f"{seconds['gradient']:.2f}",
             f"{seconds['eager'] / seconds['gradient']:.2f}", f"{seconds['traced']:.2f}",
             f"{seconds['traced'] / seconds['gradient']:.2f}", f"{peaks['eager']:.0f}", f"{peaks['traced']:.0f}")
        )  # fmt: skip
        runs = [measured("tf_lrp", network, "session", PRESET) for _ in range(arguments.turns)]
        median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        rest = [f"{s:.2f} ({s / median['first']:.2f})" for key, s in median.items() if key != "first"]
        session.append((network, f"{median['first']:.2f}", *rest))
        counted = measured("tf_lrp", network, "operations", PRESET)
        plain = measured("tf_lrp", network, "operations", "epsilon")
        others = sum(n for kind, n in counted.items() if kind not in SHOWN)
        total = [str(sum(c.values())) for c in (counted, plain)]
        operations.append((network, *total, *(str(counted.get(kind, 0)) for kind in SHOWN), str(others)))
    sizes = measured("tf_lrp", "MobileNetV2", "many analyzers", PRESET, count=arguments.analyzers)
    heads = (
        ["network", "eager, s", "zennit, s", "eager / zennit", "gradient, s", "eager / gradient", "traced, s",
         "traced / gradient", "peak eager, MiB", "peak traced, MiB"],
        ["network", "first, s", "near the input", "in the middle", "in the last third", "another preset"],
        ["network", f"`{PRESET}`", "`epsilon`", *(f"`{kind}`" for kind in SHOWN), "others"],
    )  # fmt: skip
    tables = ["\n".join(table(head, rows)) for head, rows in zip(heads, (first, session, operations), strict=True)]
    note = f", {arguments.note}" if arguments.note else ""
    page = TEXT.format(
        arguments="".join(f" {a}" for a in sys.argv[1:] if "/" not in a or a.endswith(".md")),
        machine=machine() + note,
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
        preset=PRESET,
        composite=COMPOSITE,
        turns=arguments.turns,
        first=tables[0],
        session=tables[1],
        operations=tables[2],
        analyzers=arguments.analyzers,
        sizes=", ".join(f"{size:.0f}" for size in sizes),
    )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(page)
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
