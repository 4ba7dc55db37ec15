"""Pictures from files to what a network takes, and the files beside them that an explanation leaves.

Needs NumPy and Pillow only.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import threading
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin

from tf_lrp.runs.fingerprints import digest
from tf_lrp.vision.luma import luma

#: How `prepare` turns RGB pictures of 0..255 into a network's input.
PREPARATIONS = ("none", "0..1", "-1..1", "caffe", "torch")

_CAFFE_MEAN = np.array([103.939, 116.779, 123.68], np.float32)  # blue, green, red
_TORCH_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_TORCH_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


class UnreadablePictureError(ValueError):
    """A file that holds no picture; the message says what is wrong with it, without its name."""


class TooManyPixelsError(UnreadablePictureError):
    """A picture that is larger than a picture may be; ``pixels`` it has, as far as that is known."""

    def __init__(self, pixels, limit):
        of_it = f"{pixels:,} pixels" if pixels else "pixels"
        super().__init__(
            f"it has {of_it}, more than the {limit:,} that are read, as a small file can hold a picture that fills the memory"
        )
        self.pixels = pixels


#: Pillow's limit is there for all threads.
_limit = threading.Lock()


@contextlib.contextmanager
def _allowed(max_pixels):
    """Pillow reads pictures of at most ``max_pixels``; None keeps its own limit, 178,956,970."""
    if max_pixels is None:
        yield
        return
    with _limit:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = max_pixels / 2  # it warns from there, and refuses from twice as many
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def read(path, max_pixels=None):
    """A picture as people see it: upright, in RGB, on white where it is transparent; the first frame of an animation.

    Args:
        path: file in any format that Pillow reads. 16-bit grey is scaled to 8 bits, floats are taken as 0..1 or 0..255.
        max_pixels: pixels from which a picture is refused. None: Pillow's limit, 178,956,970; slides of pathology have more,
            and take 3 bytes each.

    Returns:
        PIL.Image in RGB.

    Raises:
        TooManyPixelsError: more than ``max_pixels``.
        UnreadablePictureError: no such file, no picture, or a damaged one.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a huge or slightly odd picture is explained all the same
            with _allowed(max_pixels), Image.open(path) as image:
                image.load()
                return _to_rgb(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise UnreadablePictureError("there is no such file") from None
    except IsADirectoryError:
        raise UnreadablePictureError("this is a folder, not a picture; name the pictures in it") from None
    except Image.UnidentifiedImageError:
        raise UnreadablePictureError("not a picture in any format that Pillow reads") from None
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\((\d+) pixels\)", str(error))
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) if max_pixels is None else max_pixels
        raise TooManyPixelsError(pixels and int(pixels[1]), limit) from None
    except Exception as error:  # decoders raise anything at all on damaged files
        raise UnreadablePictureError(str(error) or type(error).__name__) from error


