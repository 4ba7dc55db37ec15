"""Annotated data sets: what is read, what is reported, and where boxes and masks land in a network's size."""

from __future__ import annotations

import json
import sys
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from pycocotools import mask as decoder
from scipy import ndimage

from tf_lrp.evaluation.datasets import (
    COCO,
    VOC,
    AnnotationError,
    Dataset,
    ImageNet,
    Mosaic,
    Picture,
    Region,
    Shapes,
    lookup,
    open_dataset,
    prepared,
    voc,
)
from tf_lrp.evaluation.datasets.base import clip_box, read_stored, stored_size
from tf_lrp.vision import images

WNIDS = {"n01440764": 0, "n02084071": 207}


def noise(width, height, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def draw(path, width, height, seed=0, **options):
    """A picture file; PNG in content where a test compares pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(width, height, seed)).save(path, **options)
    return path


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def xml(path, size, *objects, extra=""):
    """An XML file of VOC's format; an object is (name, xmin, ymin, xmax, ymax) or the text of its element."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = []
    for one in objects:
        if not isinstance(one, str):
            edges = "".join(f"<{e}>{v}</{e}>" for e, v in zip(("xmin", "ymin", "xmax", "ymax"), one[1:], strict=True))
            one = f"<object><name>{one[0]}</name><bndbox>{edges}</bndbox></object>"
        written.append(one)
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    path.write_text(f"<annotation>{extra}{stated}{''.join(written)}</annotation>")


def kinds(dataset):
    return Counter(problem.what for problem in dataset.problems)


class Given(Dataset):
    """Pictures handed over as they are."""

    def __init__(self, fitting, *pictures):
        super().__init__()
        self.fitting, self.pictures = fitting, pictures

    def __len__(self):
        return len(self.pictures)

    def __iter__(self):
        return iter(self.pictures)


def shown(fitting, image, regions, size):
    picture = Picture("one", lambda: image, tuple(regions))
    dataset = Given(fitting, picture)
    return prepared(dataset, picture, size), dataset


def masks_of(fitting, full, boxes, size):
    """Mask of one class with these boxes in a picture of (width, height); all False where nothing is inside."""
    result, _ = shown(fitting, np.zeros((full[1], full[0], 3), np.uint8), [Region(0, tuple(boxes))], size)
    return np.zeros(size, bool) if result is None else result.masks[0]


# ---- pictures and boxes in a network's size -------------------------------------------------------------------------


def test_crop_by_hand():
    """400 x 200 to 100 x 100: columns 100 to 300 are seen, at half size."""
    mask = masks_of("crop", (400, 200), [(100, 0, 200, 100)], (100, 100))
    assert mask.sum() == 2500 and mask[:50, :50].all()
    mask = masks_of("crop", (400, 200), [(0, 20, 120, 60), (280, 20, 400, 60)], (100, 100))
    assert mask.sum() == 2 * 10 * 20 and mask[10:30, :10].all() and mask[10:30, 90:].all()


def test_crop_to_a_size_that_is_not_square_covers_it():
    """400 x 200 to 100 x 30 (width, height): the whole width at a quarter, rows 40 to 160."""
    mask = masks_of("crop", (400, 200), [(0, 0, 40, 80)], (30, 100))
    assert mask.sum() == 100 and mask[:10, :10].all()


def test_rescale_by_hand():
    """400 x 200 to 100 x 100: columns at a quarter, rows at a half."""
    mask = masks_of("rescale", (400, 200), [(40, 20, 80, 60)], (100, 100))
    assert mask.sum() == 10 * 20 and mask[10:30, 10:20].all()


def test_a_pixel_counts_by_its_centre():
    """40 wide to 10: centres at 2, 6, 10 ...; left edges are inside, right ones are not."""
    columns = masks_of("rescale", (40, 10), [(6, 0, 14, 10)], (10, 10))[0]
    assert columns.nonzero()[0].tolist() == [1, 2]
    columns = masks_of("rescale", (40, 10), [(6.1, 0, 14.1, 10)], (10, 10))[0]
    assert columns.nonzero()[0].tolist() == [2, 3]
    rows = masks_of("rescale", (10, 40), [(0, 6, 10, 14)], (10, 10))[:, 0]
    assert rows.nonzero()[0].tolist() == [1, 2]


def test_a_box_between_centres_marks_the_pixel_that_holds_it():
    mask = masks_of("rescale", (100, 100), [(42.0, 71.0, 44.5, 74.0)], (10, 10))
    assert np.argwhere(mask).tolist() == [[7, 4]]


def test_a_mask_between_centres_marks_the_pixels_that_hold_it():
    mask = np.zeros((100, 100), bool)
    mask[99, 0] = mask[10, 47] = True
    result, _ = shown("rescale", noise(100, 100), [Region(3, mask=mask)], (10, 10))
    assert np.argwhere(result.masks[0]).tolist() == [[1, 4], [9, 0]]


def test_a_mask_is_resampled_to_the_nearest_pixel():
    mask = np.random.default_rng(0).random((30, 60)) < 0.5
    result, _ = shown("crop", noise(60, 30), [Region(3, mask=mask)], (10, 10))
    assert np.array_equal(result.masks[0], mask[1::3, 16:45:3])  # centres at 1.5, 4.5 ... of the columns 15 to 45
    result, _ = shown("rescale", noise(60, 30), [Region(3, mask=mask)], (60, 120))
    assert np.array_equal(result.masks[0], mask.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("full", [(97, 61), (61, 97), (500, 375), (40, 40), (300, 7)])
def test_cropped_pictures_are_those_of_the_command_line(full):
    image = noise(*full)
    for size in ((64, 64), (48, 80)):
        result, _ = shown("crop", image, [Region(0, ((0, 0, *full),))], size)
        assert np.array_equal(result.image, images.fit(Image.fromarray(image), size))
        assert result.masks.all() and result.image.dtype == np.uint8 and result.masks.dtype == bool


def test_rescaled_pictures_are_resized_as_a_whole():
    image = noise(97, 61)
    result, _ = shown("rescale", image, [Region(0, ((0, 0, 97, 61),))], (64, 48))
    assert np.array_equal(result.image, np.asarray(Image.fromarray(image).resize((48, 64), Image.Resampling.BILINEAR)))


def test_pictures_as_they_are_stay_and_other_sizes_are_a_problem():
    image, regions = noise(20, 10), [Region(4, ((3, 2, 7, 5),)), Region(6, ((0, 0, 1, 1), (19, 9, 20, 10)))]
    result, dataset = shown("as it is", image, regions, (10, 20))
    assert np.array_equal(result.image, image) and result.labels.tolist() == [4, 6] and not dataset.problems
    assert result.masks[0].sum() == 12 and result.masks[0, 2:5, 3:7].all()
    assert np.argwhere(result.masks[1]).tolist() == [[0, 0], [9, 19]]
    result, dataset = shown("as it is", image, regions, (20, 10))
    assert result is None and kinds(dataset) == {"wrong size": 1}


def test_what_the_crop_cuts_off_is_reported_and_the_other_classes_stay():
    image = noise(300, 100)
    left, both = Region(1, ((0, 0, 100, 100),)), Region(2, ((0, 0, 50, 50), (100, 0, 120, 100)))
    mask = np.zeros((100, 300), bool)
    mask[:, 200:] = True
    result, dataset = shown("crop", image, [left, both, Region(3, mask=mask)], (50, 50))
    assert result.labels.tolist() == [2] and result.masks[0].sum() == 10 * 50
    assert kinds(dataset) == {"nothing inside the crop": 2}
    result, dataset = shown("crop", image, [left], (50, 50))
    assert result is None and kinds(dataset) == {"nothing inside the crop": 1}


def test_an_unknown_fitting_is_refused():
    with pytest.raises(ValueError, match=r"crop.*'squeeze'"):
        shown("squeeze", noise(4, 4), [], (4, 4))


def slow_mask(fitting, full, boxes, size):
    """Pixel by pixel in exact fractions, from the words of the definition."""
    (width, height), (rows, columns) = full, size
    scale_x, scale_y = Fraction(columns, width), Fraction(rows, height)
    if fitting == "crop":
        scale_x = scale_y = max(scale_x, scale_y)
    seen_left, seen_top = (width - columns / scale_x) / 2, (height - rows / scale_y) / 2
    mask = np.zeros(size, bool)
    for box in boxes:
        left, right = (max(seen_left, min(Fraction(v), seen_left + columns / scale_x)) for v in box[::2])
        top, bottom = (max(seen_top, min(Fraction(v), seen_top + rows / scale_y)) for v in box[1::2])
        if left >= right or top >= bottom:
            continue
        down = [i for i in range(rows) if top <= seen_top + (i + Fraction(1, 2)) / scale_y < bottom]
        across = [j for j in range(columns) if left <= seen_left + (j + Fraction(1, 2)) / scale_x < right]
        for i in down or [int(((top + bottom) / 2 - seen_top) * scale_y)]:
            for j in across or [int(((left + right) / 2 - seen_left) * scale_x)]:
                mask[i, j] = True
    return mask


@st.composite
def scenes(draw):
    """(width, height) of a picture, boxes in it, (height, width) of a network."""
    width, height = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    # So that rounding never decides: such edges fall on no centre, as no denominator of a centre holds 31 or 25; and the
    # middle of a box that crosses the whole crop lies in a pixel, not between two, as the network's sizes are odd.
    edges = [st.integers(0, n * 31 - 1).map(lambda k: (k + 0.37) / 31) for n in (width, height)]
    box = st.tuples(*edges, *edges).filter(lambda b: b[0] < b[2] and b[1] < b[3])
    return (
        (width, height),
        draw(st.lists(box, min_size=1, max_size=3)),
        draw(st.tuples(*[st.integers(0, 11).map(lambda k: 2 * k + 1)] * 2)),
    )


@settings(deadline=None, max_examples=60)
@given(scenes(), st.sampled_from(["crop", "rescale"]))
@example(((60, 1), [(29.7, 0.2, 30.1, 0.3)], (23, 23)), "crop")
def test_masks_of_boxes_against_slow_fractions(scene, fitting):
    full, boxes, size = scene
    assert np.array_equal(masks_of(fitting, full, boxes, size), slow_mask(fitting, full, boxes, size))


@settings(deadline=None, max_examples=60)
@given(scenes(), st.sampled_from(["crop", "rescale"]))
def test_flipped_boxes_give_flipped_masks(scene, fitting):
    full, boxes, size = scene
    flipped = [(full[0] - right, top, full[0] - left, bottom) for left, top, right, bottom in boxes]
    assert np.array_equal(masks_of(fitting, full, flipped, size), masks_of(fitting, full, boxes, size)[:, ::-1])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 9), st.sampled_from([(1, 1), (2, 1), (1, 3), (1, 5)]), st.sampled_from(["crop", "rescale"]))
