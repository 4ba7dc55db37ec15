"""Every network of the zoo has a card."""

import re

import pytest

from tf_lrp import model_zoo
from tf_lrp.model_zoo import registry

HEADINGS = ["What", "Data", "Accuracy", "Weights", "Training", "Licence"]
OWN = [name for name in model_zoo.names() if name.islower()]


@pytest.mark.parametrize("name", model_zoo.names())
def test_every_network_has_a_card_with_all_headings(name):
    title, *sections = re.split(r"^#+ ", model_zoo.entry(name).card, flags=re.MULTILINE)[1:]
    assert title.strip() == (name if name in OWN else "keras.applications")
    parts = dict(section.split("\n", 1) for section in sections)
    assert list(parts) == HEADINGS
    assert all(len(text.split()) >= 1 for text in parts.values())


def test_no_card_is_left_over():
    assert {path.stem for path in registry.CARDS.glob("*.md")} == {*OWN, "keras_applications"}


@pytest.mark.parametrize("name", OWN)
def test_cards_count_the_parameters(name):
    """Where a card gives the number of parameters, it is that of the network."""
    written = re.search(r"([\d,]+) parameters", model_zoo.entry(name).card)
    if written is None:
        assert name in ("lenet5", "vgg16_like")
        return
    assert int(written[1].replace(",", "")) == model_zoo.load(name, weights="random").count_params()
