"""Every example runs from top to bottom, leaves the picture it speaks of, and finds relevance where it has to be."""

import re
import runpy
import sys

import numpy as np
import pytest
from locations import ROOT
from PIL import Image

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

# What an example prints, and the least that the percentages in it have to be. The networks are trained anew and differ from
# machine to machine, so the bounds lie well below what is found, but several times above what chance gives.
FINDS = {
    "signals": [
        (r'"slow" in the slow burst: (\d+)%.*sensor: (\d+)%', (20, 70)),  # by chance 5 and 25
        (r'"fast" in the fast burst: (\d+)%.*sensor: (\d+)%', (20, 70)),
    ],
    "tune_preset": [(r"tuned +positive relevance on the object, new pictures: (\d+)%", (50,))],
    "volumes": [(r"in the blob: (\d+)%; the blob is 0", (50,)), (r"strongest voxel in the blob: (\d+)%", (80,))],
    "categories": [(r"on the judging ones: (\d+)%; they are 1\d%", (45,))],
    "tabular": [(r"debt and late payments together: (\d+)%", (65,))],  # by chance 33
    "several_inputs": [
        (r"spot, young +: relevance from the picture +(\d+)%", (75,)),
        (r"no spot, old : .*from the metadata +(\d+)%", (75,)),
        (r"in the spot: (\d+)%; the spot is 4%", (50,)),
        (r"of the metadata's: age (\d+)%", (70,)),
    ],
    "several_outputs": [
        *((rf"support for {name} +on the object: (\d+)%", (35,)) for name in ("class", "top", "left", "bottom", "right")),
        (r"the object is 8% of a picture", ()),
    ],
    "segmentation": [
        (r"the disc's middle pixel +\d+% +(\d+)% ", (60,)),  # by chance 13
        (r"the disc +\d+% +(\d+)% ", (60,)),
        (r"the square +\d+% +\d+% +(\d+)%", (35,)),  # by chance 12
    ],
    "regression": [(r"lies on bright dots: (\d+)%; they are 2%", (60,)), (r"lies on dark dots: (\d+)%; they are 2%", (60,))],
}

#: Examples whose arguments are a network and data of the LRP Toolbox.
OF_THE_TOOLBOX = ("mini", "lrp_demo", "lrp_cnn_demo")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example(example, tmp_path, monkeypatch, capsys):
    out = tmp_path / "picture.png"
    monkeypatch.chdir(tmp_path)
    takes_files = example.stem in OF_THE_TOOLBOX  # else they draw their own
    monkeypatch.setattr(sys, "argv", [str(example)] if takes_files else [str(example), str(out)])
    monkeypatch.syspath_prepend(str(example.parent))
    runpy.run_path(str(example), run_name="__main__")
    printed = capsys.readouterr().out
    if takes_files:
        assert f"saved out/{example.stem}.png" in printed
        assert np.asarray(Image.open(tmp_path / "out" / f"{example.stem}.png")).std() > 5
    elif "heatmap.save" in example.read_text():
        assert "saved" in printed
        assert np.asarray(Image.open(out)).std() > 5
    for statement, least in FINDS.get(example.stem, ()):
        found = re.search(statement, printed)
        assert found, f"{statement} is not in what it printed:\n{printed}"
        assert all(int(percent) >= bound for percent, bound in zip(found.groups(), least, strict=True)), found[0]