def test_flipped_pictures_and_masks_give_flipped_results(seed, scale, fitting):
    rng = np.random.default_rng(seed)
    times, parts = scale  # odd parts of odd lengths: no centre falls between two pixels
    height, width = (2 * rng.integers(3, 9, 2) + 1) * parts
    size = (height * times // parts, width * times // parts)
    if fitting == "crop":
        size = (min(size), min(size))
    image, mask = noise(width, height, seed), rng.random((height, width)) < 0.4
    straight, _ = shown(fitting, image, [Region(0, mask=mask)], size)
    flipped, _ = shown(fitting, image[:, ::-1].copy(), [Region(0, mask=mask[:, ::-1])], size)
    assert np.array_equal(flipped.masks, straight.masks[..., ::-1])
    assert np.abs(flipped.image.astype(int) - straight.image[:, ::-1]).max() <= 1


@pytest.mark.parametrize("full", [(150, 90), (90, 150), (333, 250)])
@pytest.mark.parametrize("size", [(64, 64), (50, 70)])
def test_masks_lie_where_a_painted_picture_lands(full, size):
    """Boxes painted white go through Pillow as a picture does; masks agree up to the pixels at their borders."""
    rng = np.random.default_rng(0)
    for fitting in ("crop", "rescale"):
        boxes = [tuple(sorted(rng.choice(n, 2, False)) for n in full) for _ in range(3)]
        boxes = [(x[0], y[0], x[1], y[1]) for x, y in boxes]
        painted = np.zeros((full[1], full[0]), np.uint8)
        for left, top, right, bottom in boxes:
            painted[top:bottom, left:right] = 255
        image = Image.fromarray(painted)
        method = Image.Resampling.BILINEAR
        landed = ImageOps.fit(image, size[::-1], method) if fitting == "crop" else image.resize(size[::-1], method)
        landed = np.asarray(landed) >= 128
        mask = masks_of(fitting, full, boxes, size)
        border = ndimage.binary_dilation(mask, np.ones((3, 3))) & ~ndimage.binary_erosion(mask, np.ones((3, 3)), border_value=1)
        assert landed.any() and not ((mask != landed) & ~border).any()
        assert (mask != landed).sum() < 0.3 * border.sum()


# ---- annotations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, 0, 20, 10), (0, 0, 20, 10)),
        ((-1, -0.5, 21, 10.25), (0, 0, 20, 10)),
        ((3.5, 2, 4, 2.5), (3.5, 2, 4, 2.5)),
        ((-1.5, 0, 5, 5), "box outside the picture"),
        ((0, 0, 20, 12), "box outside the picture"),
        ((20, 0, 20.5, 5), "box outside the picture"),
        ((-1, 0, 0, 5), "box outside the picture"),
        ((30, 30, 40, 40), "box outside the picture"),
        ((5, 5, 5, 8), "empty box"),
        ((7, 5, 3, 8), "empty box"),
        ((0, 0, float("nan"), 5), "unreadable annotation"),
        ((0, 0, float("inf"), 5), "unreadable annotation"),
    ],
)
def test_boxes_are_clipped_by_a_pixel_at_most(box, expected):
    if isinstance(expected, tuple):
        assert clip_box(box, (20, 10)) == expected
    else:
        with pytest.raises(AnnotationError) as caught:
            clip_box(box, (20, 10))
        assert caught.value.what == expected


