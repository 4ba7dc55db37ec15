"""Every example runs from top to bottom and leaves what it says."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example(example, tmp_path):
    out = tmp_path / "picture.png"
    run = subprocess.run([sys.executable, example, out], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr[-2000:]
    assert "saved" in run.stdout
    assert np.asarray(Image.open(out)).std() > 5
