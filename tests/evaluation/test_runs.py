"""Runs over data sets: batches, logs, interruption, tables, the commands."""

import csv
import dataclasses
import io
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from tf_lrp import cli, model_zoo, presets
from tf_lrp.evaluation import localization, perturbation, published, results, runs, study, summary
from tf_lrp.evaluation.complexity import sparseness
from tf_lrp.evaluation.datasets import Shapes
from tf_lrp.methods import catalog

SIZE = (96, 96)


# ---- means and tables ------------------------------------------------------------------------------------------------


def test_mean_by_hand():
    found = summary.mean([1, 2, 6, float("nan")])
    assert (found.value, found.count) == (3, 3)
    assert found.error == pytest.approx(np.std([1, 2, 6], ddof=1) / np.sqrt(3))
    assert summary.mean([]).count == 0
    assert np.isnan(summary.mean([4]).error)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.floats(-10, 10)), min_size=2, max_size=30))
def test_standard_error_of_groups_against_loops(rows):
    groups, values = [f"p{g}" for g, _ in rows], [v for _, v in rows]
    average, sums = sum(values) / len(values), {}
    for group, value in zip(groups, values, strict=True):
        sums[group] = sums.get(group, 0.0) + value - average
    found = summary.mean(values, groups)
    assert found.value == pytest.approx(average, abs=1e-9)
    if len(sums) > 1:
        spread = sum(s**2 for s in sums.values()) * len(sums) / (len(sums) - 1)
        assert found.error == pytest.approx(np.sqrt(spread) / len(values), abs=1e-9)
    else:
        assert np.isnan(found.error)


def test_every_copy_of_a_measurement_in_its_group_leaves_the_error_alone():
    """Ten classes with one value each in a picture tell no more than one."""
    once = summary.mean([1.0, 4.0, 2.0], ["a", "b", "c"])
    tenfold = summary.mean(np.repeat([1.0, 4.0, 2.0], 10), np.repeat(["a", "b", "c"], 10))
    assert tenfold.error == pytest.approx(once.error)


def test_by_size_puts_the_upper_bound_into_the_bin_below():
    centres, means, deviations, counts = summary.by_size([1, 3, 5, 7, float("nan")], [0.001, 0.5, 0.5, 1.0, 0.7], bins=4)
    np.testing.assert_allclose(centres, [0.125, 0.375, 0.625, 0.875])
    np.testing.assert_array_equal(counts, [1, 2, 0, 1])
    np.testing.assert_allclose(means, [1, 4, np.nan, 7])
    np.testing.assert_allclose(deviations, [0, 1, np.nan, 0])
    for bins in (100, 7):  # exact fractions, as pixel counts give them
        for edge in range(1, bins + 1):
            assert summary.by_size([1.0], [np.float32(edge / bins)], bins)[3][edge - 1] == 1


def test_table_in_all_formats():
    rows = [["a|b", summary.Mean(0.5, 0.25, 3), 7], ["c", summary.Mean(float("nan"), float("nan"), 0), None]]
    table = summary.Table("title", ["method", "mu", "pairs"], rows, ["note"])
    assert "| a\\|b | 0.500 ± 0.250 | 7 |" in table.markdown()
    assert "| c | - | - |" in table.markdown()
    assert list(csv.reader(io.StringIO(table.csv()))) == [
        ["method", "mu", "mu (error)", "mu (n)", "pairs"],
        ["a|b", "0.5", "0.25", "3", "7"],
        ["c", "", "", "0", ""],
    ]
    assert json.loads(json.dumps(table.data(), allow_nan=False))["rows"] == [["a|b", [0.5, 0.25], 7], ["c", [None, None], None]]


# ---- batches and logs ------------------------------------------------------------------------------------------------


def test_batches_hold_every_pair_once_and_pictures_of_as_many_classes():
    dataset = Shapes(23)
    truth = {p.name: {r.label: r.mask for r in p.regions} for p in dataset}
    seen = {}
    for number, batch in enumerate(runs.batches(dataset, SIZE, 5)):
        assert batch.number == number and 1 <= len(batch.names) <= 5
        assert batch.masks.shape == (*batch.labels.shape, *SIZE)
        for name, labels, masks in zip(batch.names, batch.labels, batch.masks, strict=True):
            assert name not in seen
            seen[name] = set(labels)
            for label, mask in zip(labels, masks, strict=True):
                np.testing.assert_array_equal(mask, truth[name][label])
    assert seen == {name: set(regions) for name, regions in truth.items()}
    assert sum(len(b.names) for b in runs.batches(dataset, SIZE, 5, limit=9)) == 9


def log_of(path, **settings):
    return runs.Log(path, {"kind": "test", **settings})


def a_batch(number):
    rng = np.random.default_rng(number)
    return runs.Batch(
        number, (f"{number}a", f"{number}b"), rng.integers(0, 255, (2, 4, 4, 3)).astype(np.uint8), np.array([[1], [2]]), None
    )