def test_names_are_looked_up_in_lower_case_with_spaces():
    index = {"potted plant": 58, "n02084071": 207, "dog": np.int64(3)}
    assert [lookup(index, name) for name in ("Potted_Plant", " potted plant", "N02084071", "dog")] == [58, 58, 207, 3]
    assert lookup(index, "cat") is None


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_read_as_stored_since_boxes_are(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = draw(tmp_path / f"turned.{suffix}", 24, 16, exif=exif)
    plain = draw(tmp_path / f"plain.{suffix}", 24, 16)
    assert stored_size(turned) == (24, 16)
    assert np.array_equal(read_stored(turned), read_stored(plain))
    upright = np.asarray(images.read(turned))
    assert (orientation == 1) == (upright.shape == (16, 24, 3) and np.array_equal(upright, read_stored(plain)))


def broken_xml(folder, pictures, suffix, cls, first):
    """Thirteen annotations of a data set of XML, each with a kind of fault; -> the kinds and how often they must come."""

    def add(name, size, *objects, picture=(60, 40), **options):
        xml(folder / f"{name}.xml", size, *objects, **options)
        if picture:
            draw(pictures / f"{name}.{suffix}", *picture)

    sound = (cls, first, first, 30, 20)
    add("a_no_size", None, sound)
    add("b_zero_size", (0, 0), sound)
    add("c_missing_picture", (60, 40), sound, picture=None)
    add("d_damaged", (60, 40), sound)
    truncate(pictures / f"d_damaged.{suffix}")
    add("e_no_picture_at_all", (60, 40), sound)
    (pictures / f"e_no_picture_at_all.{suffix}").write_text("nothing like it")
    add("f_no_xml", None)
    (folder / "f_no_xml.xml").write_text("<annotation><object>")
    add("g_size_differs", (40, 60), sound)
    add("h_no_box", (60, 40), f"<object><name>{cls}</name></object>")
    add("i_no_numbers", (60, 40), (cls, "left", 1, 30, 20), (cls, "", 1, 30, 20))
    add("j_unknown_class", (60, 40), ("unicorn", 5, 5, 9, 9), sound)
    add("k_outside", (60, 40), sound, (cls, 70, 5, 90, 9))
    add("l_empty", (60, 40), sound, (cls, 9, 5, 5, 9))
    add("m_nothing", (60, 40))
    add("n_nameless", (60, 40), sound, "<object><bndbox/></object>")
    add("o_other_xml", (60, 40))
    (folder / "o_other_xml.xml").write_text("<plist/>")
    add("p_size_no_number", ("wide", 40), sound)
    add("q_not_finite", (60, 40), (cls, 1, 1, "nan", 20))
    return {
        "missing picture": 1,
        "unreadable picture": 1,
        "size differs": 1,
        "unreadable annotation": 8,  # f, h, twice i, n, o, p, q
        "unknown class": 1,
        "box outside the picture": 1,
        "empty box": 1,
        "nothing annotated": 1,
    }


def check_broken(dataset, expected):
    """Faults are reported once however often the data set is gone through, and sound pictures all come."""
    yielded = [picture.name for picture in dataset]
    assert yielded == ["a_no_size", "b_zero_size", "d_damaged", "j_unknown_class"] and len(dataset) == 17
    assert kinds(dataset) == expected
    next(iter(dataset))
    assert [picture.name for picture in dataset] == yielded and kinds(dataset) == expected
    usable = [picture.name for picture in dataset if prepared(dataset, picture, (32, 32))]
    assert usable == ["a_no_size", "b_zero_size", "j_unknown_class"]
    assert kinds(dataset) == expected | {"unreadable picture": 2}
    assert {p.name for p in dataset.problems} | set(usable) == set(dataset._annotations)  # none is dropped silently


# ---- ImageNet -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotations", "images", "opened"),
    [
        ("ILSVRC/Annotations/CLS-LOC/val", "ILSVRC/Data/CLS-LOC/val", "."),
        ("ILSVRC/Annotations/CLS-LOC/val", "ILSVRC/Data/CLS-LOC/val", "ILSVRC"),
        ("ILSVRC/Annotations/CLS-LOC/val", "ILSVRC/Data/CLS-LOC/val/n02084071", "ILSVRC/Annotations/CLS-LOC/val"),
        ("val", "val", "."),
        ("val", "ILSVRC2012_img_val", "."),
        ("val", "ILSVRC2012_img_val/n02084071", "val"),
        ("boxes/val", "ILSVRC2012_img_val", "boxes"),
        ("unpacked/boxes", "pictures/here", "."),
        (".", ".", "."),
    ],
)
def test_imagenet_in_its_layouts(tmp_path, annotations, images, opened):
    name = "ILSVRC2012_val_00000001"
    xml(tmp_path / "root" / annotations / f"{name}.xml", (60, 40), ("n02084071", 10, 0, 60, 20), ("n02084071", 0, 0, 5, 5))
    draw(tmp_path / "root" / images / f"{name}.JPEG", 60, 40)
    dataset = ImageNet(tmp_path / "root" / opened, WNIDS)
    (picture,) = dataset
    assert picture.name == name and len(dataset) == 1 and not dataset.problems and dataset.fitting == "crop"
    (region,) = picture.regions
    assert region.label == 207 and region.boxes == ((10, 0, 60, 20), (0, 0, 5, 5)) and region.mask is None
    result = prepared(dataset, picture, (20, 20))  # columns 10 to 50 are seen, at half size
    assert result.labels.tolist() == [207] and result.masks.shape == (1, 20, 20)
    assert result.masks.sum() == 200 and result.masks[0, :10].all()