def _to_rgb(image):
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_as_bytes(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _as_bytes(grey):
    """Grey values of more than 8 bits as uint8."""
    if not np.isfinite(grey).all():
        raise UnreadablePictureError("it holds NaN or infinite values")
    if grey.dtype.kind == "f":
        scale = 255 if grey.max() <= 1 else 1
    else:
        scale = 1 / 257 if grey.dtype.itemsize == 2 or grey.max() > 255 else 1
    return np.rint(np.clip(grey * float(scale), 0, 255)).astype(np.uint8)


def fit(image, size):
    """The middle of a picture in a network's size: shorter side to the size (bilinear), the rest of the longer one cut off.

    Args:
        image: PIL.Image in RGB.
        size: (height, width).

    Returns:
        uint8 array (height, width, 3).
    """
    # Cropped before resizing, so that a very long and narrow picture is never enlarged completely.
    return np.asarray(ImageOps.fit(image, (size[1], size[0]), Image.Resampling.BILINEAR))


def prepare(pictures, preparation, channels=3):
    """Pictures as the input of a network.

    Args:
        pictures: uint8 (N, H, W, 3), RGB.
        preparation: "none" (0..255), "0..1", "-1..1", "caffe" (BGR minus the ImageNet mean) or "torch" (0..1, minus the
            ImageNet mean, by its deviation).
        channels: 3, or 1 for grey (see `luma`).

    Returns:
        float32 (N, H, W, channels).

    Raises:
        ValueError: an unknown preparation, or one for colours where the network takes grey.
    """
    if preparation not in PREPARATIONS:
        raise ValueError(f"Pictures are prepared by one of {', '.join(PREPARATIONS)}; got {preparation!r}.")
    x = np.asarray(pictures, np.float32)
    if channels == 1:
        if preparation in ("caffe", "torch"):
            raise ValueError(f"The network takes grey pictures, and {preparation!r} prepares colours; use 0..1 or -1..1.")
        x = luma(x)
    if preparation == "0..1":
        return x / np.float32(255)
    if preparation == "-1..1":
        return x / np.float32(127.5) - 1
    if preparation == "caffe":
        return x[..., ::-1] - _CAFFE_MEAN
    if preparation == "torch":
        return (x / np.float32(255) - _TORCH_MEAN) / _TORCH_DEVIATION
    return x


def as_seen(picture, size):
    """The picture with the black border that a network's preprocessing put around it, so that it has the size of the relevance.

    Args:
        picture: uint8 (h, w, 3).
        size: (height, width) of the relevance.

    Returns:
        uint8 (height, width, 3).
    """
    spare = [wanted - had for wanted, had in zip(size, picture.shape[:2], strict=True)]
    if min(spare) < 0:
        return picture
    return np.pad(picture, [(s // 2, s - s // 2) for s in spare] + [(0, 0)])


# ---- the files an explanation leaves --------------------------------------------------------------------------------

_OWNER = "tf_lrp picture"  # a text in our PNG files: which picture they explain


class Results:
    """Writes explanations into a folder, and never over those of another picture.

    The files of a picture are called ``<stem>.<class>.<preset>.heatmap.png``, ``.overlay.png`` and ``.npy``. Where another
    picture of the same stem has such files, in this run or from an earlier one, the stem becomes ``<stem>-2``, ``-3`` ...
    Files of the same picture, class and preset are replaced.

    Args:
        folder: made where there is none.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not os.access(self.folder, os.W_OK):
            raise PermissionError(f"The folder {str(self.folder)!r} cannot be written to; choose another.")
        self._owners = {}  # of the names given in this run

    def name(self, picture, endings):
        """The beginning of a picture's file names, ``<stem>`` or ``<stem>-<n>``.

        Args:
            picture: path of the picture.
            endings: what follows in its file names, ``<class>.<preset>`` for each class.
        """
        owner, stem = _fingerprint(picture), Path(picture).stem
        for number in itertools.count(1):
            name = stem if number == 1 else f"{stem}-{number}"
            key = name.casefold()  # upper and lower case are one on some file systems
            if self._owners.get(key, owner) == owner and all(self._may_write(f"{name}.{e}", owner) for e in endings):
                self._owners[key] = owner
                return name

    def _may_write(self, base, owner):
        marked = self.folder / f"{base}.heatmap.png"
        if not marked.exists():
            return not any((self.folder / f"{base}{ending}").exists() for ending in (".overlay.png", ".npy"))
        try:
            with Image.open(marked) as image:
                return image.info.get(_OWNER) == owner
        except (OSError, SyntaxError):
            return False

    def write(self, picture, base, relevance, heat, overlay, inner=None):
        """Writes one explanation.

        Args:
            picture: path of the explained picture.
            base: ``<name>.<class>.<preset>``.
            relevance: raw, (H, W, C).
            heat, overlay: uint8 (H, W, 3).
            inner: layer name -> relevance there.

        Returns:
            Number of files.
        """
        mark = PngImagePlugin.PngInfo()
        mark.add_text(_OWNER, _fingerprint(picture))
        for ending, rgb in (("heatmap", heat), ("overlay", overlay)):
            Image.fromarray(rgb).save(self.folder / f"{base}.{ending}.png", pnginfo=mark)
        np.save(self.folder / f"{base}.npy", relevance)
        for layer, values in (inner or {}).items():
            np.save(self.folder / f"{base}.{file_name_part(layer)}.npy", values)
        return 3 + len(inner or {})


def file_name_part(text):
    """A text as part of a file name, on any file system."""
    return re.sub(r"[^\w.=+-]+", "_", text).strip("._")[:60] or "_"


def _fingerprint(path):
    """Which picture this is, by its place; hashed, as PNG files are passed on and folder names are private."""
    return digest([os.fsencode(os.path.realpath(path))])