def test_a_log_is_continued_and_loses_nothing(tmp_path):
    asked = []

    def method(batch):
        asked.append(batch.number)
        return {"value": np.full((2, 1), batch.number / 3, np.float32)}

    runs.run([a_batch(0), a_batch(1)], {"m": method}, log_of(tmp_path / "log"))
    log, counted = log_of(tmp_path / "log"), []
    runs.run([a_batch(n) for n in range(3)], {"m": method, "n": method}, log, lambda *counts: counted.append(counts))
    assert asked == [0, 1, 0, 1, 2, 2]
    assert counted == [(2, 0), (4, 0), (6, 0)]
    names, values = results.pairs(log_of(tmp_path / "log"), "m")
    assert names == ["0a", "0b", "1a", "1b", "2a", "2b"]
    np.testing.assert_array_equal(values["value"], np.float32([0, 0, 1 / 3, 1 / 3, 2 / 3, 2 / 3]))
    runs.run([a_batch(n) for n in range(3)], {"m": method}, log_of(tmp_path / "log"), lambda *counts: counted.append(counts))
    assert counted[-1] == (6, 6)


@pytest.mark.parametrize("cut", [1, 20, 45])
def test_a_line_that_was_cut_short_is_measured_again(tmp_path, cut):
    path = tmp_path / "log"
    method = {"m": lambda batch: {"value": np.array([[0.1], [0.2]])}}
    runs.run([a_batch(0), a_batch(1)], method, log_of(path))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert log_of(path).holds(a_batch(0), "m") and not log_of(path).holds(a_batch(1), "m")
    runs.run([a_batch(0), a_batch(1)], method, log_of(path))
    assert path.read_bytes() == whole


def test_a_log_of_another_run_is_refused_by_what_differs(tmp_path):
    log_of(tmp_path / "log", size=3, data="a")
    with pytest.raises(ValueError, match=r"size: 3 there, 4 now"):
        log_of(tmp_path / "log", size=4, data="a")
    (tmp_path / "other").write_text("no log\nat all\n")
    with pytest.raises(ValueError, match="choose another folder"):
        log_of(tmp_path / "other")


def test_a_method_or_data_that_changed_in_between_are_refused(tmp_path):
    method = {"m": lambda batch: {"value": np.zeros((2, 1))}}
    runs.run([a_batch(0)], method, log_of(tmp_path / "log"), definitions={"m": {"epsilon": 0.1}})
    runs.run([a_batch(0), a_batch(1)], method, log_of(tmp_path / "log"), definitions={"m": {"epsilon": 0.1}, "n": {}})
    with pytest.raises(ValueError, match="m was another preset when"):
        runs.run([a_batch(0)], method, log_of(tmp_path / "log"), definitions={"m": {"epsilon": 0.2}})
    other = dataclasses.replace(a_batch(0), names=("0a", "elsewhere"))
    with pytest.raises(ValueError, match="data set is not the one"):
        runs.run([other], method, log_of(tmp_path / "log"))
    assert len(results.pairs(log_of(tmp_path / "log"), "m")[0]) == 4


def test_two_runs_at_once_are_refused(tmp_path):
    log, met = log_of(tmp_path / "log"), []

    def method(batch):
        with pytest.raises(BlockingIOError, match="Another process is measuring"):
            runs.run([batch], {"n": lambda batch: {}}, log_of(tmp_path / "log"))
        met.append(batch.number)
        return {"value": np.zeros((2, 1))}

    runs.run([a_batch(0)], {"m": method}, log)
    runs.run([a_batch(1)], {"m": lambda batch: {"value": np.zeros((2, 1))}}, log)
    assert met == [0] and log.holds(a_batch(1), "m")


def test_a_log_that_waited_holds_what_the_other_measured(tmp_path):
    first, second, asked = log_of(tmp_path / "log"), log_of(tmp_path / "log"), []

    def method(batch):
        asked.append(batch.number)
        return {"value": np.zeros((2, 1))}

    runs.run([a_batch(0)], {"m": method}, first)
    runs.run([a_batch(0), a_batch(1)], {"m": method}, second)
    assert asked == [0, 1]


def test_opening_a_log_leaves_the_line_that_another_is_writing(tmp_path):
    log = log_of(tmp_path / "log")
    with log.locked():
        with (tmp_path / "log").open("a") as file:
            file.write('{"batch": 0, "met')  # on its way
        before = (tmp_path / "log").read_bytes()
        with pytest.raises(BlockingIOError, match="Another process is measuring"):
            log_of(tmp_path / "log")
        assert (tmp_path / "log").read_bytes() == before


