"""The figures of the protocols: what is drawn is what was given, labels are legible, and matplotlib's state is untouched."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Text
from PIL import Image

from tf_lrp.evaluation import figures
from tf_lrp.evaluation.protocols import context, localization, perturbation, sanity

CENTRES = (np.arange(20) + 0.5) / 20


def lines_of(figure):
    (axes,) = figure.axes
    return {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}


def labels_of(figure):
    """Names beside the axes from top to bottom: the legend's, or those at the curves' ends."""
    if figure.legends:
        return [text.get_text() for text in figure.legends[0].get_texts()]
    (axes,) = figure.axes
    return [text.get_text() for text in sorted(axes.texts, key=lambda text: -text.xyann[1])]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 45), st.randoms(use_true_random=False))
def test_curves_by_size_draw_what_is_given(count, random):
    rng = np.random.default_rng(random.randrange(2**32))
    curves = {f"method_{n}": (CENTRES, np.where(rng.random(20) < 0.3, np.nan, rng.random(20))) for n in range(count)}
    figure = localization.draw(curves, title="T", ylabel="Y")
    lines = lines_of(figure)
    assert set(lines) == {*curves, localization.BASELINE}
    for name, (x, y) in curves.items():
        kept = [(a, b) for a, b in zip(x, y, strict=True) if b == b]
        assert [tuple(point) for point in lines[name].get_xydata()] == kept
    assert len({(line.get_color(), str(line._unscaled_dash_pattern)) for line in lines.values()}) == min(count, 42) + 1
    (axes,) = figure.axes
    assert (axes.get_xlim(), axes.get_title(loc="left"), axes.get_ylabel()) == ((0, 1), "T", "Y")
    if count > figures.DIRECT:
        means = {name: np.nanmean(y) for name, (_, y) in curves.items()}
        assert labels_of(figure) == [*sorted(means, key=lambda name: -means[name]), localization.BASELINE]
    else:
        assert sorted(labels_of(figure)) == sorted([*curves, localization.BASELINE])


def test_baseline_and_thresholds():
    curves = {"a": (CENTRES, CENTRES**2)}
    (axes,) = localization.draw(curves).axes
    verticals = [
        line.get_xdata()[0] for line in axes.get_lines() if list(line.get_ydata()) == [0, 1] and len(set(line.get_xdata())) == 1
    ]
    assert verticals == [0.25, 0.5]
    assert lines_of(axes.figure)[localization.BASELINE].get_xydata().tolist() == [[0, 0], [1, 1]]
    assert set(lines_of(localization.draw(curves, baseline=False))) == {"a"}


def test_styles_follow_the_order_given_not_the_values():
    rising, falling = CENTRES, 0.2 * CENTRES
    first = lines_of(localization.draw({"a": (CENTRES, rising), "b": (CENTRES, falling)}))
    second = lines_of(localization.draw({"a": (CENTRES, falling), "b": (CENTRES, rising)}))
    assert [first[name].get_color() for name in "ab"] == [second[name].get_color() for name in "ab"]
    assert first["a"].get_color() != first["b"].get_color()


def bands_of(figure):
    """Band's name -> (x, lower edge, upper edge), from its outline."""
    (axes,) = figure.axes
    found = {}
    for band in axes.collections:
        points = band.get_paths()[0].vertices
        xs = sorted(set(points[:, 0]))
        edges = [points[points[:, 0] == x, 1] for x in xs]
        found[band.get_label()] = (xs, [e.min() for e in edges], [e.max() for e in edges])
    return found


@pytest.mark.parametrize("draw", [context.draw, perturbation.draw, sanity.draw])
def test_bands_are_what_is_given(draw):
    rng = np.random.default_rng(0)
    x = np.linspace(0, 1, 6)
    curves = {name: (x, rng.normal(size=6), rng.random(6)) for name in ("object", "context")}
    curves["object"][1][2] = np.nan  # passed over
    curves["context"][2][3] = np.nan  # no width
    figure = draw(curves)
    lines, bands = lines_of(figure), bands_of(figure)
    for name, (_, means, widths) in curves.items():
        kept = ~np.isnan(means)
        np.testing.assert_array_equal(lines[name].get_xydata(), np.stack([x, means], 1)[kept])
        half = np.nan_to_num(widths)
        xs, low, high = bands[name]
        np.testing.assert_allclose(xs, x[kept])
        np.testing.assert_allclose(low, (means - half)[kept])
        np.testing.assert_allclose(high, (means + half)[kept])


