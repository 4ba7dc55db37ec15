"""What long runs share: locks, atomic files, fingerprints, the comparison of settings."""

import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import tf_lrp
from tf_lrp.runs import atomic_files, fingerprints
from tf_lrp.runs.locks import exclusive_lock
from tf_lrp.runs.resume import as_json, changed_settings

# -- locks ----------------------------------------------------------------------------------------------------------------


def test_the_lock_of_a_killed_process_is_released(tmp_path):
    path = tmp_path / "lock"
    code = f"""
import os
from tf_lrp.runs.locks import exclusive_lock
with exclusive_lock({str(path)!r}, "held"):
    print("mine", flush=True)
    os.kill(os.getpid(), 9)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(tf_lrp.__file__).parents[1])}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert ended.stdout == "mine\n" and ended.returncode == -9
    with exclusive_lock(path, "held"), pytest.raises(BlockingIOError, match="taken"), exclusive_lock(path, "taken"):
        pass
    with exclusive_lock(path, "held"):
        pass


# -- files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", ["write", "replace"])
def test_a_file_that_could_not_be_written_leaves_the_earlier_one(tmp_path, monkeypatch, fails):
    path = tmp_path / "a.txt"
    atomic_files.write(path, "first ±")
    assert path.read_text(encoding="utf-8") == "first ±"

    def fail(*_):
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(*(os, "replace", fail) if fails == "replace" else (Path, "write_bytes", fail))
        with pytest.raises(OSError, match="no space left"):
            atomic_files.write(path, "second")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"] and path.read_text(encoding="utf-8") == "first ±"
    atomic_files.write(path, b"second")
    assert path.read_bytes() == b"second"


def test_two_processes_write_under_different_names(monkeypatch, tmp_path):
    mine = atomic_files.partial(tmp_path / "a.txt")
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert atomic_files.partial(tmp_path / "a.txt") != mine


# -- fingerprints ---------------------------------------------------------------------------------------------------------

ARRAYS = [np.arange(6, dtype="float32").reshape(2, 3), np.zeros((0, 3)), np.float32(3), np.arange(6.0).reshape(2, 3).T]


def test_digests_are_those_in_the_folders_of_earlier_versions():
    """The literals were written by the first version: a change would refuse every run that is to be resumed."""
    assert fingerprints.digest(ARRAYS) == "e7d6004fcb7b8831"
    x, targets = np.arange(24, dtype="float32").reshape(2, 12), np.array([1, 2])
    named = [part for name, array in (("x", x), ("targets", targets)) for part in fingerprints.parts(array, name)]
    assert fingerprints.digest(named) == "c832cbfeb176fb3c"


def test_digests_depend_on_every_value_and_not_on_the_layout_in_memory():
    assert fingerprints.digest(a.copy() for a in ARRAYS) == fingerprints.digest(ARRAYS)
    assert fingerprints.digest([np.asfortranarray(ARRAYS[0])]) == fingerprints.digest([ARRAYS[0]])
    changed = [a.copy() for a in ARRAYS]
    changed[3][2, 1] += 1e-9
    assert fingerprints.digest(changed) != fingerprints.digest(ARRAYS)
    half = np.ones(3, ml_dtypes.bfloat16)  # NumPy gives no buffer of it
    assert fingerprints.digest([half]) == fingerprints.digest([half.tobytes()])


def test_parts_tell_shapes_and_types_apart():
    zeros = [np.zeros((2, 3), "float32"), np.zeros((3, 2), "float32"), np.zeros((2, 3), "int32")]
    assert len({fingerprints.digest([a]) for a in zeros}) == 1
    assert len({fingerprints.digest(fingerprints.parts(a)) for a in zeros}) == 3


# -- resuming -------------------------------------------------------------------------------------------------------------


def test_changed_settings_by_hand():
    before = as_json({"size": (3, 4), "data": "a", "long": "b"})
    assert changed_settings(before, as_json({"size": [3, 4], "data": "a", "long": "b"})) == ""
    said = changed_settings(before, {"size": [3, 4], "data": None, "long": "b" * 1000, "new": 0})
    first, second, third = said.split("; ")
    assert (first, third) == ("data was 'a' and is None", "new was None and is 0")
    assert second.startswith("long was 'b' and is 'bbb") and len(second) < 340
