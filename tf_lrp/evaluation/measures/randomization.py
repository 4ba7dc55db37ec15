"""Whether explanations depend on what the model has learned, and on which class is asked for.

Weights are randomized in place and put back: explainers follow the live weights of their model, so that one explainer, compiled
once, serves all steps, where a clone would need all of them built anew at each.
"""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import keras
import numpy as np

from tf_lrp.evaluation.measures.robustness import explained_neurons, fixed_selection
from tf_lrp.evaluation.measures.similarity import SIMILARITIES
from tf_lrp.explain.explainer import Explainer

ORDERS = ("cascading", "bottom_up", "independent")


class Row(NamedTuple):
    """One step of a randomization.

    Attributes:
        layer: name of the layer that was randomized in it.
        similarities: name -> (N,), of each sample's map to that of the trained model.
    """

    layer: str
    similarities: dict


def weighted_layers(model):
    """The layers that hold learned weights, those of nested models in their place, from the input to the output.

    `keras.layers.Normalization` is not among them: it holds statistics of the data.

    Args:
        model: a built keras.Model.

    Returns:
        List of layers, each once.
    """
    found = []
    for layer in model.layers:
        inner = weighted_layers(layer) if isinstance(layer, keras.Model) else [layer] if _learned(layer) else []
        found += [one for one in inner if not any(one is other for other in found)]
    return found


@contextlib.contextmanager
def randomize(model, layers=None, seed=0):
    """Inside ``with``, layers have their weights shuffled; afterwards, exceptions included, the old ones bit by bit.

    The values of each weight tensor are permuted among themselves. What was learned is where they are; their mean and variance,
    and with them the scale of activations and relevance, remain, and so do signs that have to hold, as of the variances of
    batch normalizations. A tensor of equal values, such as biases of zero, remains as it is. The permutation depends on the
    seed and on the layer's place in the model alone, not on which others are randomized with it.

    Args:
        model: a built keras.Model; it is changed in place.
        layers: names of layers, or layers; by default all of `weighted_layers`.
        seed: int >= 0.

    Yields:
        The model.

    Raises:
        ValueError: for a layer that is not among the model's, or has no weights.
    """
    every = weighted_layers(model)
    places = range(len(every)) if layers is None else [_place(every, layer) for layer in layers]
    # Copies are taken one by one, and a variable that is shared keeps the first: the one from before.
    saved = {}
    try:
        for place in sorted(set(places)):
            for n, weight in enumerate(_learned(every[place])):
                if id(weight) in saved:
                    continue
                values = weight.numpy()
                saved[id(weight)] = weight, values
                rng = np.random.default_rng([seed, place, n])
                weight.assign(rng.permutation(values.reshape(-1)).reshape(values.shape))
        yield model
    finally:
        for weight, values in saved.values():
            weight.assign(values)


