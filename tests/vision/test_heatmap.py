"""Heatmaps: colours, scaling, overlays, grids, files."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from tf_lrp import heatmap

COLORMAPS = heatmap.colormaps()
RED_ABOVE = ["seismic", "bwr", "coolwarm", "RdBu_r", "RdYlBu_r", "toolbox", "jet"]
NEUTRAL = {
    "seismic": (255, 255, 255),
    "bwr": (255, 255, 255),
    "RdGy": (255, 255, 255),
    "toolbox": (0, 0, 0),
    "jet": (128, 255, 128),
    "coolwarm": (221, 221, 221),
    "RdBu_r": (247, 247, 247),
    "Spectral": (255, 255, 191),
}


def relevance(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def one_value(value, cmap):
    return heatmap.to_rgb([[value]], cmap, scale=1)[0, 0].tolist()


# Colour maps


def test_the_listed_colormaps_include_the_known_ones_and_every_reverse():
    assert {"toolbox", "jet", "seismic", "bwr", "coolwarm", "RdBu_r"} <= set(COLORMAPS)
    assert sorted(set(COLORMAPS)) == COLORMAPS
    assert all(f"{name}_r" in COLORMAPS for name in COLORMAPS if not name.endswith("_r"))


@pytest.mark.parametrize("cmap", NEUTRAL)
def test_zero_has_the_known_neutral_colour(cmap):
    assert one_value(0, cmap) == list(NEUTRAL[cmap])


@pytest.mark.parametrize("cmap", COLORMAPS)
def test_zero_is_neutral_beside_any_other_relevance(cmap):
    neutral = heatmap.to_rgb(np.zeros((1, 1)), cmap)[0, 0]
    if not cmap.startswith(("jet", "toolbox")):
        centre = matplotlib.colormaps[cmap.removesuffix("_r")].resampled(3)(1)[:3]
        np.testing.assert_array_equal(neutral, np.rint(255 * np.array(centre)))
    maps = relevance(3, 8, 9)
    maps[:, 2:5, 3:7] = 0
    maps[0, 0, 0] = 1e30
    maps[1] *= -1e-30
    rgb = heatmap.to_rgb(maps, cmap)
    assert rgb.dtype == np.uint8
    assert (rgb[:, 2:5, 3:7] == neutral).all()
    assert (rgb[0, 0, 0] != neutral).any()


@pytest.mark.parametrize("cmap", COLORMAPS)
def test_negated_relevance_has_the_colours_of_the_reversed_map(cmap):
    maps = relevance(2, 16, 16)
    reversed_cmap = cmap.removesuffix("_r") if cmap.endswith("_r") else f"{cmap}_r"
    np.testing.assert_array_equal(heatmap.to_rgb(-maps, cmap), heatmap.to_rgb(maps, reversed_cmap))


@pytest.mark.parametrize("cmap", ["toolbox", "jet", "bwr"])
def test_negated_relevance_swaps_red_and_blue(cmap):
    maps = relevance(2, 16, 16)
    np.testing.assert_array_equal(heatmap.to_rgb(-maps, cmap), heatmap.to_rgb(maps, cmap)[..., ::-1])


@pytest.mark.parametrize("cmap", RED_ABOVE)
def test_positive_is_red_and_negative_is_blue(cmap):
    red, _, blue = one_value(0.75, cmap)
    assert red > blue
    red, _, blue = one_value(-0.75, cmap)
    assert red < blue


def test_toolbox_and_jet_have_their_colours():
    anchors = {-1: (0, 255, 255), -0.5: (0, 0, 255), 0: (0, 0, 0), 0.5: (255, 0, 0), 1: (255, 255, 0)}
    for value, colour in anchors.items():
        np.testing.assert_allclose(one_value(value, "toolbox"), colour, atol=2)
    anchors = {-1: (0, 0, 128), -0.5: (0, 128, 255), 0.25: (255, 255, 0), 0.5: (255, 128, 0), 1: (128, 0, 0)}
    for value, colour in anchors.items():
        np.testing.assert_allclose(one_value(value, "jet"), colour, atol=2)


@pytest.mark.parametrize("cmap", ["seismic", "coolwarm", "PuOr_r", "Spectral"])
def test_matplotlib_maps_look_as_in_matplotlib(cmap):
    values = np.linspace(-1, 1, 333)[None]
    expected = 255 * matplotlib.colormaps[cmap].resampled(4095)(values / 2 + 0.5)[..., :3]
    assert np.abs(heatmap.to_rgb(values, cmap) - expected).max() <= 3


@pytest.mark.parametrize(
    ("cmap", "words"),
    [
        ("seismik", "seismic"),
        ("rdbu_r", "RdBu_r"),
        ("viridis", "does not diverge"),
        ("hot", "neutral"),
        (None, "toolbox"),
    ],
)
def test_other_colormaps_are_refused_with_help(cmap, words):
    with pytest.raises(ValueError, match=words) as error:
        heatmap.to_rgb(np.ones((2, 2)), cmap)
    assert repr(cmap) in str(error.value)


# Scaling


@settings(max_examples=50, deadline=None)
@given(
    maps=hnp.arrays(np.int64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.integers(-(2**20), 2**20)),
    factor=st.integers(1, 2**20),
    cmap=st.sampled_from(COLORMAPS),
)
def test_colours_do_not_depend_on_the_scale_of_relevance(maps, factor, cmap):
    expected = heatmap.to_rgb(maps, cmap)
    np.testing.assert_array_equal(heatmap.to_rgb(maps * factor, cmap), expected)
    np.testing.assert_array_equal(heatmap.to_rgb(maps * 2.0**-900, cmap), expected)


@settings(max_examples=100, deadline=None)
@given(
    maps=hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        st.tuples(st.integers(1, 3), st.integers(1, 3), st.sampled_from([2, 5])),
        elements={"allow_nan": False, "allow_infinity": False},
    ),
    mode=st.sampled_from(["image", "shared"]),
    percentile=st.sampled_from([None, 50, 99.5, 100]),
)
def test_every_finite_map_normalizes_without_a_floating_point_error(maps, mode, percentile):
    with np.errstate(all="raise"):
        scaled = heatmap.normalize(maps, mode, percentile=percentile)
        rgb = heatmap.to_rgb(maps, normalization=mode, percentile=percentile)
    assert scaled.shape == maps.shape
    assert rgb.shape == (*maps.shape, 3)
    assert np.abs(scaled).max() <= 1
    assert (scaled[maps == 0] == 0).all()
    assert (scaled * np.sign(maps) >= 0).all()
    axes = (1, 2) if mode == "image" else None
    largest, scaled_largest = np.abs(maps).max(axis=axes), np.abs(scaled).max(axis=axes)
    np.testing.assert_array_equal(scaled_largest, largest > 0)


@pytest.mark.parametrize("size", [1e38, 3e38, 1e-38, 1e-45])
def test_sums_of_huge_and_denormal_channels_are_exact(size):
    values = np.array([[[1, 1, 1], [1, -1, 0], [-1, -1, -1]]], np.float32) * np.float32(size)
    with np.errstate(all="raise"):
        rgb = heatmap.to_rgb(values[None], "bwr")
    assert rgb.tolist() == [[[[255, 0, 0], [255, 255, 255], [0, 0, 255]]]]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.int64, bool])
def test_every_real_dtype_gives_the_same_colours(dtype):
    maps = np.eye(5)
    np.testing.assert_array_equal(heatmap.to_rgb(maps.astype(dtype)), heatmap.to_rgb(maps))


def test_the_most_negative_integer_keeps_its_sign():
    assert heatmap.normalize(np.array([[-128, 127]], np.int8))[0, 0] == -1


@pytest.mark.parametrize("mode", ["image", "shared"])
@pytest.mark.parametrize("percentile", [None, 99.5])
def test_a_map_of_zeros_stays_zero(mode, percentile):
    zeros = np.zeros((2, 4, 5), np.float32)
    with np.errstate(all="raise"):
        assert (heatmap.normalize(zeros, mode, percentile=percentile) == 0).all()
        assert (heatmap.to_rgb(zeros, "toolbox", mode, percentile=percentile) == 0).all()


def test_image_and_shared_normalization():
    maps = np.array([[[1, -2]], [[4, 0]], [[0, 0]]])
    np.testing.assert_array_equal(heatmap.normalize(maps), [[[0.5, -1]], [[1, 0]], [[0, 0]]])
    np.testing.assert_array_equal(heatmap.normalize(maps, "shared"), [[[0.25, -0.5]], [[1, 0]], [[0, 0]]])
    np.testing.assert_array_equal(heatmap.normalize(maps[0], "shared"), heatmap.normalize(maps[0]))
    assert (heatmap.to_rgb(maps)[0] != heatmap.to_rgb(maps, normalization="shared")[0]).any()


def test_a_given_scale_clips_beyond_it():
    np.testing.assert_array_equal(heatmap.normalize([[1, -2, 0, 8.0]], scale=4), [[0.25, -0.5, 0, 1]])
    maps = relevance(2, 5, 5)
    np.testing.assert_array_equal(heatmap.to_rgb(heatmap.normalize(maps), scale=1), heatmap.to_rgb(maps))


def test_a_percentile_clips_outliers_and_gives_way_where_it_is_zero():
    maps = np.ones((2, 10, 10))
    maps[0, 0, 0] = -1000
    maps[1] = 0
    maps[1, 3, 3] = 5
    scaled = heatmap.normalize(maps, percentile=90)
    assert scaled[0, 0, 0] == -1
    assert (scaled[0, 1:] == 1).all()
    assert scaled[1, 3, 3] == 1
    assert np.count_nonzero(scaled[1]) == 1


def test_channel_sum_and_colours_of_summed_channels():
    values = relevance(2, 5, 6, 3)
    maps = heatmap.channel_sum(values)
    np.testing.assert_allclose(maps, values.astype(np.float64).sum(-1))
    np.testing.assert_array_equal(heatmap.channel_sum(values[0]), maps[0])
    np.testing.assert_array_equal(heatmap.to_rgb(values), heatmap.to_rgb(maps))
    np.testing.assert_array_equal(heatmap.to_rgb(values)[1], heatmap.to_rgb(maps[1]))


def test_narrow_maps_pass_with_a_channel_axis():
    values = relevance(2, 5, 3)
    with pytest.raises(ValueError, match=r"3 channels.*channel_sum"):
        heatmap.to_rgb(values)
    rgb = heatmap.to_rgb(values[..., None])
    np.testing.assert_array_equal(rgb[1], heatmap.to_rgb(values[1]))


@pytest.mark.parametrize("shape", [(), (7,), (1, 2, 3, 4, 5)])
@pytest.mark.parametrize("function", [heatmap.channel_sum, heatmap.normalize, heatmap.to_rgb])
def test_other_shapes_are_refused_with_the_accepted_ones(function, shape):
    with pytest.raises(ValueError, match=r"\(N, H, W") as error:
        function(np.ones(shape))
    assert str(shape) in str(error.value)


@pytest.mark.parametrize("function", [heatmap.channel_sum, heatmap.normalize, heatmap.to_rgb])
def test_nan_and_inf_are_counted(function):
    values = relevance(4, 6, 5)
    values[0, 0, 0], values[1, 1, 1], values[2, 2, 2] = np.nan, np.inf, -np.inf
    with pytest.raises(ValueError, match=r"3 NaN or Inf values of 120.*nan_to_num"):
        function(values)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"mode": "batch"}, '"image" or "shared", got \'batch\''),
        ({"scale": 0}, "positive"),
        ({"scale": -1.0}, "positive"),
        ({"scale": np.nan}, "positive"),
        ({"scale": np.inf}, "finite"),
        ({"scale": [1.0, 2.0]}, "one positive"),
        ({"percentile": 0}, r"\(0, 100\]"),
        ({"percentile": 101}, "101"),
        ({"scale": 1, "percentile": 99}, "one of them"),
    ],
)
def test_bad_normalization_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        heatmap.normalize(np.ones((2, 2)), **arguments)


@pytest.mark.parametrize("values", [np.ones((2, 2), complex), np.array([["a"]]), np.array([[None]])])
def test_other_dtypes_are_refused(values):
    with pytest.raises(ValueError, match="real numbers"):
        heatmap.to_rgb(values)


def test_empty_and_overflowing_relevance_is_refused():
    with pytest.raises(ValueError, match=r"empty.*\(0, 4, 4\)"):
        heatmap.to_rgb(np.ones((0, 4, 4)))
    with pytest.raises(ValueError, match="float64"), np.errstate(all="raise"):
        heatmap.channel_sum(np.full((1, 1, 1, 3), 1.5e308))


def test_inputs_are_left_alone():
    values = relevance(2, 5, 6, 3)
    picture = np.full((9, 9, 3), 7, np.uint8)
    before = values.copy()
    heatmap.to_rgb(values, percentile=50)
    heatmap.overlay(values, picture)
    np.testing.assert_array_equal(values, before)
    assert (picture == 7).all()


# Overlays


def picture_of(*shape, seed=1):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def test_the_picture_shows_where_relevance_is_zero():
    picture = picture_of(12, 10, 3)
    maps = relevance(12, 10)
    maps[:, 3:] = 0
    coloured = heatmap.overlay(maps, picture, grey=False)
    assert coloured.dtype == np.uint8
    np.testing.assert_array_equal(coloured[:, 3:], picture[:, 3:])
    assert (coloured[:, :3] != picture[:, :3]).any()
    greyed = heatmap.overlay(maps, picture)[:, 3:]
    assert (greyed == greyed[..., :1]).all()
    luma = np.asarray(Image.fromarray(picture).convert("L"), int)
    assert np.abs(greyed[..., 0] - luma[:, 3:]).max() <= 1


def test_opacity_is_proportional_to_relevance():
    picture = np.full((1, 5, 3), 100, np.uint8)
    values = np.array([[-2, -1, 0, 1, 2.0]])
    colours = heatmap.to_rgb(values, "bwr").astype(float)
    opacity = 0.8 * np.abs(values)[..., None] / 2
    expected = 100 + opacity * (colours - 100)
    np.testing.assert_allclose(heatmap.overlay(values, picture, alpha=0.8, cmap="bwr"), expected, atol=0.51)
    opaque = heatmap.overlay(values, picture, alpha=1, cmap="bwr")
    assert opaque[0, [0, 4]].tolist() == [[0, 0, 255], [255, 0, 0]]
    assert (heatmap.overlay(values, picture, alpha=0) == picture).all()


def test_pictures_of_every_kind_look_the_same():
    picture = picture_of(6, 7)
    maps = relevance(6, 7)
    expected = heatmap.overlay(maps, picture)
    assert expected.shape == (6, 7, 3)
    for other in (
        picture[..., None],
        np.repeat(picture[..., None], 3, axis=-1),
        picture.astype(np.float32),
        picture / 255,
        picture.astype(np.int64),
        Image.fromarray(picture),
    ):
        np.testing.assert_array_equal(heatmap.overlay(maps, other), expected)


def test_dark_integer_pictures_stay_dark():
    picture = np.ones((4, 4, 3), np.uint8)
    np.testing.assert_array_equal(heatmap.overlay(np.zeros((4, 4)), picture), picture)


def test_batches_of_overlays():
    maps, pictures = relevance(3, 8, 9, 2), picture_of(3, 8, 9, 3)
    together = heatmap.overlay(maps, pictures, cmap="toolbox")
    assert together.shape == (3, 8, 9, 3)
    for index in range(3):
        alone = heatmap.overlay(heatmap.channel_sum(maps[index]), pictures[index], cmap="toolbox")
        np.testing.assert_array_equal(together[index], alone)
    np.testing.assert_array_equal(
        heatmap.overlay(maps, pictures[0])[2], heatmap.overlay(heatmap.channel_sum(maps[2]), pictures[0])
    )
    np.testing.assert_array_equal(heatmap.overlay(maps, pictures[..., 0])[1], heatmap.overlay(maps, pictures[..., :1])[1])


def test_smaller_maps_are_resized_to_the_picture():
    values = np.zeros((4, 3))
    values[0, 2] = 1e-45
    values[3, 0] = -1e-45
    picture = np.full((40, 60, 3), 128, np.uint8)
    with np.errstate(all="raise"):
        result = heatmap.overlay(values, picture, alpha=1, cmap="bwr").astype(int)
    assert result.shape == (40, 60, 3)
    assert result[0, 59].tolist() == [255, 0, 0]
    assert result[39, 0].tolist() == [0, 0, 255]
    assert (result[:15, :30] == 128).all()  # beyond the reach of either
    strength = (result[..., 0] - result[..., 2])[0, 30:]
    assert (np.diff(strength) >= 0).all()
    assert len(set(strength)) > 5  # a ramp, not blocks


def test_resizing_keeps_orientation_and_batches():
    maps = relevance(2, 9, 6)
    picture = np.full((18, 12), 90.0)
    result = heatmap.overlay(maps.swapaxes(1, 2), picture.T)
    np.testing.assert_array_equal(result, heatmap.overlay(maps, picture).swapaxes(1, 2))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"picture": np.ones((4, 4)), "alpha": 1.5}, r"alpha.*\[0, 1\]"),
        ({"picture": np.ones((4, 4, 3)) * 300}, "300.*preprocessing"),
        ({"picture": -np.ones((4, 4, 3))}, "-1.*preprocessing"),
        ({"picture": np.full((4, 4), np.nan)}, "picture holds 16 NaN"),
        ({"picture": np.ones((5, 4, 4, 3))}, "2 relevance maps for a batch of 5"),
        ({"picture": np.ones((2, 4, 4, 4))}, r"\(h, w, 3\).*\(2, 4, 4, 4\)"),
        ({"picture": np.ones(4)}, r"\(h, w, 3\)"),
        ({"picture": np.ones((4, 4)), "cmap": "viridis"}, "does not diverge"),
    ],
)
def test_bad_overlay_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        heatmap.overlay(relevance(2, 4, 4), **arguments)


def test_one_map_does_not_serve_many_pictures():
    with pytest.raises(ValueError, match=r"one \(H, W\) map"):
        heatmap.overlay(np.ones((4, 4)), np.ones((2, 4, 4, 3)))


# Grids


def ink(image):
    return (255 - np.asarray(image, np.int64)).sum()


def blank_grid(columns=1, rows=1, cell=None, **options):
    options = {"cell_size": 80, "font_size": 16, **options}
    return np.asarray(heatmap.grid([[cell] * columns] * rows, **options))


def test_cells_lie_where_the_layout_says():
    a, b = picture_of(100, 120, 3), picture_of(100, 120)
    image = heatmap.grid([[a, b], [None, a]], margin=10)
    assert isinstance(image, Image.Image)
    assert image.mode == "RGB"
    assert image.size == (10 + 2 * 130, 10 + 2 * 110)
    pixels = np.asarray(image)
    np.testing.assert_array_equal(pixels[10:110, 10:130], a)
    np.testing.assert_array_equal(pixels[10:110, 140:260], np.repeat(b[..., None], 3, axis=-1))
    np.testing.assert_array_equal(pixels[120:220, 140:260], a)
    assert (pixels[112:, :138] == 255).all()  # the empty cell
    assert (pixels[:9] == 255).all()


def test_pictures_are_fitted_into_the_cell_and_centred():
    wide = np.zeros((10, 40, 3), np.uint8)
    pixels = np.asarray(heatmap.grid([[wide]], cell_size=(100, 80), margin=5))
    assert pixels.shape == (110, 90, 3)
    black = (pixels == 0).all(-1)
    rows, columns = np.nonzero(black)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (45, 64, 5, 84)


def test_small_maps_are_enlarged_by_a_whole_factor_and_keep_their_pixels():
    small = picture_of(28, 28, 3)
    pixels = np.asarray(heatmap.grid([[small]], margin=0))
    np.testing.assert_array_equal(pixels, small.repeat(4, axis=0).repeat(4, axis=1))
    assert heatmap.grid([[small]], margin=0, cell_size=28).size == (28, 28)


def test_shrinking_averages_pixels():
    fine = np.indices((96, 96)).sum(0) % 2 * 255
    pixels = np.asarray(heatmap.grid([[fine.astype(np.uint8)]], cell_size=24, margin=0), int)
    assert np.abs(pixels - 127.5).max() < 20


def test_pil_images_batches_and_grey_cells():
    batch = picture_of(2, 96, 96, 3)
    expected = np.asarray(heatmap.grid([list(batch)]))
    np.testing.assert_array_equal(np.asarray(heatmap.grid([batch])), expected)
    np.testing.assert_array_equal(np.asarray(heatmap.grid([[Image.fromarray(each) for each in batch]])), expected)
    grey = batch[0, :, :, 0]
    np.testing.assert_array_equal(
        np.asarray(heatmap.grid([[grey]])), np.asarray(heatmap.grid([[Image.fromarray(grey).convert("L")]]))
    )


TITLES = [
    "A",
    "Wavy, jolly fjord",
    "two\nlines",
    "lrp.sequential_preset_a_flat",
    "LRP-ε und α2β1, größer",
    "W" * 70,
    "j f " * 9,
]


@pytest.mark.parametrize("title", TITLES)
@pytest.mark.parametrize("where", ["row_titles", "column_titles"])
@pytest.mark.parametrize("cell_size", [4, 80])
def test_titles_are_neither_cut_off_nor_overlapping(title, where, cell_size):
    # Ink lost at the canvas's edge, on another title or under a (white) picture would be missing from the sum.
    white = Image.new("RGB", (cell_size, cell_size), "white")
    alone = ink(blank_grid(margin=60, cell_size=cell_size, **{where: [title]}))
    assert alone > 1000
    assert ink(blank_grid(cell=white, margin=0, cell_size=cell_size, **{where: [title]})) == alone
    count = {"row_titles": {"rows": 3}, "column_titles": {"columns": 3}}[where]
    tight = blank_grid(cell=white, margin=0, cell_size=cell_size, **count, **{where: [title] * 3})
    assert ink(tight) == 3 * alone


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text("aW gj_.βε\n", max_size=25), min_size=2, max_size=2))
def test_any_two_titles_keep_all_their_ink(titles):
    loose = blank_grid(columns=2, rows=2, margin=40, column_titles=titles, row_titles=titles)
    tight = blank_grid(columns=2, rows=2, margin=0, column_titles=titles, row_titles=titles)
    assert ink(loose) == ink(tight)


def test_long_titles_wrap_within_their_cell():
    title = "epsilon rule with a flat first layer"
    pixels = blank_grid(columns=3, column_titles=[title] * 3, cell_size=100, margin=6)
    assert pixels.shape[1] == 6 + 3 * 106
    for gap in range(4):
        assert (pixels[:, gap * 106 : gap * 106 + 6] == 255).all()
    one_line = blank_grid(column_titles=["epsilon"], cell_size=100, margin=6)
    assert pixels.shape[0] >= one_line.shape[0] + 2 * 16


def test_a_long_word_is_set_smaller_before_it_is_broken():
    short, long = "preset", "preset_a_flat"
    normal = blank_grid(column_titles=[short])
    assert blank_grid(column_titles=[long]).shape[0] < normal.shape[0]
    # "preset" beside the long word shrinks with it: titles of one kind have one size.
    both = blank_grid(columns=2, column_titles=[short, long])
    assert 0 < ink(both[:, : both.shape[1] // 2]) < ink(normal)


def test_row_titles_stand_beside_their_row_and_column_titles_above_their_column():
    pixels = blank_grid(columns=2, rows=2, row_titles=[None, "row"], column_titles=["", "column"])
    dark = pixels.min(-1) < 128
    height, width = dark.shape
    assert not dark[: height // 4, : width // 2].any()
    ys, xs = np.nonzero(dark)
    above, beside = ys < 30, xs < 45
    assert (above ^ beside).all()
    assert above.any()
    assert beside.any()
    assert xs[above].min() > width / 2
    last_row_centre = height - 8 - 40
    assert abs((ys[beside].min() + ys[beside].max()) / 2 - last_row_centre) < 6
    last_column_centre = width - 8 - 40
    assert abs((xs[above].min() + xs[above].max()) / 2 - last_column_centre) < 3


def test_letters_outside_ascii_are_drawn_and_not_boxed():
    drawn = [blank_grid(column_titles=[letter]).tobytes() for letter in "εαβγé²"]
    assert len(set(drawn)) == len(drawn)


def test_column_titles_of_few_lines_stand_next_to_their_column():
    one, two = blank_grid(column_titles=["A"]), blank_grid(columns=2, column_titles=["A", "A\nA"])
    np.testing.assert_array_equal(two[-one.shape[0] + 8 :, : one.shape[1]], one[8:])


def test_a_second_line_is_as_high_as_the_first():
    heights = [blank_grid(column_titles=[title]).shape[0] for title in ("a", "a\nb", "a\nb\nc")]
    assert heights[2] - heights[1] == heights[1] - heights[0] >= 16
    pixels, height = blank_grid(column_titles=["A\nA"]), heights[1] - heights[0]
    assert ink(pixels) == 2 * ink(blank_grid(column_titles=["A"]))
    np.testing.assert_array_equal(pixels[8 : 8 + height], pixels[8 + height : 8 + 2 * height])


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        ([], {}, "lengths"),
        ([[]], {}, "lengths"),
        ([[None, None], [None]], {"cell_size": 9}, r"\[2, 1\].*None"),
        ([[None]], {}, "cell_size"),
        ([[None]], {"cell_size": 0}, "cell_size"),
        ([[None]], {"cell_size": (1, 2, 3)}, "height, width"),
        ([[None]], {"cell_size": 9, "margin": -1}, "margin"),
        ([[None]], {"cell_size": 9, "row_titles": ["a", "b"]}, "1 row titles.*got 2"),
        ([[None]], {"cell_size": 9, "column_titles": "a"}, "list of 1 column titles.*'a'"),
        ([np.zeros((4, 4, 3), np.uint8)], {}, "in place of a row"),
        ([Image.new("RGB", (4, 4))], {}, "in place of a row"),
        ([[np.zeros((4, 4, 3))]], {}, "uint8.*float64.*to_rgb"),
        ([[np.zeros((2, 4, 4, 3), np.uint8)]], {}, r"\(2, 4, 4, 3\)"),
        ([[np.zeros((0, 4, 3), np.uint8)]], {}, r"\(0, 4, 3\)"),
    ],
)
def test_bad_grid_arguments(rows, options, words):
    with pytest.raises(ValueError, match=words):
        heatmap.grid(rows, **options)


# Files


@pytest.mark.parametrize("as_text", [True, False])
def test_png_files_hold_exactly_the_picture(tmp_path, as_text):
    rgb = heatmap.to_rgb(relevance(20, 30), "jet")
    path = tmp_path / "new" / "folder" / "map.PNG"
    assert heatmap.save(rgb, str(path) if as_text else path) == path
    with Image.open(path) as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), rgb)


def test_grids_and_grey_pictures_are_saved(tmp_path):
    image = heatmap.grid([[picture_of(9, 9)]])
    with Image.open(heatmap.save(image, tmp_path / "grid.png")) as loaded:
        np.testing.assert_array_equal(np.asarray(loaded), np.asarray(image))
    with Image.open(heatmap.save(picture_of(9, 9, 1), tmp_path / "grey.png")) as loaded:
        np.testing.assert_array_equal(np.asarray(loaded), picture_of(9, 9))
    assert heatmap.save(image, tmp_path / "grid.jpg").stat().st_size > 0


@pytest.mark.parametrize("name", ["map", "map.xyz", "map.npy"])
def test_unknown_suffixes_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"\.png"):
        heatmap.save(picture_of(9, 9), tmp_path / "folder" / name)
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize("image", [np.zeros((2, 9, 9, 3), np.uint8), np.zeros((9, 9, 3)), np.zeros(9, np.uint8)])
def test_only_single_uint8_pictures_are_saved(tmp_path, image):
    with pytest.raises(ValueError, match="save takes uint8 pictures"):
        heatmap.save(image, tmp_path / "map.png")


# The module


def test_the_module_needs_neither_tensorflow_nor_pyplot():
    script = """
import sys
from tf_lrp import heatmap
assert "matplotlib" not in sys.modules
heatmap.grid([[heatmap.overlay([[1, 0]], [[0, 255]])]], ["ε"])
assert "matplotlib" in sys.modules
print(sorted({"tensorflow", "keras", "matplotlib.pyplot"} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]", result.stderr