def test_imagenet_with_several_wnids_in_a_picture(tmp_path):
    xml(tmp_path / "val" / "a.xml", (60, 40), ("n02084071", 10, 0, 60, 20), ("n01440764", 0, 0, 5, 5))
    draw(tmp_path / "val" / "a.JPEG", 60, 40)
    (picture,) = ImageNet(tmp_path, WNIDS)
    assert [region.label for region in picture.regions] == [0, 207]


def test_imagenet_reports_every_fault(tmp_path):
    expected = broken_xml(tmp_path / "val", tmp_path / "ILSVRC2012_img_val", "JPEG", "n02084071", 0)
    check_broken(ImageNet(tmp_path, WNIDS), expected)


def test_imagenet_does_not_choose_between_two_files(tmp_path):
    xml(tmp_path / "val" / "a.xml", (60, 40), ("n02084071", 10, 0, 60, 20))
    draw(tmp_path / "val" / "a.JPEG", 60, 40)
    draw(tmp_path / "small" / "a.png", 60, 40)
    dataset = ImageNet(tmp_path, WNIDS)
    assert list(dataset) == [] and kinds(dataset) == {"several pictures": 1}


def test_imagenet_follows_links_once(tmp_path):
    xml(tmp_path / "root" / "val" / "a.xml", (60, 40), ("n02084071", 10, 0, 60, 20))
    draw(tmp_path / "elsewhere" / "a.JPEG", 60, 40)
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path)
    for link in ("one", "two"):
        (tmp_path / "root" / link).symlink_to(tmp_path / "elsewhere")
    dataset = ImageNet(tmp_path / "root", WNIDS)
    assert len(list(dataset)) == 1 and not dataset.problems