def parameter_randomization(
    explainer,
    model,
    x,
    neuron_selection=None,
    *,
    order="cascading",
    similarities=("rank", "ssim"),
    absolute=False,
    seed=0,
    layers=None,
    batch_size=None,
):
    """Similarity of the maps of a model with randomized layers to those of the trained one: low if maps depend on the weights.

    Args:
        explainer: an `Explainer` of ``model``,
        which follows its weights; or a function model -> explainer,
            called anew at each step, for methods that keep what they once computed from weights.
        model: the explained keras.Model, with one input. Its weights are the old ones afterwards.
        x: array (N, ...).
        neuron_selection: None (the strongest of the trained model), an int, ints (N,), or a target of `tf_lrp.target`; the
            same at all steps.
        order: "cascading", from the output down, layer by layer until all are randomized; "bottom_up", from the input; or
            "independent", one layer at a time.
        similarities: names out of `tf_lrp.evaluation.measures.similarity.SIMILARITIES`.
        absolute: whether |R| is compared, as Adebayo et al. do too; else R with its sign.
        seed: int >= 0.
        layers: names of layers, or layers, to which this is restricted; by default all of `weighted_layers`.
        batch_size: instead of the explainer's own.

    Returns:
        List of `Row`, in the order of the steps.

    Raises:
        ValueError: for unknown words, layers or selections.

    Source: Adebayo et al. 2018, "Sanity checks for saliency maps".
    """
    if order not in ORDERS:
        raise ValueError(f"order is one of {', '.join(map(repr, ORDERS))}; got {order!r}.")
    _check_similarities(similarities)
    every = weighted_layers(model)
    places = range(len(every)) if layers is None else sorted({_place(every, layer) for layer in layers})
    follows = isinstance(explainer, Explainer)
    first = explainer if follows else explainer(model)
    explained = fixed_selection(first, x, neuron_selection)
    trained = first.analyze(x, explained, batch_size=batch_size)
    rows = []
    with contextlib.ExitStack() as cascade:
        for place in places if order == "bottom_up" else reversed(places):
            with contextlib.ExitStack() as alone:
                # Each layer is shuffled once: the cascade keeps those before.
                (alone if order == "independent" else cascade).enter_context(randomize(model, [every[place]], seed))
                maps = (explainer if follows else explainer(model)).analyze(x, explained, batch_size=batch_size)
            rows.append(Row(every[place].name, _compared(trained, maps, similarities, absolute)))
    return rows


def random_logit(
    explainer, x, neuron_selection=None, *, similarities=("rank", "ssim"), absolute=False, seed=0, batch_size=None
):
    """Similarity of the map of the explained class to that of another one, drawn at random: low if maps depend on the class.

    Both maps come from one forward pass.

    Args:
        explainer: an `Explainer` for a model with one input and one output (N, classes).
        x: array (N, ...).
        neuron_selection: None (the strongest), an int, or ints (N,).
        similarities, absolute, batch_size: as for `parameter_randomization`.
        seed: int >= 0; of all other classes each is as likely.

    Returns:
        dict name -> (N,).

    Raises:
        ValueError: for unknown words or selections, or a model with fewer than two classes.

    Source: Sixt et al. 2020, "When explanations lie: why many modified BP attributions fail".
    """
    _check_similarities(similarities)
    output = explainer.twin.outputs[0].shape
    if len(output) != 2 or (output[1] or 0) < 2:
        raise ValueError(f"Another class is drawn out of an output (N, classes) with two or more; it has shape {output}.")
    neurons = explained_neurons(explainer, x, neuron_selection)
    others = (neurons + np.random.default_rng(seed).integers(1, output[1], len(neurons))) % output[1]
    maps = explainer.analyze(x, np.stack([neurons, others], axis=1), batch_size=batch_size)
    return _compared(maps[:, 0], maps[:, 1], similarities, absolute)


def _learned(layer):
    """Its weights that are numbers; counters and the like are none."""
    if isinstance(layer, keras.layers.Normalization):
        return []
    return [weight for weight in layer.weights if keras.backend.is_float_dtype(weight.dtype)]


def _place(every, layer):
    """The place of a layer, given by itself or by its name."""
    found = [n for n, one in enumerate(every) if one is layer or one.name == layer]
    if len(found) != 1:
        known = ", ".join(repr(one.name) for one in every)
        said = f"{layer!r} names {len(found)} of them" if found else f"there is no {getattr(layer, 'name', layer)!r} among them"
        raise ValueError(f"Layers with weights are {known}; {said}. Give one of these names, or the layer itself.")
    return found[0]


def _check_similarities(names):
    unknown = [name for name in names if name not in SIMILARITIES]
    if unknown or isinstance(names, str) or not names:
        raise ValueError(f"similarities is a list out of {', '.join(map(repr, SIMILARITIES))}; got {names!r}.")


def _compared(a, b, names, absolute):
    if absolute:
        a, b = np.abs(a), np.abs(b)
    options = {"ssim": {"signed": not absolute}}
    return {name: SIMILARITIES[name](a, b, **options.get(name, {})).numpy() for name in names}
