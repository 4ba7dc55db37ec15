"""Digits and heatmaps as images."""

import numpy as np
import pytest
from PIL import Image

from tf_lrp.toolbox import render

DIGIT = np.zeros((8, 8))
DIGIT[2:6, 2:6] = 1


def test_vectors_are_images():
    assert render.vec2im(np.arange(9)).shape == (3, 3)
    assert render.vec2im(np.zeros((1, 4, 4, 1))).shape == (4, 4)
    assert render.vec2im(np.arange(6), (2, 3)).tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ValueError, match=r"48 numbers \(shape \(4, 4, 3\)\) are no square image"):
        render.vec2im(np.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match=r"do not fill an image of the shape \(2, 2\)"):
        render.vec2im(np.zeros(6), (2, 2))


def test_images_are_enlarged_by_blocks():
    np.testing.assert_array_equal(render.enlarge_image([[1, 2]], 2), [[1, 1, 2, 2], [1, 1, 2, 2]])
    assert render.enlarge_image(np.zeros((2, 3, 3)), 4).shape == (8, 12, 3)
    for wrong in (0, 1.5):
        with pytest.raises(ValueError, match="scaling needs an integer"):
            render.enlarge_image(DIGIT, wrong)
    with pytest.raises(ValueError, match="An image has the shape"):
        render.enlarge_image(np.zeros(3))


def test_corners_get_the_mean_of_their_neighbours():
    image = render.enlarge_image(np.arange(48.0).reshape(4, 4, 3), 2)
    found = render.repaint_corner_pixels(image, 2)
    blocks = np.arange(48.0).reshape(4, 4, 3)
    assert found is not image
    np.testing.assert_array_equal(found[:2, :2], np.broadcast_to((blocks[0, 1] + blocks[1, 0] + blocks[1, 1]) / 3, (2, 2, 3)))
    np.testing.assert_array_equal(found[-2:, -2:], np.broadcast_to((blocks[3, 2] + blocks[2, 3] + blocks[2, 2]) / 3, (2, 2, 3)))
    np.testing.assert_array_equal(found[2:-2], image[2:-2])
    with pytest.raises(ValueError, match="at least 2 x 2 blocks"):
        render.repaint_corner_pixels(image, 5)


def test_digits_are_dark_on_white():
    rgb = render.digit_to_rgb(DIGIT, scaling=2)
    assert rgb.shape == (16, 16, 3)
    assert rgb[0, 0].tolist() == [1, 1, 1]
    assert rgb[8, 8].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(render.digit_to_rgb(2 * DIGIT - 1, 2), rgb)  # below 0 it is white
    np.testing.assert_array_equal(render.digit_to_rgb((255 * DIGIT).astype("uint8"), 2), rgb)
    assert render.digit_to_rgb(DIGIT.ravel(), 1, (4, 16), "hot").shape == (4, 16, 3)


#: (-max, 0, max) in 8 bits.
COLOURS = {
    "gray-red": ((0, 0, 255), (204, 204, 204), (255, 0, 0)),
    "gray-red2": ((0, 0, 102), (230, 230, 230), (102, 0, 0)),
    "black-green": ((0, 0, 255), (0, 0, 0), (0, 255, 0)),
    "black-firered": ((255, 255, 255), (0, 0, 0), (255, 255, 255)),
    "blue-black-yellow": ((0, 0, 255), (0, 0, 0), (255, 255, 0)),
    "bwr": ((0, 0, 255), (255, 255, 255), (255, 0, 0)),
}


def test_every_map_of_colours_is_known():
    assert {*render.COLORMAPS, "bwr"} == set(COLOURS)


@pytest.mark.parametrize("cmap", COLOURS)
def test_colours(cmap):
    relevance = np.array([[-2.0, 0], [0, 2]])
    rgb = render.hm_to_rgb(relevance, scaling=1, cmap=cmap)
    found = [rgb[0, 0], rgb[0, 1], rgb[1, 1]]
    np.testing.assert_allclose(np.array(found) * 255, COLOURS[cmap], atol=2)


def test_firered_has_red_and_yellow_between():
    rgb = render.hm_to_rgb([[0.25, 0.5], [-0.25, -1.0]], scaling=1, cmap="black-firered")
    np.testing.assert_allclose(rgb, [[[1, 0, 0], [1, 1, 0]], [[0, 0, 1], [1, 1, 1]]], atol=0.02)


def test_heatmaps_are_normalized_or_not():
    relevance = np.array([[0.25, -0.5], [0, 0]])
    np.testing.assert_array_equal(render.hm_to_rgb(relevance), render.hm_to_rgb(10 * relevance))
    np.testing.assert_array_equal(
        render.hm_to_rgb(2 * relevance, normalize=False, cmap="bwr"), render.hm_to_rgb(relevance, cmap="bwr")
    )
    np.testing.assert_array_equal(
        render.hm_to_rgb(relevance, normalize=False), render.hm_to_rgb(np.clip(relevance, -1, 1), normalize=False)
    )
    zeros = render.hm_to_rgb(np.zeros((2, 2)), scaling=1, cmap="bwr")
    np.testing.assert_allclose(zeros, 1, atol=0.01)


def test_outlines_are_black():
    plain = render.hm_to_rgb(np.ones((8, 8)), scaling=4, cmap="bwr")
    outlined = render.hm_to_rgb(np.ones((8, 8)), DIGIT, scaling=4, sigma=1, cmap="bwr")
    drawn = (outlined != plain).any(axis=-1)
    assert 20 < drawn.sum() < 100
    assert not outlined[drawn].any()
    assert not drawn[14:18, 14:18].any()  # inside the square there is no edge
    with pytest.raises(ValueError, match="the same number of pixels"):
        render.hm_to_rgb(np.ones((4, 4)), DIGIT)
    with pytest.raises(ValueError, match="NaN or infinite"):
        render.hm_to_rgb([[np.nan]])
    with pytest.raises(ValueError, match=r"no colour map 'black-gren'\. Did you mean 'black-green'"):
        render.hm_to_rgb([[1.0]], cmap="black-gren")


def test_images_are_saved_side_by_side(tmp_path):
    left, right = np.ones((4, 3, 3)), np.full((4, 2, 3), 0.5)
    pixels = render.save_image([left, right], tmp_path / "made" / "image.png", gap=2)
    assert (pixels.shape, pixels.dtype) == ((4, 7, 3), np.uint8)
    assert [pixels[0, column, 0] for column in (0, 3, 4, 5)] == [255, 0, 0, 128]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "made" / "image.png")), pixels)
    assert left.min() == 1  # the caller's images stay as they are
    assert render.save_image([left], str(tmp_path / "image.bmp"), gap=0).shape == (4, 3, 3)
    for images in ([], [left, np.ones((5, 3, 3))], [np.ones((4, 3))]):
        with pytest.raises(ValueError, match=r"images \(H, W, 3\) of one height"):
            render.save_image(images, tmp_path / "image.png")
    with pytest.raises(ValueError, match="Pillow writes no"):
        render.save_image([left], tmp_path / "image.xyz")