def test_imagenet_that_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing at"):
        ImageNet(tmp_path / "absent", WNIDS)
    with pytest.raises(ValueError, match="no XML files"):
        ImageNet(tmp_path, WNIDS)
    for folder in ("a", "b"):
        xml(tmp_path / folder / "1.xml", None)
    with pytest.raises(ValueError, match="several folders"):
        ImageNet(tmp_path, WNIDS)
    for index in (None, {}, ["n02084071"]):
        with pytest.raises(ValueError, match="index must map"):
            ImageNet(tmp_path / "a", index)


# ---- VOC ------------------------------------------------------------------------------------------------------------


def voc_folder(root):
    (root / "JPEGImages").mkdir(parents=True)
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    box = "<bndbox><xmin>11</xmin><ymin>11</ymin><xmax>20.5</xmax><ymax>20</ymax></bndbox>"
    person = f"<object><name>person</name><difficult>1</difficult>{part}{box}</object>"
    xml(root / "Annotations" / "000002.xml", (50, 40), ("dog", 1, 1, 50, 40), person, ("dog", 5, 5, 5, 5))
    xml(root / "Annotations" / "000001.xml", (50, 40), ("cat", 0, 1, 10, 41))
    for name in ("000001", "000002"):
        draw(root / "JPEGImages" / f"{name}.jpg", 50, 40)
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "test.txt").write_text("000002\n")
    (lists / "dog_val.txt").write_text("000002  1\n000009 -1\n\n")
    return root


@pytest.mark.parametrize("opened", ["VOCdevkit/VOC2007", "VOCdevkit", "."])
def test_voc_counts_pixels_from_one_and_includes_the_last(tmp_path, opened):
    voc_folder(tmp_path / "VOCdevkit" / "VOC2007")
    dataset = VOC(tmp_path / opened)
    cat, pair = dataset
    assert (cat.name, pair.name, len(dataset), dataset.fitting) == ("000001", "000002", 2, "rescale")
    assert cat.regions == (Region(7, ((0, 0, 10, 40),)),)  # the XML reaches a pixel past the edges
    assert pair.regions == (Region(11, ((0, 0, 50, 40), (4, 4, 5, 5))), Region(14, ((10, 10, 20.5, 20),)))
    result = prepared(dataset, pair, (40, 50))
    assert result.labels.tolist() == [11, 14] and result.masks[0].all() and result.masks[1].sum() == 100
    assert np.array_equal(result.image, pair.read()) and not dataset.problems


def test_voc_splits(tmp_path):
    root = voc_folder(tmp_path / "VOC2007")
    assert [picture.name for picture in VOC(root, split="test")] == ["000002"]
    dataset = VOC(root, split="dog_val")
    assert [picture.name for picture in dataset] == ["000002"] and len(dataset) == 2
    assert kinds(dataset) == {"missing annotation": 1}
    with pytest.raises(ValueError, match=r"'val'.*there are: dog_val, test"):
        VOC(root, split="val")


def test_voc_with_an_index_of_its_own(tmp_path):
    dataset = VOC(voc_folder(tmp_path / "VOC2007"), {"dog": 5})
    assert [[region.label for region in picture.regions] for picture in dataset] == [[5]]
    assert Counter((p.name, p.what) for p in dataset.problems) == {
        ("000001", "unknown class"): 1,
        ("000002", "unknown class"): 1,
    }


def test_voc_reports_every_fault(tmp_path):
    expected = broken_xml(tmp_path / "Annotations", tmp_path / "JPEGImages", "jpg", "dog", 1)
    check_broken(VOC(tmp_path), expected)


def test_one_faulty_box_takes_its_class_out_of_that_picture_only(tmp_path):
    root = voc_folder(tmp_path / "VOC2007")
    objects = ("dog", 1, 1, 9, 9), ("dog", 60, 1, 70, 9), ("cat", 1, 1, 9, 9)
    xml(root / "Annotations" / "000001.xml", (50, 40), *objects)
    dataset = VOC(root)
    assert [[region.label for region in picture.regions] for picture in dataset] == [[7], [11, 14]]
    assert [(p.name, p.what) for p in dataset.problems] == [("000001", "box outside the picture")]


def test_voc_that_is_none(tmp_path):
    with pytest.raises(ValueError, match="no VOC folder"):
        VOC(tmp_path)
    for year in (2007, 2012):
        voc_folder(tmp_path / f"VOC{year}")
    with pytest.raises(ValueError, match=r"VOC2007, .*VOC2012"):
        VOC(tmp_path)
    for file in (tmp_path / "VOC2007" / "Annotations").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match="no annotations"):
        VOC(tmp_path / "VOC2007")
    assert sorted(voc.CLASSES) == list(voc.CLASSES) and len(voc.CLASSES) == 20


# ---- COCO -----------------------------------------------------------------------------------------------------------

CATEGORIES = [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}, {"id": 64, "name": "potted plant"}]
INDEX = {"person": 0, "dog": 16, "potted plant": 58}
SQUARE = [2, 3, 7, 3, 7, 5, 2, 5]


