"""Means with standard errors, curves over sizes, tables in all formats, numbers as text."""

import csv
import io
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_lrp.evaluation import tables

# ---- means and tables ------------------------------------------------------------------------------------------------


def test_mean_by_hand():
    found = tables.mean([1, 2, 6, float("nan")])
    assert (found.value, found.count) == (3, 3)
    assert found.error == pytest.approx(np.std([1, 2, 6], ddof=1) / np.sqrt(3))
    assert tables.mean([]).count == 0
    assert np.isnan(tables.mean([4]).error)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.floats(-10, 10)), min_size=2, max_size=30))
def test_standard_error_of_groups_against_loops(rows):
    groups, values = [f"p{g}" for g, _ in rows], [v for _, v in rows]
    average, sums = sum(values) / len(values), {}
    for group, value in zip(groups, values, strict=True):
        sums[group] = sums.get(group, 0.0) + value - average
    found = tables.mean(values, groups)
    assert found.value == pytest.approx(average, abs=1e-9)
    if len(sums) > 1:
        spread = sum(s**2 for s in sums.values()) * len(sums) / (len(sums) - 1)
        assert found.error == pytest.approx(np.sqrt(spread) / len(values), abs=1e-9)
    else:
        assert np.isnan(found.error)


def test_every_copy_of_a_measurement_in_its_group_leaves_the_error_alone():
    """Ten classes with one value each in a picture tell no more than one."""
    once = tables.mean([1.0, 4.0, 2.0], ["a", "b", "c"])
    tenfold = tables.mean(np.repeat([1.0, 4.0, 2.0], 10), np.repeat(["a", "b", "c"], 10))
    assert tenfold.error == pytest.approx(once.error)


def test_by_size_puts_the_upper_bound_into_the_bin_below():
    centres, means, deviations, counts = tables.by_size([1, 3, 5, 7, float("nan")], [0.001, 0.5, 0.5, 1.0, 0.7], bins=4)
    np.testing.assert_allclose(centres, [0.125, 0.375, 0.625, 0.875])
    np.testing.assert_array_equal(counts, [1, 2, 0, 1])
    np.testing.assert_allclose(means, [1, 4, np.nan, 7])
    np.testing.assert_allclose(deviations, [0, 1, np.nan, 0])
    for bins in (100, 7):  # exact fractions, as pixel counts give them
        for edge in range(1, bins + 1):
            assert tables.by_size([1.0], [np.float32(edge / bins)], bins)[3][edge - 1] == 1


def test_table_in_all_formats():
    rows = [["a|b", tables.Mean(0.5, 0.25, 3), 7], ["c", tables.Mean(float("nan"), float("nan"), 0), None]]
    table = tables.Table("title", ["method", "mu", "pairs"], rows, ["note"])
    assert "| a\\|b | 0.500 ± 0.250 | 7 |" in table.markdown()
    assert "| c | - | - |" in table.markdown()
    assert list(csv.reader(io.StringIO(table.csv()))) == [
        ["method", "mu", "mu (error)", "mu (n)", "pairs"],
        ["a|b", "0.5", "0.25", "3", "7"],
        ["c", "", "", "0", ""],
    ]
    assert json.loads(json.dumps(table.data(), allow_nan=False))["rows"] == [["a|b", [0.5, 0.25], 7], ["c", [None, None], None]]


# -- numbers ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (3, None, "3"),
        (-12345678, None, "-12345678"),
        (0.0, None, "0.000"),
        (0.42345, None, "0.423"),
        (-12.3456, None, "-12.346"),
        (0.0123, None, "0.012"),
        (0.00123456, None, "0.00123"),
        (1.23456e-5, None, "1.23e-05"),
        (1234567.8, None, "1.23e+06"),
        (float("nan"), None, "nan"),
        (float("-inf"), None, "-inf"),
        (0.42345, 0.0123, "0.423 ± 0.012"),
        (0.42345, 0.000456, "0.4234 ± 0.0005"),
        (0.42345, 0.0, "0.423 ± 0.000"),
        (5, 0.2, "5.0 ± 0.2"),
        (5, float("nan"), "5 ± nan"),
    ],
)
def test_numbers_by_hand(value, error, text):
    assert tables.number(value, error) == text


@given(st.floats(-1e300, 1e300) | st.floats(-20, 20) | st.floats(-0.02, 0.02))
def test_numbers_keep_their_value(value):
    is_fixed = value == 0 or 0.01 <= abs(value) < 1e6
    tolerance = {"abs_tol": 5.01e-4, "rel_tol": 0} if is_fixed else {"rel_tol": 5.01e-3}
    assert math.isclose(float(tables.number(value)), value, **tolerance)


@given(st.floats(-10, 10), st.floats(2e-6, 10))
def test_an_error_that_is_not_0_never_reads_0(value, error):
    shown = tables.number(value, error).split(" ± ")
    assert float(shown[1]) > 0
    assert math.isclose(float(shown[1]), error, rel_tol=0.5)