def test_bars_by_hand():
    names, values = ["low", "none", "high", "$x$ <"], [-0.5, np.nan, 2.0, 0.25]
    figure = figures.draw_bars(names, values, [0.1, np.nan, np.nan, 0.02], title="T", xlabel="X")
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["high", "$x$ <", "low", "none"]
    assert [bar.get_width() for bar in axes.patches][:3] == [2.0, 0.25, -0.5]
    assert [text.get_text() for text in axes.texts] == ["2.000", "0.250 ± 0.020", "-0.500 ± 0.100", "no value"]
    low, high = axes.get_ylim()
    assert low > high  # the first bar is on top
    assert [text.get_text() for text in figures.draw_bars(["a"], [1.0]).axes[0].texts] == ["1.000"]


def test_labels_at_the_ends_do_not_meet():
    curves = {f"m{n}": (CENTRES, 0.5 + 0.001 * n + 0 * CENTRES) for n in range(figures.DIRECT)}
    figure = localization.draw(curves)
    figure.draw_without_rendering()
    boxes = sorted((Text.get_window_extent(text) for text in figure.axes[0].texts), key=lambda box: box.y0)
    assert all(below.y1 <= above.y0 + 1 for below, above in itertools.pairwise(boxes))
    assert labels_of(figure)[1:] == [f"m{n}" for n in reversed(range(figures.DIRECT))]


@pytest.mark.parametrize("name", ["m{}", "a rather long name of a method, with parameters={}"])
@pytest.mark.parametrize("count", [7, 24, 40])
def test_legends_fit(name, count):
    curves = {name.format(n): (CENTRES, CENTRES * n) for n in range(count)}
    figure = localization.draw(curves)
    figure.draw_without_rendering()
    box, axes = figure.legends[0].get_window_extent(), figure.axes[0].get_window_extent()
    assert box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.x0 >= axes.x1
    assert axes.width >= 0.35 * figure.bbox.width


def test_degenerate_curves():
    nothing, one = (CENTRES, np.full(20, np.nan)), (CENTRES, np.where(np.arange(20) == 7, 0.4, np.nan))
    figure = localization.draw({"nothing": nothing, "one": one})
    assert lines_of(figure)["one"].get_marker() == "o"
    assert "nothing (no values)" in labels_of(figure)
    many = {f"m{n}": (CENTRES, CENTRES) for n in range(8)} | {"nothing": nothing}
    assert labels_of(localization.draw(many))[-2:] == ["nothing (no values)", localization.BASELINE]


def test_errors_of_figures():
    with pytest.raises(ValueError, match="at least one curve"):
        perturbation.draw({})
    with pytest.raises(ValueError, match=r"'a' needs \(centres, means\).*\(2,\), \(3,\)"):
        localization.draw({"a": ([0, 1], [0, 1, 2])})
    with pytest.raises(ValueError, match=r"'a' needs \(fractions, means, errors\)"):
        perturbation.draw({"a": ([0, 1], [0, 1])})
    with pytest.raises(ValueError, match="baseline's name 'uniform relevance'"):
        localization.draw({localization.BASELINE: ([0, 1], [0, 1])})
    with pytest.raises(ValueError, match="got 2 names"):
        figures.draw_bars(["a", "b"], [1.0])


def test_figures_are_written_without_pyplots_state(tmp_path):
    import matplotlib
    from matplotlib import pyplot

    settings_before = dict(matplotlib.rcParams)
    x = np.linspace(0, 1, 5)
    curve = {"$odd_{name": (x, x, x)}
    drawn = {
        "curve": localization.draw({"a $x": (x, x)}, title="a $title"),
        "context": context.draw(curve, "t"),
        "perturbation": perturbation.draw(curve, "t", "x"),
        "sanity": sanity.draw(curve, "t"),
        "bars": figures.draw_bars(["$a_{", "b"], [1, 2], [0.1, 0.2], "t", "x"),
    }
    for name, figure in drawn.items():
        path = tmp_path / f"{name}.png"
        assert figures.save(figure, path) == path
        with Image.open(path) as image:
            assert image.format == "PNG" and image.width >= 1000
            assert len(image.convert("RGB").getcolors(1 << 20)) > 20  # more than an empty sheet
    assert pyplot.get_fignums() == []
    assert dict(matplotlib.rcParams) == settings_before
