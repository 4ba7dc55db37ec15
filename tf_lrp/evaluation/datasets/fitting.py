"""A picture of a data set in the size of a network: its pixels, and the masks of its regions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from tf_lrp.vision import images

FITTINGS = ("crop", "rescale", "as it is")


@dataclass(frozen=True)
class Prepared:
    """A picture in the size of the network, before preprocessing.

    Attributes:
        name: of the picture.
        image: uint8 (height, width, 3), RGB.
        labels: ints (K,), the classes that it shows.
        masks: bool (K, height, width), the pixels of each class.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray
    masks: np.ndarray


def prepared(dataset, picture, size):
    """Resizes a picture and its regions to a network's size.

    "crop": the shorter side is resized to the network's and the longer side cut to it around the middle (for sizes that are
    not square: resized so that the network's size is covered), exactly as `vision.images.fit` does. "rescale": both sides
    are resized without keeping the aspect ratio. "as it is": the picture already has the size. Pictures are resized bilinearly.

    A region's pixels are those whose centres lie in one of its boxes (left and top edges included); a box that contains no
    centre marks the row or column at its middle. Masks are resampled to the nearest pixel; a mask that would vanish marks the
    pixels that contain it.

    Args:
        dataset: `Dataset` of the picture, which records problems.
        picture: `Picture`.
        size: (height, width) that the network takes.

    Returns:
        `Prepared`; None if the file cannot be read, has the wrong size ("as it is"), or shows no class inside the crop.
    """
    if dataset.fitting not in FITTINGS:
        raise ValueError(f"A data set's fitting is one of {', '.join(map(repr, FITTINGS))}; got {dataset.fitting!r}.")
    height, width = size
    try:
        image = picture.read()
    except (images.UnreadablePictureError, OSError) as error:
        return dataset.report(picture.name, "unreadable picture", error)
    if dataset.fitting == "as it is" and image.shape[:2] != (height, width):
        detail = f"{image.shape[1]} x {image.shape[0]} pixels, and the network takes {width} x {height}"
        return dataset.report(picture.name, "wrong size", detail)
    window = _window(dataset.fitting, image.shape[1], image.shape[0], width, height)
    labels, masks = [], []
    for region in picture.regions:
        mask = _mask(region, window, (height, width))
        if mask.any():
            labels.append(region.label)
            masks.append(mask)
        else:
            detail = f"class {region.label} lies outside the part of the picture that {width} x {height} pixels show"
            dataset.report(picture.name, "nothing inside the crop", detail)
    if not labels:
        return None
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, box=window)
    return Prepared(picture.name, np.array(resized), np.array(labels), np.stack(masks))


def _window(fitting, full_width, full_height, width, height):
    """(left, top, right, bottom) of the part that the network gets, in pixels of the picture."""
    cropped_width, cropped_height = full_width, full_height
    if fitting == "crop":
        cropped_width = min(full_width, full_height * width / height)
        cropped_height = min(full_height, full_width * height / width)
    left, top = (full_width - cropped_width) / 2, (full_height - cropped_height) / 2
    return left, top, left + cropped_width, top + cropped_height


def _mask(region, window, size):
    """bool (height, width): the pixels of a region inside a window that is resized to ``size``."""
    if region.mask is not None:
        return _nearest(region.mask, window, size)
    mask = np.zeros(size, bool)
    for box in region.boxes:
        mask |= _box_mask(box, window, size)
    return mask


def _box_mask(box, window, size):
    left, top = max(box[0], window[0]), max(box[1], window[1])
    right, bottom = min(box[2], window[2]), min(box[3], window[3])
    if right <= left or bottom <= top:
        return np.zeros(size, bool)
    rows, columns = _centres(window, size)
    return _between(rows, top, bottom)[:, None] & _between(columns, left, right)


def _between(centres, low, high):
    """The pixels of an axis whose centres lie in an interval; if there is none, the one nearest to the interval's middle."""
    inside = (centres >= low) & (centres < high)
    if not inside.any():
        inside[np.argmin(np.abs(centres - (low + high) / 2))] = True
    return inside


def _nearest(mask, window, size):
    rows, columns = (np.minimum(c.astype(int), n - 1) for c, n in zip(_centres(window, size), mask.shape, strict=True))
    resampled = mask[rows[:, None], columns]
    if not resampled.any():
        y, x = (place + 0.5 for place in np.nonzero(mask))
        inside = (x >= window[0]) & (x < window[2]) & (y >= window[1]) & (y < window[3])
        resampled[_pixel_at(x[inside], y[inside], window, size)] = True
    return resampled


def _centres(window, size):
    """The centres of the network's pixels in coordinates of the picture: rows (height,), columns (width,)."""
    left, top, right, bottom = window
    height, width = size
    rows = top + (np.arange(height) + 0.5) * ((bottom - top) / height)
    return rows, left + (np.arange(width) + 0.5) * ((right - left) / width)


def _pixel_at(x, y, window, size):
    """(row, column) of the network's pixel that contains a point of the picture."""
    left, top, right, bottom = window
    height, width = size
    row, column = (y - top) * height / (bottom - top), (x - left) * width / (right - left)
    return np.clip(np.int64(row), 0, height - 1), np.clip(np.int64(column), 0, width - 1)
