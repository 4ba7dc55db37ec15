"""Designs: the presets that people make, as files in the state folder, and the examples.

Every change is one atomic file. A deleted design is moved to a folder beside the others, so that it can be restored.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from tf_lrp import presets
from tf_lrp.cli.preset_option import preset_of
from tf_lrp.files import preset_json
from tf_lrp.presets import Preset
from tf_lrp.rules import ZRule
from tf_lrp.runs import atomic_files
from tf_lrp.studio import schemas
from tf_lrp.studio.examples import examples
from tf_lrp.studio.problems import ProblemError, missing

if TYPE_CHECKING:
    from tf_lrp.studio.layers import Ruler

#: The identifier of My new model, which is always there.
NEW = "new"
_NEW_NAME = "My new model"
#: Seconds for which another process may be writing.
_PATIENCE = 10


class Designs:
    """The designs of one state folder.

    Several servers may use the folder at once: what they change is read from it each time.

    Args:
        folder: is made if it does not exist.

    Attributes:
        ruler: `Ruler` of the model, once it is loaded.
    """

    def __init__(self, folder: Path):
        self._folder, self._deleted = folder, folder / "deleted"
        self._deleted.mkdir(parents=True, exist_ok=True)
        self._examples = {example.identifier: example for example in examples()}
        self.ruler: Ruler | None = None

    # -- reading ----------------------------------------------------------------------------------------------------------

    def all(self) -> list[schemas.Design]:
        """My new model, one's own from the newest on, and the examples."""
        stored = {path.stem: self._read(path) for path in self._folder.glob("*.json")}
        own = sorted((i for i in stored if i != NEW), key=lambda i: (-stored[i]["created"], i))
        return [self.get(identifier) for identifier in (NEW, *own, *self._examples)]

    def get(self, identifier: str) -> schemas.Design:
        """One design."""
        if identifier in self._examples:
            example = self._examples[identifier]
            return self._shown(identifier, example.name, 0, preset_json.as_dict(example.preset), example.note)
        stored = self._stored(identifier)
        return self._shown(identifier, stored["name"], stored["revision"], stored["preset"])

    def unsaved(self, source: schemas.PresetSource) -> schemas.Design:
        """A preset as a design that is not saved: its identifier is empty."""
        preset = self.preset(source)
        return self._shown("", preset.name, 0, _as_json(preset))

    def preset(self, source: schemas.PresetSource, name: str = "custom") -> Preset:
        """The preset that a request names.

        Args:
            source: of the request.
            name: of the preset, where it is made of segments.

        Raises:
            ProblemError: it names none, several, or one that there is not.
        """
        ways = [w for w in ("design", "segments", "preset", "named") if getattr(source, w) is not None]
        if len(ways) != 1:
            raise ProblemError(400, f"A preset is given as one of design, segments, preset and named; got {len(ways)} of them.")
        if source.others and source.segments is None:
            raise ProblemError(400, "Entries for other layers belong to segments; without segments, leave them out.")
        if source.design is not None:
            return read_preset(self._preset_of(source.design))
        if source.segments is not None:
            return self._known_ruler().preset(source.segments, source.others, name)
        if source.preset is not None:
            return read_preset(source.preset)
        try:
            text = str(source.named)
            if text.lower().endswith(".json"):
                raise ValueError(f"A preset is named by its name, such as {presets.names()[0]}, and not by a file.")
            return preset_of(text)[0]
        except (ValueError, TypeError, RecursionError, MemoryError) as error:
            raise ProblemError(400, str(error) or "The preset's parameters could not be read.") from None

    def export(self, identifier: str) -> str:
        """The JSON of `Preset.to_json`."""
        return read_preset(self._preset_of(identifier)).to_json()

    def file_name(self, identifier: str) -> str:
        """A name for the exported file, of ASCII letters, digits, points and hyphens."""
        return f"{re.sub(r'[^A-Za-z0-9.]+', '-', self.get(identifier).name).strip('-.') or 'preset'}.json"

    # -- changing ---------------------------------------------------------------------------------------------------------

    def create(self, new: schemas.NewDesign) -> schemas.Design:
        """Saves a new design."""
        return self._create(new.name, self.preset(new, new.name))

    def import_preset(self, data: dict[str, Any], name: str | None = None) -> schemas.Design:
        """Saves a preset's JSON as a new design."""
        preset = read_preset(data)
        name = (name or preset.name).encode("utf-8", "replace").decode()[: schemas.LONGEST_NAME].strip()
        return self._create(name or "custom", preset)

    def duplicate(self, identifier: str, name: str | None = None) -> schemas.Design:
        """Saves a copy."""
        name = name or f"{self.get(identifier).name[: schemas.LONGEST_NAME - 7]} (copy)"
        return self._create(name, read_preset(self._preset_of(identifier)))

    def change(self, identifier: str, change: schemas.DesignChange) -> schemas.Design:
        """Changes the name, the preset or both.

        Raises:
            ProblemError: for an example; with status 409 and the stored design for another revision than the stored one.
        """
        self._check_own(identifier)
        ways = [change.design, change.segments, change.preset, change.named]
        with self._lock():
            stored = self._stored(identifier)
            if stored["revision"] != change.revision:
                design = self.get(identifier).model_dump(mode="json")
                raise ProblemError(
                    409,
                    f"The model {stored['name']!r} was changed elsewhere, perhaps in another tab, to revision "
                    f"{stored['revision']}; this change was made to revision {change.revision}.",
                    design=design,
                )
            name = stored["name"] if change.name is None else change.name
            if identifier == NEW and name != _NEW_NAME:
                raise ProblemError(400, f"{_NEW_NAME} keeps its name: save a copy under another.")
            data = stored["preset"]
            if any(way is not None for way in ways):
                data = _as_json(self.preset(change, name))
            self._write(identifier, name, change.revision + 1, {**data, "name": name}, stored["created"])
        return self.get(identifier)

    def delete(self, identifier: str) -> None:
        """Moves a design to the deleted ones."""
        self._check_own(identifier)
        if identifier == NEW:
            raise ProblemError(403, f"{_NEW_NAME} is always there: to begin anew, change it.")
        self._move(self._folder, self._deleted, identifier)

    def restore(self, identifier: str) -> schemas.Design:
        """Brings a deleted design back."""
        self._move(self._deleted, self._folder, identifier)
        return self.get(identifier)

    # -- files ------------------------------------------------------------------------------------------------------------

    def _stored(self, identifier):
        path = self._folder / f"{identifier}.json"
        try:
            return self._read(path)
        except FileNotFoundError:
            if identifier != NEW:
                raise missing("model", identifier) from None
        preset = presets.as_preset(ZRule())
        return {"name": _NEW_NAME, "revision": 0, "created": 0, "preset": {**_as_json(preset), "name": _NEW_NAME}}

    def _read(self, path):
        return json.loads(path.read_text(encoding="utf-8"))

    def _write(self, identifier, name, revision, preset, created):
        stored = {"name": name, "revision": revision, "created": created, "preset": preset}
        atomic_files.write(self._folder / f"{identifier}.json", json.dumps(stored, indent=1))

    def _create(self, name, preset):
        identifier = secrets.token_hex(8)
        with self._lock():
            self._write(identifier, name, 1, {**_as_json(preset), "name": name}, time.time())
        return self.get(identifier)

    def _move(self, source, target, identifier):
        with self._lock():
            try:
                (source / f"{identifier}.json").replace(target / f"{identifier}.json")
            except FileNotFoundError:
                raise missing("model", identifier) from None

    @contextlib.contextmanager
    def _lock(self):
        with FileLock(self._folder / ".lock", timeout=_PATIENCE):
            yield

    # -- helpers ----------------------------------------------------------------------------------------------------------

    def _preset_of(self, identifier):
        example = self._examples.get(identifier)
        return self._stored(identifier)["preset"] if example is None else preset_json.as_dict(example.preset)

    def _check_own(self, identifier):
        if identifier in self._examples:
            raise ProblemError(403, f"The example {self._examples[identifier].name!r} stays as it is: change a copy of it.")

    def _known_ruler(self):
        if self.ruler is None:
            raise ProblemError(503, "The model is still loading: segments need its layers. Try again in a moment.")
        return self.ruler

    def _shown(self, identifier, name, revision, preset, note=""):
        segments, others, exact, problem = None, [], False, None
        if self.ruler is not None:
            try:
                segments, others, exact = self.ruler.segments(read_preset(preset))
            except (ProblemError, ValueError) as error:
                problem = str(error)
        origin = "new" if identifier == NEW else "example" if identifier in self._examples else "own"
        return schemas.Design(
            id=identifier, name=name, revision=revision, origin=origin, note=note, preset=preset, segments=segments,
            others=others, exact=exact, problem=problem,
        )  # fmt: skip


def read_preset(data: dict[str, Any]) -> Preset:
    """The preset of a JSON object that has been parsed.

    Raises:
        ProblemError: it is none.
    """
    try:
        return Preset.from_json(json.dumps(data))
    except RecursionError:
        raise ProblemError(400, "A preset's JSON could not be read: it is nested too deeply.") from None
    except ValueError as error:
        raise ProblemError(400, str(error)) from None


def _as_json(preset):
    return json.loads(preset.to_json())