@pytest.mark.parametrize("line", [
    {"batch": 0, "method": "m", "names": ["a"], "labels": [[1]]},
    {"batch": 0, "method": "m", "names": ["a"], "values": {"v": [1]}},
    {"batch": 0, "method": "m", "names": ["a"], "labels": [[1]], "values": {"v": [1, 2]}},
    {"batch": 0, "method": "m", "names": ["a"], "labels": [[1]], "values": {"v": ["high"]}},
    {"batch": [0], "method": "m", "names": ["a"], "labels": [[1]], "values": {}},
    {"method": "m"},
    {"definition": {}},
    [1, 2],
    None,
], ids=str)  # fmt: skip
def test_a_log_that_was_edited_is_refused_by_a_sentence(tmp_path, line):
    log_of(tmp_path / "log")
    with (tmp_path / "log").open("a") as file:
        file.write(json.dumps(line) + "\n")
    with pytest.raises(ValueError, match=r"is none or was edited .*choose another folder"):
        log_of(tmp_path / "log")
    (tmp_path / "other").write_text('{"configuration": 5}\n')
    with pytest.raises(ValueError, match="is none or was edited"):
        log_of(tmp_path / "other")


# ---- the study of the shapes network ---------------------------------------------------------------------------------


def invoke(*arguments):
    return CliRunner().invoke(cli.app, ["evaluate", *map(str, arguments)])


COMMAND = ("localization", "--model", "shapes", "--data", "shapes:14", "--presets", "cmp_a1,gradient", "--batch-size", 4)


@pytest.mark.slow
def test_localization_against_analyzing_one_by_one(tmp_path):
    found = invoke(*COMMAND, "--out", tmp_path, "--top-k", 50)
    assert found.exit_code == 0, found.output
    model, prepare = model_zoo.load("shapes", output="logits"), model_zoo.entry("shapes").preprocess
    pictures = {p.name: p for p in Shapes(14)}
    log = runs.Log(
        tmp_path / "localization.jsonl", json.loads((tmp_path / "localization.jsonl").open().readline())["configuration"]
    )
    for name in ("cmp_a1", "gradient"):
        explainer, checked = catalog.explainer(name, model), 0
        for measured in log.of(name):
            for i, picture in enumerate(measured.names):
                for k, label in enumerate(measured.labels[i]):
                    region = next(r for r in pictures[picture].regions if r.label == label)
                    relevance = explainer.analyze(prepare(pictures[picture].read()[None]), int(label))[0].sum(axis=-1)
                    expected = localization.measure(relevance, region.mask, k=50)
                    for measure, value in expected.items():
                        assert measured.values[measure][i, k] == pytest.approx(float(value), rel=1e-3, abs=1e-4), measure
                    checked += 1
        assert checked == sum(len(p.regions) for p in pictures.values())
    data = json.loads((tmp_path / "localization.json").read_text())
    first, further = data["tables"]
    assert [row[0] for row in first["rows"]][-1] == "uniform" and first["rows"][-1][1] == [1, 0]
    names, values = results.pairs(log, "cmp_a1")
    of_cmp = next(row for row in first["rows"] if row[0] == "cmp_a1")
    assert of_cmp[4][0] == pytest.approx(values["mu"].mean()) and of_cmp[4][0] > first["rows"][-1][4][0]
    assert next(row for row in further["rows"] if row[0] == "cmp_a1")[-1] == len(names)
    for file in (
        "localization.md",
        "localization.csv",
        "localization-2.csv",
        *(f["file"] for f in data["figures"] + data["examples"]),
    ):
        assert (tmp_path / file).stat().st_size > 100
    assert "| cmp_a1 |" in found.output


KILLED = """
import os, signal, sys
from tf_lrp.evaluation import runs
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
def test_killed_and_continued_gives_the_same_table(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert invoke(*COMMAND, "--out", whole).exit_code == 0
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
    log = runs.Log(tmp_path / "sanity.jsonl", json.loads((tmp_path / "sanity.jsonl").open().readline())["configuration"])
    maps = catalog.explainer("gradient", model_zoo.load("shapes")).analyze(
        model_zoo.entry("shapes").preprocess(np.stack([p.read() for p in Shapes(4)]))
    )
    order = [name for m in log.of("gradient") for name in m.names]
    expected = dict(zip([p.name for p in Shapes(4)], np.asarray(sparseness(maps.sum(axis=-1))), strict=True))
    np.testing.assert_allclose(results.pictures(log, "gradient")["sparseness"], [expected[n] for n in order], rtol=1e-4)


# ---- names, errors, the paper ----------------------------------------------------------------------------------------


def test_names_of_methods():
    everything = study.methods_of("all")
    assert {"z", "cmp_a2_flat", "guided_backprop", "pattern_attribution", "input_t_gradient"} <= set(everything)
    assert study.methods_of("z, gamma:gamma=0.1,epsilon=1e-3 ,z") == ("z", "gamma:gamma=0.1,epsilon=1e-3")
    with pytest.raises(ValueError, match="got none"):
        study.methods_of(" , ")


def test_the_paper_beside_ours_only_where_both_measured():
    assert published.localization("imagenet", "VGG16")["cmp_a2_flat"][0] == 1.902
    assert published.localization("imagenet", "ResNet50") is None


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