def coco(root, annotations, images=None, file="annotations/instances_val2017.json", folder="val2017"):
    """A file of annotations, given as (image id, category id, further keys), with pictures of 20 x 10."""
    if images is None:
        images = [{"id": i, "file_name": f"{i}.png", "width": 20, "height": 10} for i in sorted({a[0] for a in annotations})]
    for image in images:
        if isinstance(image, dict) and folder:
            draw(root / folder / f"{image['id']}.png", 20, 10)
    records = [{"id": n, "image_id": a[0], "category_id": a[1], **a[2]} for n, a in enumerate(annotations)]
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": records, "categories": CATEGORIES}))
    return path


def test_coco_polygons_by_hand(tmp_path):
    two = [SQUARE, [10, 0, 14, 0, 14, 4, 10, 4]]
    coco(tmp_path, [(1, 64, {"segmentation": two}), (1, 64, {"segmentation": [[0, 9, 3, 9, 3, 10, 0, 10]]})])
    dataset = COCO(tmp_path, INDEX)
    (picture,) = dataset
    (region,) = picture.regions
    expected = np.zeros((10, 20), bool)
    expected[3:5, 2:7] = expected[0:4, 10:14] = expected[9, 0:3] = True
    assert region.label == 58 and np.array_equal(region.mask, expected) and not dataset.problems
    assert picture.name == "1.png" and dataset.fitting == "rescale"
    assert np.array_equal(prepared(dataset, picture, (10, 20)).masks[0], expected)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0, 10)), min_size=3, max_size=6, unique=True))
def test_coco_polygons_against_rays(points):
    """A pixel is inside if a ray from its centre crosses the outline an odd number of times; a fifth of a pixel is free."""
    from tf_lrp.evaluation.datasets.coco import _shape

    try:
        mask = _shape({"segmentation": [[v for point in points for v in point]]}, decoder, (20, 10))
    except AnnotationError as error:
        assert error.what == "empty box"
        assert min(np.ptp(points, axis=0)) == 0
        return
    assert mask.any()
    if mask.sum() == 1:  # may be thinner than a pixel
        return
    for row in range(10):
        for column in range(20):
            x, y, inside, distance = column + 0.5, row + 0.5, False, np.inf
            for a, b in zip(points, points[1:] + points[:1], strict=True):
                (x0, y0), (x1, y1) = a, b
                if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
                    inside = not inside
                along = np.subtract(b, a)
                t = np.clip(np.dot(np.subtract((x, y), a), along) / max(np.dot(along, along), 1e-30), 0, 1)
                distance = min(distance, np.hypot(*(np.subtract((x, y), a) - t * along)))
            assert mask[row, column] == inside or distance < 1 / 5


def test_a_polygon_thinner_than_a_pixel_marks_one(tmp_path):
    coco(tmp_path, [(1, 18, {"segmentation": [[5.1, 5.1, 5.2, 5.1, 5.2, 5.2]]})])
    (picture,) = COCO(tmp_path, INDEX)
    assert np.argwhere(picture.regions[0].mask).tolist() == [[5, 5]]


def test_coco_run_lengths_go_down_the_columns(tmp_path):
    coco(tmp_path, [(1, 1, {"iscrowd": 1, "segmentation": {"size": [10, 20], "counts": [12, 3, 5, 2, 178]}})])
    (picture,) = COCO(tmp_path, INDEX)
    expected = np.zeros((10, 20), bool)
    expected[2:5, 1] = expected[0:2, 2] = True
    assert np.array_equal(picture.regions[0].mask, expected)


def test_coco_masks_without_pycocotools_name_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    coco(tmp_path, [(1, 18, {"segmentation": [SQUARE], "bbox": [2, 3, 5, 2]})])
    with pytest.raises(ImportError, match=r'pip install "tf_lrp\[coco\]".*masks=False'):
        COCO(tmp_path, INDEX)
    (picture,) = COCO(tmp_path, INDEX, masks=False)
    assert picture.regions == (Region(16, ((2, 3, 7, 5),)),)


def test_coco_compressed_masks(tmp_path):
    mask = np.random.default_rng(0).random((10, 20)) < 0.5
    encoded = decoder.encode(np.asfortranarray(mask.astype(np.uint8)))
    encoded["counts"] = encoded["counts"].decode()
    damaged = {"size": [10, 20], "counts": encoded["counts"] * 2}  # more pixels than there are
    coco(tmp_path, [(1, 1, {"segmentation": encoded}), (1, 18, {"segmentation": damaged})])
    dataset = COCO(tmp_path, INDEX)
    (picture,) = dataset
    assert [r.label for r in picture.regions] == [0] and np.array_equal(picture.regions[0].mask, mask)
    assert kinds(dataset) == {"unreadable annotation": 1}


def test_coco_boxes(tmp_path):
    coco(tmp_path, [(1, 18, {"bbox": [2.5, 3, 4, 5]}), (1, 18, {"bbox": [15, 0, 5.5, 10]}), (1, 1, {"bbox": [0, 0, 1, 1]})])
    (picture,) = COCO(tmp_path, INDEX, masks=False)
    assert picture.regions == (Region(0, ((0, 0, 1, 1),)), Region(16, ((2.5, 3, 6.5, 8), (15, 0, 20, 10))))


