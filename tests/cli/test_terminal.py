"""What other people wrote (names of files, layers, classes) is shown by the terminal, and never obeyed."""

import re
import warnings

import keras
import numpy as np
import pytest
from PIL import Image
from rich.table import Table
from rich.text import Text
from typer.testing import CliRunner

import tf_lrp
from tf_lrp import cli
from tf_lrp.cli import terminal
from tf_lrp.messages import tables

#: Sets the title of the window, clears the screen, writes the clipboard; the same in one byte; a backspace; markup of rich.
EVIL = "\x1b]0;title\x07\x1b[2J\x9b31m\x08[red]x[/nothing]\u202e"


def obeyed(text):
    return re.findall("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)


def output(*arguments, code=0):
    result = CliRunner().invoke(cli.app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    assert obeyed(result.output) == []
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """(folder, model, picture, class names), all of names that hold control characters."""
    folder = tmp_path_factory.mktemp("files")
    model = keras.Sequential([
        keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3, name="conv"), keras.layers.Flatten(),
        keras.layers.Dense(3, name="dense"),
    ])  # fmt: skip
    path = folder / "model\x1b[2J.keras"
    model.save(path)
    picture = folder / "picture\x1b[31m\x07.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 9, 3)).astype(np.uint8)).save(picture)
    names = folder / "names\x1b[1m.json"
    names.write_text('["one\\u001b[2J", "two\\u0007[red]", "three"]')
    return folder, path, picture, names


def test_printable():
    assert tables.printable("é ü 漢字 \t\n [red]") == "é ü 漢字 \t\n [red]"
    assert tables.printable("a\x1b[2J\r\x9b\x7f\u202eb\udc80") == "a\\x1b[2J\\r\\x9b\\x7f\\u202eb\\udc80"
    assert tables.printable(tables.printable(EVIL)) == tables.printable(EVIL)


def test_tables_are_text():
    """The names of layers are no markup either."""
    shown = tables.render(f"title {EVIL}", [("a", "left"), ("b", "right")], [(EVIL, "[/x]"), ("[bold]", "1")])
    assert obeyed(shown) == [] and "[red]x[/nothing]" in shown and "[/x]" in shown and "[bold]" in shown


def test_a_console_sends_its_own_colours_alone(capsys):
    console = terminal.console_of()
    table = Table(EVIL, title=EVIL)
    table.add_row(EVIL, Text(EVIL, "red"))
    console.print(table)
    console.print(EVIL, style="red")
    terminal.write_line(console, EVIL, "red")
    found = capsys.readouterr().out
    assert obeyed(found) == [] and found.count("[red]x[/nothing]") >= 3


def test_explaining(files, tmp_path):
    _, model, picture, names = files
    shown = output(
        "explain",
        picture,
        "--model",
        model,
        "--classes",
        names,
        "--out",
        tmp_path / "out\x1b[2J",
        "--verbose",
        "--target",
        "top3",
    )
    assert "picture\\x1b[31m\\x07.png" in shown and "one\\x1b[2J" in shown and "two\\x07[red]" in shown
    assert "out\\x1b[2J" in shown


@pytest.mark.parametrize("debug", [(), ("--debug",)])
def test_errors(files, tmp_path, debug):
    folder, model, picture, _ = files
    text = folder / "text\x1b[2J.keras"
    text.write_text("no model")
    broken = folder / "broken\x1b[2J.png"
    broken.write_bytes(b"\x89PNG\r\n")
    for arguments, code in (
        (("explain", broken, "--model", model), 1),
        (("explain", picture, "--model", text), 2),
        (("explain", picture, "--model", "shapes\x1b[2J"), 2),
        (("explain", picture, "--model", model, "--target", "fox\x1b[2J"), 2),
        (("explain", picture, "--model", model, "--preset", "cmp\x1b[2J"), 2),
        (("explain", picture, "--model", model, "--layer", "dense\x1b[2J"), 2),
        (("export", model, tmp_path / "x", "--format", "onnx\x1b[2J"), 2),
        (("report", folder / "nothing\x1b[2J"), 2),
        (("evaluate", "localization", "--model", model, "--data", "voc:\x1b[2J", "--out", tmp_path), 2),
        (("tune", "--model", model, "--data", "shapes", "--metric", "best\x1b[2J", "--out", tmp_path), 2),
    ):
        assert "\\x1b[2J" in output(*arguments, *debug, code=code), arguments


def test_wrong_options_and_arguments(files):
    _, model, picture, _ = files
    output("explain", picture, "--model", model, "--batch-size", "two\x1b[2J", code=2)
    assert "\\x1b[2J" in output("explain", picture, "--mo\x1b[2J", model, code=2)
    assert "\\x1b[2J" in output("explain\x1b[2J", code=2)
    assert "\\x1b[2J" in output("evaluate", "sanity\x1b[2J", code=2)


def test_warnings_are_lines(files, tmp_path, monkeypatch):
    _, model, picture, _ = files

    def analyze(self, *args, original=tf_lrp.Analyzer.analyze, **kwargs):
        warnings.warn(f"odd {EVIL}", stacklevel=2)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(tf_lrp.Analyzer, "analyze", analyze)
    assert "UserWarning: odd \\x1b]0;title" in output("explain", picture, "--model", model, "--out", tmp_path)
