"""Localization: hand-made cases, naive loops, Quantus; ties, degenerate maps, symmetries."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_lrp.evaluation.measures import localization as loc

PER_MAP = (loc.inside_total_ratio, loc.weighted_inside_total_ratio, loc.rank_accuracy, loc.pointing_game)


def square(height, width, top, left, bottom, right):
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = True
    return mask


# ---- naive references ------------------------------------------------------------------------------------------------


def naive_mu(values, mask):
    inside = total = 0.0
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            positive = max(float(values[i, j]), 0.0)
            total += positive
            inside += positive if mask[i, j] else 0.0
    return inside / total if total else 0.0


def naive_share(values, mask, k):
    """The share inside of the k strongest, averaged over all orders of equal pixels: places are given out level by level."""
    pixels = sorted(((float(v), bool(m)) for v, m in zip(values.ravel(), mask.ravel(), strict=True)), key=lambda p: -p[0])
    left, found = k, 0.0
    for level in dict.fromkeys(value for value, _ in pixels):
        inside = [m for value, m in pixels if value == level]
        places = min(left, len(inside))
        found += places * sum(inside) / len(inside)
        left -= places
        if not left:
            break
    return found / k


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_against_loops(data):
    height, width, count = (data.draw(st.integers(1, n)) for n in (7, 7, 3))
    seed, levels = data.draw(st.integers(0, 2**31)), data.draw(st.sampled_from([2, 5, 10**6]))
    rng = np.random.default_rng(seed)
    maps = (rng.integers(-levels, levels, (count, height, width)) / 7).astype(
        data.draw(st.sampled_from([np.float32, np.float64]))
    )
    masks = rng.random((count, height, width)) < data.draw(st.sampled_from([0.1, 0.5, 0.9]))
    masks[:, rng.integers(height), rng.integers(width)] = True
    k = data.draw(st.integers(1, height * width))
    mu, rank, top, pointing = (
        np.asarray(found)
        for found in (
            loc.inside_total_ratio(maps, masks),
            loc.rank_accuracy(maps, masks),
            loc.top_k_intersection(maps, masks, k),
            loc.pointing_game(maps, masks),
        )
    )
    weighted = np.asarray(loc.weighted_inside_total_ratio(maps, masks))
    for n in range(count):
        assert mu[n] == pytest.approx(naive_mu(maps[n], masks[n]), abs=1e-5)
        assert weighted[n] == pytest.approx(naive_mu(maps[n], masks[n]) / masks[n].mean(), rel=1e-4, abs=1e-5)
        assert rank[n] == pytest.approx(naive_share(maps[n], masks[n], masks[n].sum()), abs=1e-5)
        assert top[n] == pytest.approx(naive_share(maps[n], masks[n], k), abs=1e-5)
        assert pointing[n] == pytest.approx(naive_share(maps[n], masks[n], 1), abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=30),
    st.integers(0, 29),
    st.booleans(),
)
def test_the_kth_largest_is_exact_for_every_float(values, place, double):
    """Subnormal numbers, both zeros, the largest floats: bit by bit finds what sorting finds."""
    array = np.array(values, np.float64 if double else np.float32)
    place = place % len(values)
    found = np.asarray(loc._largest(_tensor(array[None, :, None]), _tensor(np.array([place + 1], np.int32))))
    assert found[0] == np.sort(array)[::-1][place]


def _tensor(array):
    import tensorflow as tf

    return tf.constant(array)


# ---- known answers ---------------------------------------------------------------------------------------------------


def test_all_inside_is_one_and_all_outside_nothing():
    mask = square(6, 8, 1, 2, 4, 5)
    for values, expected in ((mask * 2.0, 1.0), (~mask * 2.0, 0.0)):
        found = {key: float(value) for key, value in loc.measure(values.astype(np.float32), mask, k=3).items()}
        assert found.pop("area") == pytest.approx(9 / 48)
        assert found.pop("mu_w") == pytest.approx(expected * 48 / 9)
        assert found == pytest.approx(dict.fromkeys(("mu", "rank_accuracy", "top_k", "pointing"), expected))


@pytest.mark.parametrize("value", [3.0, 0.25, 1e-30, 1e30])
def test_a_uniform_map_scores_the_share_of_the_area(value):
    mask = square(5, 4, 0, 0, 3, 2)
    found = loc.measure(np.full((5, 4), value, np.float32), mask, k=7)
    assert float(found.pop("mu_w")) == pytest.approx(1)
    assert {key: float(v) for key, v in found.items()} == pytest.approx(dict.fromkeys(found, 6 / 20))


def test_negative_relevance_is_no_relevance_and_none_at_all_finds_nothing():
    mask = square(2, 2, 0, 0, 1, 1)
    values = np.array([[3.0, -50.0], [1.0, -8.0]], np.float32)
    assert float(loc.inside_total_ratio(values, mask)) == pytest.approx(0.75)
    assert float(loc.inside_total_ratio(-np.abs(values), mask)) == 0
    assert float(loc.inside_total_ratio(np.zeros((2, 2), np.float32), mask)) == 0
    assert float(loc.rank_accuracy(-np.abs(values), mask)) == 0  # -1 is the largest, and outside


def test_an_empty_mask_has_no_answer():
    values, empty = np.ones((3, 3), np.float32), np.zeros((3, 3), bool)
    found = loc.measure(values, empty, k=2)
    assert float(found.pop("area")) == 0
    assert all(np.isnan(float(value)) for value in found.values())


def test_tolerance_widens_the_mask_by_whole_pixels():
    mask, values = square(9, 9, 4, 4, 5, 5), np.zeros((9, 9), np.float32)
    values[4, 7] = 1
    assert [float(loc.pointing_game(values, mask, tolerance)) for tolerance in (0, 2, 3)] == [0, 0, 1]


def test_top_k_of_a_small_mask_is_bounded_by_it():
    mask = square(4, 4, 0, 0, 1, 2)
    assert float(loc.top_k_intersection(mask.astype(np.float32), mask, 8)) == pytest.approx((2 + 6 * 0) / 8)
    assert float(loc.top_k_intersection(mask.astype(np.float32), mask, 10**6)) == pytest.approx(2 / 16)  # all pixels


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6), st.sampled_from([2, 10**6]))
def test_turning_and_mirroring_map_and_mask_together_changes_nothing(seed, side, levels):
    rng = np.random.default_rng(seed)
    values = rng.integers(-levels, levels, (side, side)).astype(np.float32)
    mask = rng.random((side, side)) < 0.4
    mask[0, 0] = True
    maps, masks = (np.stack([a, *(turn(a) for turn in (np.fliplr, np.flipud, np.rot90, np.transpose))]) for a in (values, mask))
    for name, measured in loc.measure(maps, masks, k=3).items():
        np.testing.assert_allclose(measured, np.repeat(measured[0], 5), rtol=0, atol=1e-6, err_msg=name)


def test_leading_axes_and_broadcasting():
    rng = np.random.default_rng(0)
    maps, mask = rng.normal(size=(2, 3, 5, 4)).astype(np.float32), square(5, 4, 1, 1, 3, 4)
    for function in PER_MAP:
        together = np.asarray(function(maps, mask))
        assert together.shape == (2, 3)
        apart = [[float(function(maps[i, j], mask)) for j in range(3)] for i in range(2)]
        np.testing.assert_allclose(together, apart, rtol=1e-6)


def test_grid_pointing_counts_cells_row_by_row():
    values = np.zeros((4, 6), np.float32)
    values[0, 0], values[1, 5], values[3, 3], values[2, 0] = 1, 2, 5, -7
    np.testing.assert_allclose(loc.grid_pointing(values), [1 / 8, 2 / 8, 0, 5 / 8], rtol=1e-6)
    np.testing.assert_allclose(loc.grid_pointing(np.ones((2, 4, 6), np.float32), (2, 3)), np.full((2, 6), 1 / 6), rtol=1e-6)
    with pytest.raises(ValueError, match="2 x 2"):
        loc.grid_pointing(np.ones((5, 6), np.float32))


def test_class_discrimination_tells_the_same_the_unrelated_and_the_opposite():
    first = np.array([[1.0, -1.0], [1.0, -1.0]], np.float32)
    second = np.array([[1.0, 1.0], [-1.0, -1.0]], np.float32)
    maps = np.stack([[first, 5 * first], [first, second], [first, -first]])
    np.testing.assert_allclose(loc.class_discrimination(maps), [0, 1, 2], atol=1e-6)
    three = np.stack([first, first, -first])  # pairs: 0, 2, 2
    assert float(loc.class_discrimination(three)) == pytest.approx(4 / 3)
    assert np.isnan(float(loc.class_discrimination(first[None])))


def test_pooling_by_hand():
    pixel = np.array([3.0, -4.0], np.float32)[None, None]
    expected = {"sum": -1, "sum,abs": 1, "l1": 7, "l2": 5, "l2,squared": 25, "max,abs": 4, "positive,sum": 3}
    assert {how: float(loc.pool(pixel, how)[0, 0]) for how in loc.POOLINGS} == pytest.approx(expected)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"'sum'.*'mean'"):
        loc.pool(np.ones((2, 2, 3)), "mean")
    with pytest.raises(ValueError, match="same height and width"):
        loc.inside_total_ratio(np.ones((4, 4, 3)), np.ones((4, 4), bool))
    with pytest.raises(ValueError, match="got 0"):
        loc.top_k_intersection(np.ones((4, 4)), np.ones((4, 4), bool), 0)


# ---- Quantus ---------------------------------------------------------------------------------------------------------


def test_the_numbers_of_quantus():
    """Its metrics on the same arrays; positive relevance, where it takes no other.

    Its weighted localization multiplies by the object's share of the picture, where the paper's divides by it.
    """
    quantus = pytest.importorskip("quantus")
    rng = np.random.default_rng(1)
    maps = np.abs(rng.normal(size=(6, 16, 16))).astype(np.float32)
    masks = np.stack([square(16, 16, n, 2, n + 6, 9 + n % 3) for n in range(6)])
    x, y = np.zeros((6, 1, 16, 16), np.float32), np.zeros(6, int)
    shared = {"model": None, "x_batch": x, "y_batch": y, "a_batch": maps[:, None], "s_batch": masks[:, None]}
    options = {"disable_warnings": True, "display_progressbar": False, "abs": False, "normalise": False}

    def theirs(metric, **extra):
        return metric(**options, **extra)(**shared, channel_first=True, softmax=False)

    pairs = (
        (theirs(quantus.AttributionLocalisation), loc.inside_total_ratio(maps, masks)),
        (theirs(quantus.RelevanceMassAccuracy), loc.inside_total_ratio(maps, masks)),
        (theirs(quantus.RelevanceRankAccuracy), loc.rank_accuracy(maps, masks)),
        (theirs(quantus.TopKIntersection, k=40), loc.top_k_intersection(maps, masks, 40)),
        (theirs(quantus.PointingGame), loc.pointing_game(maps, masks)),
    )
    for their_numbers, ours in pairs:
        np.testing.assert_allclose(np.asarray(their_numbers, float), ours, rtol=1e-5)
