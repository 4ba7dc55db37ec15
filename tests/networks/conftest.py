"""Weights and statistics for networks without training."""

import importlib.util

import pytest
from locations import ROOT

SCRIPT = ROOT / "benchmarks" / "coverage.py"


@pytest.fixture(scope="module")
def coverage():
    """The script that makes the table of all networks, with its weights, statistics and inputs."""
    spec = importlib.util.spec_from_file_location("coverage_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
