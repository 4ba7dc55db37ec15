"""Fixtures shared by the tests: reference data kept outside this repository."""

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
