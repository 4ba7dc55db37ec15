"""docs/coverage.md speaks of every public function of keras.ops and every layer of Keras; some of its refusals are tried."""

import sys

import pytest
from locations import ROOT


@pytest.fixture(scope="module")
def examples():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import keras_functions

        yield keras_functions
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def test_every_name_of_keras_has_an_example_and_a_line_on_the_page(examples):
    page = (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8")
    for names, table in ((examples.public_functions(), examples.FUNCTIONS), (examples.public_layers(), examples.LAYERS)):
        own = {name for name in names if table is not examples.LAYERS or _is_first_name(name)}
        assert own <= set(table), f"no example of {sorted(own - set(table))}"
        assert not [name for name in own if f"`{name}`" not in page]


def test_every_operation_of_tensorflow_that_is_opened_is_on_the_page(examples):
    import tensorflow_operations

    page = (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8")
    assert examples.section_of(page, examples.TENSORFLOW).strip() == tensorflow_operations.section().strip()


def _is_first_name(name):
    """Whether it is no other name of a layer (AvgPool1D, Convolution2D)."""
    import keras

    return getattr(keras.layers, name).__name__ == name


@pytest.mark.parametrize("name", ["det", "cumprod", "view_as_complex", "arctan2", "image.rgb_to_hsv"])
def test_what_the_page_calls_refused_is(examples, name):
    found = examples.outcome(name, examples.model_of_function)
    assert set(found) == {"refused"}


@pytest.mark.parametrize("name", ["where", "var", "fft", "RandomCrop", "STFTSpectrogram"])
def test_what_the_page_calls_explained_is(examples, name):
    build = examples.model_of_layer if name in examples.LAYERS else examples.model_of_function
    assert "rules" in examples.outcome(name, build)
