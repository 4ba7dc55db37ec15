"""Whole evaluations by the commands: tables against loops, interruption, errors."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tf_lrp import cli, model_zoo, presets
from tf_lrp.evaluation import engine
from tf_lrp.evaluation.datasets import Shapes
from tf_lrp.evaluation.measures import localization as measures
from tf_lrp.evaluation.measures import perturbation
from tf_lrp.evaluation.measures.complexity import sparseness
from tf_lrp.evaluation.protocols import localization
from tf_lrp.methods import catalog

# ---- evaluations of the shapes network ---------------------------------------------------------------------------------


def invoke(*arguments):
    return CliRunner().invoke(cli.app, ["evaluate", *map(str, arguments)])


def log_in(path):
    return engine.MeasurementLog(path, json.loads(path.read_text().splitlines()[0])["configuration"])


CHOICES = {"--model": "shapes", "--data": "shapes:14", "--presets": "cmp_a1,gradient", "--batch-size": 4, "--top-k": 50}
COMMAND = ("localization", *(part for choice in CHOICES.items() for part in choice))


@pytest.fixture(scope="module")
def localized(tmp_path_factory):
    """(the folder that the command wrote, what it printed)"""
    folder = tmp_path_factory.mktemp("localized")
    found = invoke(*COMMAND, "--out", folder)
    assert found.exit_code == 0, found.output
    return folder, found.output


@pytest.mark.slow
def test_localization_against_analyzing_one_by_one(localized):
    folder, printed = localized
    model, prepare = model_zoo.load("shapes", output="logits"), model_zoo.entry("shapes").preprocess
    pictures = {p.name: p for p in Shapes(14)}
    log = log_in(folder / "localization.jsonl")
    for name in ("cmp_a1", "gradient"):
        explainer, checked = catalog.explainer(name, model), 0
        for measured in log.of(name):
            for i, picture in enumerate(measured.names):
                for k, label in enumerate(measured.labels[i]):
                    region = next(r for r in pictures[picture].regions if r.label == label)
                    relevance = explainer.analyze(prepare(pictures[picture].read()[None]), int(label))[0].sum(axis=-1)
                    expected = measures.measure(relevance, region.mask, k=50)
                    for measure, value in expected.items():
                        assert measured.values[measure][i, k] == pytest.approx(float(value), rel=1e-3, abs=1e-4), measure
                    checked += 1
        assert checked == sum(len(p.regions) for p in pictures.values())
    data = json.loads((folder / "localization.json").read_text())
    first, further = data["tables"]
    assert [row[0] for row in first["rows"]][-1] == "uniform" and first["rows"][-1][1] == [1, 0]
    names, values = log.per_pair("cmp_a1")
    of_cmp = next(row for row in first["rows"] if row[0] == "cmp_a1")
    assert of_cmp[4][0] == pytest.approx(values["mu"].mean()) and of_cmp[4][0] > first["rows"][-1][4][0]
    assert next(row for row in further["rows"] if row[0] == "cmp_a1")[-1] == len(names)
    for file in (
        "localization.md",
        "localization.csv",
        "localization-2.csv",
        *(f["file"] for f in data["figures"] + data["examples"]),
    ):
        assert (folder / file).stat().st_size > 100
    assert "| cmp_a1 |" in printed


KILLED = """
import os, signal, sys
lines = 0
def fsync(file, real=os.fsync):
    global lines
    real(file)
    lines += 1
    if lines == 3:
        with open(sys.argv[1], "a") as log:
            log.write('{"batch": 1, "meth')  # as a write that the end came upon
        os.kill(os.getpid(), signal.SIGKILL)