def test_coco_reports_every_fault(tmp_path):
    sound = {"segmentation": [SQUARE]}
    images = [{"id": i, "file_name": f"{i}.png", "width": 20, "height": 10} for i in range(1, 7)]
    images[1].update(width=10, height=20)
    images[3].update(width=None)
    images += ["nonsense", {"id": 7}, dict(images[0]), {"id": 8, "file_name": "8.png"}, {"id": 8, "file_name": "88.png"}]
    annotations = [
        (1, 18, sound),
        (2, 18, sound),  # size differs
        (3, 18, {}),  # unreadable: no segmentation
        (3, 1, {"segmentation": [[1, 2, 3, "4", 5, 6]]}),  # unreadable: no number
        (3, 1, {"segmentation": [[1, 2, 3, 4]]}),  # unreadable: a line
        (3, 64, {"segmentation": {"size": [10, 20], "counts": [3, 4]}}),  # unreadable: too short
        (4, 99, sound),  # unknown class
        (4, 18, {"segmentation": [[12, 3, 27, 3, 27, 5, 12, 5]]}),  # outside
        (4, 1, {"segmentation": [[2, 3, 7, 3, 9, 3]]}),  # empty box
        (4, 64, {"segmentation": {"size": [20, 10], "counts": [200]}}),  # size differs
        (4, 64, {"segmentation": {"size": [10, 20], "counts": [200]}}),  # empty mask
        (5, 18, sound),  # missing picture; 6: nothing annotated
        (8, 18, sound),  # two files: repeated picture
        (9, 18, sound),  # unreadable: no such picture
        (None, 18, sound),  # unreadable: no picture
    ]
    path = coco(tmp_path, annotations, [i for i in images if isinstance(i, dict) and i["id"] < 7])
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"images": images}))
    (tmp_path / "val2017" / "5.png").unlink()
    dataset = COCO(path, INDEX)
    expected = {
        "size differs": 2,
        "unreadable annotation": 8,  # four in picture 3, "nonsense", image 7, two annotations without pictures
        "unknown class": 1,
        "box outside the picture": 1,
        "empty box": 1,
        "empty mask": 1,
        "missing picture": 1,
        "nothing annotated": 1,
        "repeated picture": 3,  # 1.png again, 8.png and 88.png
    }
    for _ in range(2):
        assert [picture.name for picture in dataset] == ["1.png"] and len(dataset) == 11
        assert kinds(dataset) == expected
    (picture,) = dataset
    truncate(tmp_path / "val2017" / "1.png")
    for _ in range(2):
        assert prepared(dataset, picture, (8, 8)) is None and kinds(dataset) == expected | {"unreadable picture": 1}


def test_coco_boxes_that_are_none(tmp_path):
    given = ({}, {"bbox": [1, 2, 3]}, {"bbox": [1, 2, float("nan"), 3]}, {"bbox": [5, 5, 0, 2]}, {"bbox": "1 2 3 4"})
    coco(tmp_path, [(n, 18, keys) for n, keys in enumerate(given)])
    dataset = COCO(tmp_path, INDEX, masks=False)
    assert list(dataset) == [] and kinds(dataset) == {"unreadable annotation": 4, "empty box": 1}


def test_coco_chooses_no_file_of_several(tmp_path):
    one = [(1, 18, {"segmentation": [SQUARE]})]
    coco(tmp_path, one, file="annotations/instances_train2017.json", folder="train2017")
    assert len(list(COCO(tmp_path, INDEX))) == 1
    coco(tmp_path, one * 2, file="annotations/instances_val2017.json")
    assert len(COCO(tmp_path, INDEX)) == 1
    coco(tmp_path, one, file="annotations/instances_val2014.json")
    with pytest.raises(ValueError, match=r"val2014\.json, .*val2017\.json"):
        COCO(tmp_path, INDEX)


@pytest.mark.parametrize("folder", ["val2017", "images/val2017", "images", "annotations", ".", "pictures"])
def test_coco_finds_pictures_beside(tmp_path, folder):
    coco(tmp_path, [(1, 18, {"segmentation": [SQUARE]})], folder=folder)
    assert len(list(COCO(tmp_path, INDEX))) == 1


def test_coco_that_is_none(tmp_path):
    with pytest.raises(ValueError, match="no annotations/instances"):
        COCO(tmp_path, INDEX)
    with pytest.raises(FileNotFoundError):
        COCO(tmp_path / "absent.json", INDEX)
    file = tmp_path / "x.json"
    for text, message in (("{", "no JSON"), ("[1]", "'images'"), ('{"images": [], "annotations": {}}', "'annotations'")):
        file.write_text(text)
        with pytest.raises(ValueError, match=message):
            COCO(file, INDEX)
    with pytest.raises(ValueError, match="index must map"):
        COCO(file, None)


# ---- mosaics and shapes ---------------------------------------------------------------------------------------------


def mosaics(tmp_path, entries, **keys):
    path = tmp_path / "mosaics.json"
    path.write_text(json.dumps({"mosaics": entries, **keys}))
    return path


def test_mosaic_by_hand(tmp_path):
    for number, (width, height) in enumerate([(8, 8), (11, 8), (8, 13), (20, 9)]):
        draw(tmp_path / "images" / f"{number}.png", width, height, seed=number)
    path = mosaics(tmp_path, [{"id": 5, "files": [f"{n}.png" for n in range(4)], "classes": [3, 1, 7, 3]}], cell=8)
    dataset = Mosaic(path)
    (picture,) = dataset
    result = prepared(dataset, picture, (16, 16))
    assert dataset.grid == (2, 2) and dataset.cell == 8 and dataset.fitting == "as it is" and not dataset.problems
    assert result.labels.tolist() == [1, 3, 7]
    quadrants = {(0, 0): 1, (0, 8): 0, (8, 0): 2, (8, 8): 1}  # first row and column -> place in labels
    crops = [noise(8, 8, 0), noise(11, 8, 1)[:, 1:9], noise(8, 13, 2)[2:10], noise(20, 9, 3)[:8, 6:14]]
    for ((row, column), place), crop in zip(quadrants.items(), crops, strict=True):
        cell = np.s_[row : row + 8, column : column + 8]
        assert np.array_equal(result.image[cell], crop)
        assert [m[cell].all() for m in result.masks] == [n == place for n in range(3)]
    assert result.masks.sum() == 256


