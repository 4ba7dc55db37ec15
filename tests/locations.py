"""Where things are."""

from pathlib import Path

#: Of the tests, and of the repository.
TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
