"""Pictures, signals and texts: samples of the zoo, those of a folder, and those that people upload.

Identifiers are the server's: no path comes from the page. What people upload is kept as it came, one file and its description
for each, in the state folder; what they delete is moved to a folder beside it.
"""

from __future__ import annotations

import functools
import io
import json
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tf_lrp.runs import atomic_files
from tf_lrp.runs.fingerprints import digest
from tf_lrp.studio import schemas
from tf_lrp.studio.problems import ProblemError, missing
from tf_lrp.vision.images import UnreadablePictureError, fit, read

#: Pixels from which a picture is refused.
MOST_PIXELS = 50_000_000
#: Uploads, and files of the folder, that are listed.
MOST_UPLOADS, MOST_FILES = 5_000, 20_000
_SUFFIXES = {
    "picture": {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".jp2"},
    "signal": {".npy", ".csv"},
    "tokens": {".npy", ".csv"},
}
_SAMPLES = 12


@dataclass(frozen=True)
class _Stored:
    """A picture, and where it is from: the file, or the values of a signal or a text."""

    shown: schemas.Picture
    path: Path | None = None
    values: Any = None
    masks: Any = None


class Pictures:
    """The gallery.

    Args:
        folder: of the state, for uploads and samples; is made if it does not exist.
        data: folder of pictures, or None.

    Attributes:
        network: `Network`, once it is loaded.
    """

    def __init__(self, folder: Path, data: Path | None):
        self._folder, self._deleted, self._data = folder, folder / "deleted", data
        self._deleted.mkdir(parents=True, exist_ok=True)
        self._network: Any = None
        self._files: dict[str, Path] = {}

    @property
    def network(self) -> Any:
        if self._network is None:
            raise ProblemError(503, "The model is not loaded (yet): /api/session says how far it is.")
        return self._network

    @network.setter
    def network(self, network):
        self._network = network

    def all(self) -> list[schemas.Picture]:
        """Uploads, the newest first, then samples, then the folder's."""
        kind = self.network.kind
        uploads = [self._upload(path.stem) for path in self._folder.glob("*.json")]
        uploads.sort(key=lambda upload: -upload[1])
        if self._data is not None:
            self._files = _files(self._data, _SUFFIXES[kind])
        own = [stored.shown for stored, _ in uploads if stored.shown.kind == kind]
        return [*own, *(s.shown for s in self._samples), *(self._of_file(i).shown for i in self._files)]

    def get(self, identifier: str) -> schemas.Picture:
        """One picture."""
        return self._found(identifier).shown

    def x(self, identifier: str) -> np.ndarray:
        """The model's input for a picture: an array (1, ...)."""
        found = self._found(identifier)
        if found.values is not None:
            return np.asarray(found.values)[np.newaxis]
        if found.path is None:
            raise missing("picture", identifier)
        if found.shown.kind != "picture":
            return self._checked_values(_read_values(found.path))[np.newaxis]
        try:
            return self.network.prepare(fit(read(found.path, MOST_PIXELS), self.network.size)[np.newaxis])
        except UnreadablePictureError as error:
            raise ProblemError(400, f"{found.shown.name} cannot be read: {error}.") from None

    def mask(self, identifier: str, target: int) -> np.ndarray | None:
        """The pixels of a class, bool (height, width), where they are known."""
        masks = self._found(identifier).masks
        return None if masks is None else masks[target]

    def file(self, identifier: str) -> Path:
        """A file of the picture, for the code that reproduces a view."""
        found = self._found(identifier)
        if found.path is not None:
            return found.path
        path = self._folder / f"{identifier}.npy"
        if not path.is_file():
            with io.BytesIO() as buffer:
                np.save(buffer, np.asarray(found.values), allow_pickle=False)
                atomic_files.write(path, buffer.getvalue())
        return path

    # -- uploads ----------------------------------------------------------------------------------------------------------

    def upload(self, name: str, content: bytes) -> schemas.Picture:
        """Keeps a picture's file.

        Raises:
            ProblemError: it is no picture, or has too many pixels.
        """
        if self.network.kind != "picture":
            raise ProblemError(400, "This model takes no pictures: give the values of a signal, or the numbers of tokens.")
        try:
            read(io.BytesIO(content), MOST_PIXELS)
        except UnreadablePictureError as error:
            raise ProblemError(400, f"{_name(name)} cannot be read: {error}.") from None
        return self._keep(_name(name), content, None)

    def add(self, sample: schemas.NewSample) -> schemas.Picture:
        """Keeps the values of a signal or a text.

        Raises:
            ProblemError: they do not fit the model.
        """
        if self.network.kind == "picture":
            raise ProblemError(400, "This model takes pictures: upload a file.")
        try:
            values = np.asarray(sample.values, float)
        except ValueError:
            raise ProblemError(400, "All times of a signal need the same number of channels.") from None
        return self._keep(_name(sample.name), None, self._checked_values(values).tolist())

    def delete(self, identifier: str) -> None:
        """Moves an upload to the deleted ones."""
        if not (self._folder / f"{identifier}.json").is_file():
            what = "sample" if identifier.startswith("sample") else "file of the folder"
            if identifier in self._files or identifier.startswith("sample"):
                raise ProblemError(403, f"This picture is a {what}, and no upload: it stays.")
            raise missing("picture", identifier)
        self._move(self._folder, self._deleted, identifier)

    def restore(self, identifier: str) -> schemas.Picture:
        """Brings a deleted upload back."""
        if not (self._deleted / f"{identifier}.json").is_file():
            raise missing("picture", identifier)
        self._move(self._deleted, self._folder, identifier)
        return self.get(identifier)

    def _keep(self, name, content, values):
        if len(list(self._folder.glob("*.json"))) >= MOST_UPLOADS:
            raise ProblemError(413, f"There are {MOST_UPLOADS} uploads already: delete some first.")
        identifier = secrets.token_hex(8)
        if content is not None:
            atomic_files.write(self._folder / f"{identifier}.picture", content)
        described = {"name": name, "created": time.time(), "kind": self.network.kind, "values": values}
        atomic_files.write(self._folder / f"{identifier}.json", json.dumps(described))
        return self.get(identifier)

    def _upload(self, identifier):
        data = json.loads((self._folder / f"{identifier}.json").read_text(encoding="utf-8"))
        shown = schemas.Picture(id=identifier, name=data["name"], kind=data["kind"], source="upload", masks=[])
        path = None if data["values"] is not None else self._folder / f"{identifier}.picture"
        return _Stored(shown, path, data["values"]), data["created"]

    def _move(self, source, target, identifier):
        for suffix in (".picture", ".json"):
            if (source / f"{identifier}{suffix}").is_file():
                (source / f"{identifier}{suffix}").replace(target / f"{identifier}{suffix}")

    # -- all ---------------------------------------------------------------------------------------------------------------

    def _found(self, identifier) -> _Stored:
        for sample in self._samples:
            if sample.shown.id == identifier:
                return sample
        if identifier not in self._files and self._data is not None and identifier.startswith("file-"):
            self._files = _files(self._data, _SUFFIXES[self.network.kind])
        if identifier in self._files:
            return self._of_file(identifier)
        try:
            stored, _ = self._upload(identifier)
        except FileNotFoundError:
            raise missing("picture", identifier) from None
        if stored.shown.kind != self.network.kind:
            raise ProblemError(400, f"{stored.shown.name} is a {stored.shown.kind}, and this model takes none.")
        return stored

    def _of_file(self, identifier):
        path = self._files[identifier]
        return _Stored(
            schemas.Picture(id=identifier, name=_name(path.name), kind=self.network.kind, source="folder", masks=[]), path
        )

    @functools.cached_property
    def _samples(self) -> list[_Stored]:
        if self.network.kind == "picture":
            return self._drawn()
        rng = np.random.default_rng(0)
        shape = [64 if length is None else length for length in self.network.model.inputs[0].shape[1:]]
        found = []
        for number in range(1, 4):
            if self.network.kind == "tokens":
                name, values = f"Random tokens {number}", rng.integers(0, self.network.vocabulary or 2, shape)
            else:
                time = np.arange(shape[0])[:, np.newaxis] / shape[0]
                waves = np.sin(2 * np.pi * (rng.uniform(1, 8, shape[-1]) * time + rng.uniform(size=shape[-1])))
                name, values = f"Sine waves {number}", waves if len(shape) == 2 else waves[:, 0]
            shown = schemas.Picture(id=f"sample-{number}", name=name, kind=self.network.kind, source="sample", masks=[])
            found.append(_Stored(shown, None, values))
        return found

    def _drawn(self):
        from tf_lrp.model_zoo import shapes

        height, width = self.network.size
        side = max(48, min(height, width))
        drawn = shapes.sample(_SAMPLES, seed=0, size=side, min_objects=2)
        own = self.network.classes.names == list(shapes.CLASSES) and (height, width) == (side, side)
        found = []
        for number, (image, labels, masks) in enumerate(zip(drawn.images, drawn.labels, drawn.masks, strict=True), 1):
            identifier, present = f"sample-{number}", np.flatnonzero(labels).tolist()
            path = self._folder / f"{identifier}.{side}.png"
            if not path.is_file():
                atomic_files.write(path, png(image))
            name = ", ".join(shapes.CLASSES[k] for k in present)
            shown = schemas.Picture(id=identifier, name=name, kind="picture", source="sample", masks=present if own else [])
            found.append(_Stored(shown, path, None, masks if own else None))
        return found

    def _checked_values(self, values):
        """The values of one signal or text in the model's shape."""
        values = np.asarray(values)
        shape = list(self.network.model.inputs[0].shape[1:])
        if len(shape) == 2 and values.ndim == 1 and shape[1] in (None, 1):
            values = values[:, np.newaxis]
        fits = values.ndim == len(shape) and all(e in (None, n) for e, n in zip(shape, values.shape, strict=True))
        if not fits or values.size == 0:
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            raise ProblemError(400, f"The model takes values of shape ({wanted}), got {values.shape}.")
        if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
            raise ProblemError(400, "Values are finite numbers.")
        if self.network.kind == "tokens":
            count = self.network.vocabulary
            if (values != np.floor(values)).any() or values.min() < 0 or (count is not None and values.max() >= count):
                raise ProblemError(400, f"Tokens are whole numbers from 0 to {'any' if count is None else count - 1}.")
            values = values.astype("int64")
        return values


def png(pixels: np.ndarray) -> bytes:
    """uint8 (height, width, 3) as a PNG file."""
    with io.BytesIO() as buffer:
        Image.fromarray(pixels).save(buffer, "PNG")
        return buffer.getvalue()


def _files(folder, suffixes):
    """Identifier -> path of each file below a folder that may be read."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in suffixes and path.is_file():
            found[f"file-{digest([str(path.relative_to(folder)).encode('utf-8', 'surrogateescape')])[:16]}"] = path
            if len(found) >= MOST_FILES:
                break
    return found


def _read_values(path):
    try:
        if path.suffix.lower() == ".npy":
            return np.load(path, allow_pickle=False)
        return np.loadtxt(path, delimiter=",", ndmin=1)
    except (OSError, ValueError) as error:
        raise ProblemError(400, f"{path.name} cannot be read: {error}.") from None


def _name(text):
    """A file's name without folders and control characters."""
    text = text.encode("utf-8", "replace").decode()
    text = re.sub(r"[\x00-\x1f\x7f]", " ", re.split(r"[/\\]", text)[-1]).strip()
    return text[-schemas.LONGEST_NAME :] or "picture"
