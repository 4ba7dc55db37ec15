"""Fixtures shared by the tests: reference data kept outside this repository; and tests that run uncompiled."""

import os
from pathlib import Path

import pytest
from locations import ROOT

SHARED = ROOT.parent / "shared"


def _folder(variable, default):
    folder = Path(os.environ.get(variable, default))
    if not folder.is_dir():
        pytest.skip(f"shared data absent: {folder} (set {variable} to its place)")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of networks, weights and pictures that belong to others; its tests are skipped where it is absent."""
    return _folder("TF_LRP_DATA", SHARED / "data")


@pytest.fixture(scope="session")
def shared_golden() -> Path:
    """Folder of values computed by independent implementations; its tests are skipped where it is absent."""
    return _folder("TF_LRP_GOLDEN", SHARED / "golden")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Runs a test as the nearest of its marks ``eager`` and ``compiled`` says, see `eagerly`."""
    nearest = next((mark.name for mark in item.iter_markers() if mark.name in ("eager", "compiled")), None)
    if nearest is None:
        return (yield)
    import eagerly  # loaded when needed: it takes TensorFlow with it

    with eagerly.eagerly() if nearest == "eager" else eagerly.traced_at_once():
        return (yield)
