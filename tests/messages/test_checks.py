"""Checks of arguments that are numbers."""

import numpy as np
import pytest

from tf_lrp.messages import checks


@pytest.mark.parametrize("value", [1, np.int64(3), np.uint8(2)])
def test_integers_of_python_and_numpy_are_accepted(value):
    assert checks.integer("n", value) == value and type(checks.integer("n", value)) is int


@pytest.mark.parametrize("value", [0, -1, True, 1.0, "1", None, [1]])
def test_what_is_no_positive_integer_is_refused(value):
    with pytest.raises(ValueError, match=r"^n needs an integer >= 1, got "):
        checks.integer("n", value)


def test_one_integer_for_each_axis():
    assert checks.integers("patch", 3, 2) == [3, 3]
    assert checks.integers("patch", (1, np.int32(2)), 2) == [1, 2]
    assert checks.integers("patch", 5, 1) == checks.integers("patch", [5], 1) == [5]
    for given in ([1], [1, 0], [1, 2, 3], 1.5, [True, 1], None):
        with pytest.raises(ValueError, match="patch needs an integer >= 1, or 2 of them; got "):
            checks.integers("patch", given, 2)
    with pytest.raises(ValueError, match="patch needs an integer >= 1, got 0"):
        checks.integers("patch", 0, 1)


def test_finite_numbers():
    assert all(map(checks.is_finite_number, (0, -1.5, np.float32(2))))
    assert not any(map(checks.is_finite_number, (float("nan"), float("inf"), True, "1", None, 1j)))
