"""Batches of a data set, and the log from which an interrupted evaluation is resumed."""

import dataclasses
import json

import numpy as np
import pytest

from tf_lrp.evaluation.datasets import Shapes
from tf_lrp.evaluation.engine import Batch, MeasurementLog, batches, measure_missing

SIZE = (96, 96)


# ---- batches and logs ------------------------------------------------------------------------------------------------


def test_batches_hold_every_pair_once_and_pictures_of_as_many_classes():
    dataset = Shapes(23)
    truth = {p.name: {r.label: r.mask for r in p.regions} for p in dataset}
    seen = {}
    for number, batch in enumerate(batches(dataset, SIZE, 5)):
        assert batch.number == number and 1 <= len(batch.names) <= 5
        assert batch.masks.shape == (*batch.labels.shape, *SIZE)
        for name, labels, masks in zip(batch.names, batch.labels, batch.masks, strict=True):
            assert name not in seen
            seen[name] = set(labels)
            for label, mask in zip(labels, masks, strict=True):
                np.testing.assert_array_equal(mask, truth[name][label])
    assert seen == {name: set(regions) for name, regions in truth.items()}
    assert sum(len(b.names) for b in batches(dataset, SIZE, 5, limit=9)) == 9


def log_of(path, **settings):
    return MeasurementLog(path, {"kind": "test", **settings})


def a_batch(number):
    rng = np.random.default_rng(number)
    return Batch(
        number, (f"{number}a", f"{number}b"), rng.integers(0, 255, (2, 4, 4, 3)).astype(np.uint8), np.array([[1], [2]]), None
    )


def test_a_log_is_continued_and_loses_nothing(tmp_path):
    asked = []

    def method(batch):
        asked.append(batch.number)
        return {"value": np.full((2, 1), batch.number / 3, np.float32)}

    measure_missing([a_batch(0), a_batch(1)], {"m": method}, log_of(tmp_path / "log"))
    log, counted = log_of(tmp_path / "log"), []
    measure_missing([a_batch(n) for n in range(3)], {"m": method, "n": method}, log, lambda *counts: counted.append(counts))
    assert asked == [0, 1, 0, 1, 2, 2]
    assert counted == [(2, 0), (4, 0), (6, 0)]
    names, values = log_of(tmp_path / "log").per_pair("m")
    assert names == ["0a", "0b", "1a", "1b", "2a", "2b"]
    np.testing.assert_array_equal(values["value"], np.float32([0, 0, 1 / 3, 1 / 3, 2 / 3, 2 / 3]))
    measure_missing(
        [a_batch(n) for n in range(3)], {"m": method}, log_of(tmp_path / "log"), lambda *counts: counted.append(counts)
    )
    assert counted[-1] == (6, 6)


@pytest.mark.parametrize("cut", [1, 20, 45])
def test_a_line_that_was_cut_short_is_measured_again(tmp_path, cut):
    path = tmp_path / "log"
    method = {"m": lambda batch: {"value": np.array([[0.1], [0.2]])}}
    measure_missing([a_batch(0), a_batch(1)], method, log_of(path))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert log_of(path).holds(a_batch(0), "m") and not log_of(path).holds(a_batch(1), "m")
    measure_missing([a_batch(0), a_batch(1)], method, log_of(path))
    assert path.read_bytes() == whole


def test_a_log_of_another_run_is_refused_by_what_differs(tmp_path):
    log_of(tmp_path / "log", size=3, data="a")
    with pytest.raises(ValueError, match=r"size was 3 and is 4"):
        log_of(tmp_path / "log", size=4, data="a")
    (tmp_path / "other").write_text("no log\nat all\n")
    with pytest.raises(ValueError, match="choose another folder"):
        log_of(tmp_path / "other")


def test_a_method_or_data_that_changed_in_between_are_refused(tmp_path):
    method = {"m": lambda batch: {"value": np.zeros((2, 1))}}
    measure_missing([a_batch(0)], method, log_of(tmp_path / "log"), definitions={"m": {"epsilon": 0.1}})
    measure_missing([a_batch(0), a_batch(1)], method, log_of(tmp_path / "log"), definitions={"m": {"epsilon": 0.1}, "n": {}})
    with pytest.raises(ValueError, match="m was another preset when"):
        measure_missing([a_batch(0)], method, log_of(tmp_path / "log"), definitions={"m": {"epsilon": 0.2}})
    other = dataclasses.replace(a_batch(0), names=("0a", "elsewhere"))
    with pytest.raises(ValueError, match="data set is not the one"):
        measure_missing([other], method, log_of(tmp_path / "log"))
    assert len(log_of(tmp_path / "log").per_pair("m")[0]) == 4


def test_two_runs_at_once_are_refused(tmp_path):
    log, met = log_of(tmp_path / "log"), []

    def method(batch):
        with pytest.raises(BlockingIOError, match="Another process is measuring"):
            measure_missing([batch], {"n": lambda batch: {}}, log_of(tmp_path / "log"))
        met.append(batch.number)
        return {"value": np.zeros((2, 1))}

    measure_missing([a_batch(0)], {"m": method}, log)
    measure_missing([a_batch(1)], {"m": lambda batch: {"value": np.zeros((2, 1))}}, log)
    assert met == [0] and log.holds(a_batch(1), "m")


def test_a_log_that_waited_holds_what_the_other_measured(tmp_path):
    first, second, asked = log_of(tmp_path / "log"), log_of(tmp_path / "log"), []

    def method(batch):
        asked.append(batch.number)
        return {"value": np.zeros((2, 1))}

    measure_missing([a_batch(0)], {"m": method}, first)
    measure_missing([a_batch(0), a_batch(1)], {"m": method}, second)
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
    with pytest.raises(ValueError, match=r"is not one or was edited .*choose another folder"):
        log_of(tmp_path / "log")
    (tmp_path / "other").write_text('{"configuration": 5}\n')
    with pytest.raises(ValueError, match="is not one or was edited"):
        log_of(tmp_path / "other")