def test_mosaic_reports_every_fault(tmp_path):
    for name in ("a.png", "damaged.png", "not.png"):
        draw(tmp_path / "images" / name, 300, 300)
    draw(tmp_path / "images" / "small.png", 300, 223)
    truncate(tmp_path / "images" / "damaged.png")
    (tmp_path / "images" / "not.png").write_text("no picture")
    four, classes = ["a.png"] * 4, [1, 2, 3, 4]
    entries = [
        {"id": 0, "files": four, "classes": classes},
        {"id": 0, "files": four, "classes": classes},
        {"id": 1, "files": four[:3], "classes": classes},
        {"id": 2, "files": four, "classes": [1, 2, "cat", 4]},
        {"files": four, "classes": classes},
        "nonsense",
        {"id": 3, "files": ["absent.png", *four[:2], "small.png"], "classes": classes},
        {"id": 4, "files": [*four[:3], "not.png"], "classes": classes},
        {"id": 5, "files": [*four[:3], "damaged.png"], "classes": classes},
    ]
    dataset = Mosaic(mosaics(tmp_path, entries))
    expected = {"repeated picture": 1, "unreadable annotation": 4, "missing picture": 1, "picture too small": 1}
    for _ in range(2):
        assert [picture.name for picture in dataset] == ["mosaic 0", "mosaic 5"] and len(dataset) == 9
        assert kinds(dataset) == expected | {"unreadable picture": 1}
    usable = [picture.name for picture in dataset if prepared(dataset, picture, (448, 448))]
    assert usable == ["mosaic 0"] and kinds(dataset) == expected | {"unreadable picture": 2}


def test_mosaic_that_is_none(tmp_path):
    for text in ("{", "[]", '{"pictures": []}', '{"mosaics": [], "cell": 0}', '{"mosaics": [], "cell": "224"}'):
        (tmp_path / "m.json").write_text(text)
        with pytest.raises(ValueError, match=r"m\.json"):
            Mosaic(tmp_path / "m.json")
    with pytest.raises(ValueError, match="folder"):
        Mosaic(tmp_path)
    with pytest.raises(FileNotFoundError):
        Mosaic(tmp_path / "absent.json")


def test_mosaics_for_grid_pointing(shared_data):
    dataset = open_dataset(f"mosaic:{shared_data / 'imagenet' / 'grid_pointing_200.json'}")
    listed = list(dataset)
    assert len(listed) == len(dataset) == 200 and not dataset.problems
    result = prepared(dataset, listed[0], (448, 448))
    assert result.labels.tolist() == [12, 604, 846, 937] and result.image.shape == (448, 448, 3)
    assert np.argwhere(result.masks[:, [0, 0, -1, -1], [0, -1, 0, -1]].T)[:, 1].tolist() == [1, 0, 3, 2]
    assert result.masks.sum() == 448 * 448


def test_shapes_are_those_of_the_model_zoo():
    from tf_lrp.model_zoo import shapes

    dataset, truth = open_dataset("shapes:6"), shapes.sample(6, seed=3000)
    assert len(dataset) == 6 and len({picture.name for picture in dataset}) == 6
    for picture, image, labels, masks in zip(dataset, *truth, strict=True):
        result = prepared(dataset, picture, (96, 96))
        assert np.array_equal(result.image, image)
        assert result.labels.tolist() == labels.nonzero()[0].tolist()
        assert np.array_equal(result.masks, masks[result.labels])
    assert not dataset.problems and len(Shapes()) == 500


# ---- opening --------------------------------------------------------------------------------------------------------


def test_data_sets_are_opened_by_kind_and_place(tmp_path):
    root = voc_folder(tmp_path / "VOC2007")
    assert len(open_dataset(f"voc:{root}", split="test")) == 1
    assert len(open_dataset(f"voc:{root}", {"dog": 0})) == 2
    xml(tmp_path / "i" / "val" / "a.xml", None)
    assert isinstance(open_dataset(f"imagenet:{tmp_path / 'i'}", WNIDS), ImageNet)
    path = coco(tmp_path, [(1, 18, {"bbox": [0, 0, 5, 5]})])
    (picture,) = open_dataset(f"coco:{path}", INDEX, masks=False)
    assert picture.regions[0].boxes == ((0, 0, 5, 5),)
    assert len(open_dataset("shapes:7", WNIDS, seed=1)) == 7 and len(open_dataset("shapes")) == 500


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cifar:/x", "imagenet, voc, coco, mosaic, shapes; got 'cifar:/x'"),
        ("", "imagenet"),
        ("voc", "voc:PATH"),
        ("imagenet:.", "index must map"),
        ("shapes:many", "NUMBER_OF_PICTURES"),
        ("shapes:0", "at least one"),
    ],
)
def test_data_sets_that_cannot_be_opened(text, message):
    with pytest.raises(ValueError, match=message):
        open_dataset(text)