os.fsync = fsync
from tf_lrp.cli import app
app(["evaluate", *sys.argv[2:]])
"""


@pytest.mark.slow
def test_killed_and_continued_gives_the_same_table(localized, tmp_path):
    (whole, _), cut = localized, tmp_path / "cut"
    command = [sys.executable, "-c", KILLED, cut / "localization.jsonl", *COMMAND, "--out", cut]
    done = subprocess.run([str(part) for part in command], env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    assert len((cut / "localization.jsonl").read_bytes().splitlines()) == 5 and not (cut / "localization.json").exists()
    assert invoke(*COMMAND, "--out", cut).exit_code == 0
    for file in ("localization.md", "localization.csv", "localization-2.csv", "localization.json", "localization.jsonl"):
        assert (cut / file).read_text() == (whole / file).read_text(), file


def test_context_covers_the_object_and_all_but_the_object(tmp_path):
    found = invoke("context", "--model", "shapes", "--data", "shapes:9", "--out", tmp_path, "--batch-size", 4)
    assert found.exit_code == 0, found.output
    data = json.loads((tmp_path / "context.json").read_text())
    colour = np.round(data["configuration"]["colour"])
    model, entry = model_zoo.load("shapes", output="logits"), model_zoo.entry("shapes")
    changes = {"object": [], "context": []}
    for picture in Shapes(9):
        image = picture.read()
        for region in picture.regions:
            for key, covered in (("object", region.mask), ("context", ~region.mask)):
                hidden = np.where(covered[..., None], colour, image).astype(np.uint8)
                scores = np.asarray(model(entry.preprocess(np.stack([image, hidden]))))
                changes[key].append(scores[1, region.label] - scores[0, region.label])
    *_, overall = data["tables"][0]["rows"]
    assert overall[1][0] == pytest.approx(np.mean(changes["object"]), rel=1e-3)
    assert overall[2][0] == pytest.approx(np.mean(changes["context"]), rel=1e-3)
    assert overall[3] == len(changes["object"])


def test_perturbation_follows_the_strongest_score(tmp_path):
    command = (
        "perturbation",
        "--model",
        "shapes",
        "--data",
        "shapes:5",
        "--presets",
        "cmp_a1",
        "--batch-size",
        4,
        "--patch",
        24,
    )
    found = invoke(*command, "--steps", 6, "--out", tmp_path)
    assert found.exit_code == 0, found.output
    data = json.loads((tmp_path / "perturbation.json").read_text())
    model, prepare = model_zoo.load("shapes", output="logits"), model_zoo.entry("shapes").preprocess
    explainer, lost = catalog.explainer("cmp_a1", model), {"morf": [], "lerf": []}
    for picture in Shapes(5):
        x = prepare(picture.read()[None])
        target = int(np.asarray(model(x))[0].argmax())
        for order, values in lost.items():
            curves = perturbation.flip(
                model, x, explainer.analyze(x, target), target, patch=24, steps=6, order=order, replacement="mean"
            )
            values.append(curves.aopc[0])
    rows = {row[0]: row[1:] for row in data["tables"][0]["rows"]}
    assert rows["cmp_a1"][0][0] == pytest.approx(np.mean(lost["morf"]), rel=1e-3)
    assert rows["cmp_a1"][1][0] == pytest.approx(np.mean(lost["lerf"]), rel=1e-3, abs=1e-3)
    assert rows["cmp_a1"][2][0] == pytest.approx(np.mean(lost["morf"]) - np.mean(lost["lerf"]), rel=1e-3)
    assert rows["random order"][2] == [0, 0]


@pytest.mark.slow
def test_sanity_tells_a_map_that_depends_on_weights_from_one_that_does_not(tmp_path):
    command = ("sanity", "--model", "shapes", "--data", "shapes:4", "--presets", "gradient,input", "--batch-size", 4)
    found = invoke(*command, "--draws", 2, "--out", tmp_path)
    assert found.exit_code == 0, found.output
    held, depends = json.loads((tmp_path / "sanity.json").read_text())["tables"]
    rows = {row[0]: dict(zip(depends["columns"][1:], row[1:], strict=True)) for row in depends["rows"]}
    randomized, other = "rank correlation, all layers randomized", "rank correlation, random class"
    assert rows["input"][randomized][0] == rows["input"][other][0] == pytest.approx(1)
    assert abs(rows["gradient"][randomized][0]) < 0.2 and rows["gradient"][other][0] < 0.6
    assert {row[0] for row in held["rows"]} == {"gradient", "input"}
    log = engine.MeasurementLog(
        tmp_path / "sanity.jsonl", json.loads((tmp_path / "sanity.jsonl").open().readline())["configuration"]
    )
    maps = catalog.explainer("gradient", model_zoo.load("shapes")).analyze(
        model_zoo.entry("shapes").preprocess(np.stack([p.read() for p in Shapes(4)]))
    )
    order = [name for m in log.of("gradient") for name in m.names]
    expected = dict(zip([p.name for p in Shapes(4)], np.asarray(sparseness(maps.sum(axis=-1))), strict=True))
    np.testing.assert_allclose(log.per_picture("gradient")["sparseness"], [expected[n] for n in order], rtol=1e-4)


# ---- names, errors, the paper ----------------------------------------------------------------------------------------


def test_names_of_methods():
    everything = engine.method_names("all")
    assert {"z", "cmp_a2_flat", "guided_backprop", "pattern_attribution", "input_t_gradient"} <= set(everything)
    assert engine.method_names("z, gamma:gamma=0.1,epsilon=1e-3 ,z") == ("z", "gamma:gamma=0.1,epsilon=1e-3")
    with pytest.raises(ValueError, match="got none"):
        engine.method_names(" , ")


def test_the_paper_beside_ours_only_where_both_measured():
    assert localization.PUBLISHED["imagenet", "vgg16"]["cmp_a2_flat"][0] == 1.902
    assert ("imagenet", "resnet50") not in localization.PUBLISHED


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("--presets", "cmp_a9"), ("cmp_a9",)),
        (("--data", "shapes:zero"), ("shapes:zero",)),
        (("--data", "pascal:/nowhere"), ("pascal", "voc")),
        (("--data", "voc:/nowhere"), ("/nowhere",)),
        (("--model", "nothing"), ("nothing",)),
    ],
)
def test_errors_are_one_line_and_name_the_culprit(tmp_path, change, words):
    found = invoke(*COMMAND, "--out", tmp_path, *change)
    assert found.exit_code == 2, found.output
    for word in words:
        assert word in found.output
    assert "Traceback" not in found.output


def test_data_of_other_classes_end_with_what_to_do(tmp_path):
    """The shapes network knows none of Pascal VOC's classes, until it is told what its neurons are called."""
    folder = tmp_path / "VOC2007"
    for part in ("JPEGImages", "Annotations"):
        (folder / part).mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(folder / "JPEGImages" / "1.jpg")
    box = "<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>20</xmax><ymax>22</ymax></bndbox>"
    (folder / "Annotations" / "1.xml").write_text(
        f"<annotation><filename>1.jpg</filename><object><name>dog</name>{box}</object></annotation>"
    )
    command = ("localization", "--model", "shapes", "--data", f"voc:{folder}", "--presets", "z", "--out", tmp_path / "out")
    found = invoke(*command)
    assert found.exit_code == 2
    assert "1 x unknown class" in found.output and "--classes" in found.output
    (tmp_path / "names.txt").write_text("cat\ncow\nDog\nhorse\nsheep\nbird\n")
    found = invoke(*command, "--classes", tmp_path / "names.txt")
    assert found.exit_code == 0, found.output
    (line,) = [line for line in (tmp_path / "out" / "localization-2.csv").read_text().splitlines() if line.startswith("z,")]
    assert line.endswith(",1")
    first = json.loads((tmp_path / "out" / "localization.json").read_text())["tables"][0]
    area = next(row for row in first["rows"] if row[0] == "uniform")[4][0]
    assert area == pytest.approx(19 * 20 / (40 * 30), abs=0.02)  # 2..20 and 3..22, both inclusive


def test_a_preset_file_that_was_changed_is_not_measured_half_and_half(tmp_path):
    file, command = (
        tmp_path / "mine.json",
        ("localization", "--model", "shapes", "--data", "shapes:4", "--out", tmp_path / "out"),
    )
    for epsilon, code in ((0.1, 0), (0.1, 0), (0.2, 2)):
        file.write_text(presets.preset("epsilon", epsilon=epsilon).to_json())
        ended = invoke(*command, "--presets", file)
        assert ended.exit_code == code, ended.output
    assert "mine.json was another preset" in " ".join(ended.output.split())


def test_a_method_that_cannot_explain_the_network_is_said(tmp_path):
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((96, 96, 3)), keras.layers.AveragePooling2D(8), keras.layers.Flatten()])
    model.add(keras.layers.Dense(6, activation="tanh"))
    model.add(keras.layers.Dense(6))
    model.save(tmp_path / "m.keras")
    command = ("localization", "--model", tmp_path / "m.keras", "--data", "shapes:4", "--presets", "epsilon,grad_cam")
    found = invoke(*command, "--out", tmp_path / "out")
    assert found.exit_code == 1, found.output
    assert "grad_cam could not explain this network" in found.output and "| epsilon |" in found.output
