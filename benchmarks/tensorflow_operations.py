"""The section of docs/coverage.md on operations of TensorFlow: those that are opened in graphs, by family.

python benchmarks/tensorflow_operations.py --out docs/coverage.md
"""

from __future__ import annotations

import argparse
from pathlib import Path

from keras_functions import TENSORFLOW, section_of

#: Module of the table -> what it replays.
FAMILIES = {
    "linear": "products with weights (convolutions, dense layers, look-ups), and of two branches",
    "normalization": "sums, products, biases, batch and layer normalizations",
    "elementwise": "functions of single entries, softmax, comparisons",
    "reductions": "pooling, sums, means, extremes along axes",
    "shapes": "shapes, parts and copies of tensors, arithmetic with lengths",
    "selection": "values chosen by position or rank",
    "transforms": "resized pictures, Fourier transforms",
    "control_flow": "branches and loops with a known number of steps, and the lists in which loops collect tensors",
}


def section():
    """The section as text."""
    from tf_lrp.keras_compat.tensorflow_graphs import TABLE

    families = {family: [] for family in FAMILIES}
    known = {name: function for name, function in sorted(TABLE.items()) if function.__module__.startswith("tf_lrp.")}
    for name, function in known.items():
        module = function.__module__.rpartition(".")[2]
        families["elementwise" if module == "table" else module].append(f"`{name}`")
    return "\n".join(
        [
            "",
            f"What a layer computes with `tf.*`, a `Lambda` and a SavedModel are opened by their graphs. These {len(known)} "
            "operations are known; functions that a graph calls are written out, identities are left out, and fused "
            "operations (`_FusedConv2D`) are split. What depends on constants and weights alone TensorFlow computes itself, "
            "anew at each explanation. All other operations are refused, with the places where they are. `Atan2`, `Where` and "
            "`Angle` are known so that lengths and constants can be computed with them; of the inputs, they have no rule.",
            "",
            "| operations | of TensorFlow |",
            "|---|---|",
            *(f"| {FAMILIES[family]} | {', '.join(names)} |" for family, names in families.items()),
            "",
        ]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="page whose section is written anew")
    out = parser.parse_args().out
    page, heading = out.read_text(encoding="utf-8"), f"## {TENSORFLOW}\n"
    page = (
        page.replace(section_of(page, TENSORFLOW), section()) if heading in page else f"{page.rstrip()}\n\n{heading}{section()}"
    )
    out.write_text(page.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
