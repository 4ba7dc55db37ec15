"""Randomization: whether explanations depend on what the model has learned, and on the class that is explained.

Weights are randomized in place and restored. Explainers read the current weights of their model, so one explainer, compiled
once, serves all steps; a clone of the model would need a new explainer at each step.
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
        similarities: name -> (N,), similarity of each sample's map to that of the trained model.
    """

    layer: str
    similarities: dict


def weighted_layers(model):
    """The layers with learned weights, from the input to the output, including those of nested models.

    `keras.layers.Normalization` is not among them: its weights are statistics of the data.

    Args:
        model: a built keras.Model.

    Returns:
        List of layers, each once.
    """
    result = []
    for layer in model.layers:
        inner = weighted_layers(layer) if isinstance(layer, keras.Model) else [layer] if _learned_weights(layer) else []
        result += [each for each in inner if not any(each is known for known in result)]
    return result


@contextlib.contextmanager
def randomize(model, layers=None, seed=0):
    """Shuffles the weights of layers for the duration of the ``with`` block; then restores them exactly, also after an error.

    The values of each weight tensor are permuted. This destroys what was learned, but keeps mean and variance of the weights,
    and with them the scale of activations and relevance, and signs that are required, such as those of the variances of batch
    normalization. A tensor of equal values, such as biases of zero, does not change. The permutation depends only on the seed
    and on the layer's position in the model, not on which other layers are randomized with it.

    Args:
        model: a built keras.Model; it is modified in place.
        layers: names of layers, or layers; by default all of `weighted_layers`.
        seed: int >= 0.

    Yields:
        The model.

    Raises:
        ValueError: a layer that is not part of the model, or has no weights.
    """
    every = weighted_layers(model)
    places = range(len(every)) if layers is None else [_place(every, layer) for layer in layers]
    # A variable that layers share is saved only once, before it is shuffled.
    saved = {}
    try:
        for place in sorted(set(places)):
            for n, weight in enumerate(_learned_weights(every[place])):
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
    """Similarity of maps between the trained model and the model with randomized layers: low if maps depend on the weights.

    Args:
        explainer: an `Explainer` of ``model``, which uses its current weights; or a function model -> explainer, called at each
            step, for methods that cache values computed from the weights.
        model: the explained keras.Model, with one input. Its weights are restored afterwards.
        x: array (N, ...).
        neuron_selection: None (the strongest of the trained model), an int, ints (N,), or a target of `tf_lrp.target`; the
            same at all steps.
        order: "cascading", from the output down, layer by layer until all are randomized; "bottom_up", from the input; or
            "independent", one layer at a time.
        similarities: names out of `tf_lrp.evaluation.measures.similarity.SIMILARITIES`.
        absolute: whether |R| is compared, as Adebayo et al. also do; otherwise R with its sign.
        seed: int >= 0.
        layers: names of layers, or layers, to which this is restricted; by default all of `weighted_layers`.
        batch_size: instead of the explainer's own.

    Returns:
        List of `Row`, in the order of the steps.

    Raises:
        ValueError: an unknown order, similarity, layer or selection.

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
            with contextlib.ExitStack() as single:
                # Each layer is shuffled once: the cascade keeps the layers before it shuffled.
                (single if order == "independent" else cascade).enter_context(randomize(model, [every[place]], seed))
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
        seed: int >= 0; each of the other classes is equally likely.

    Returns:
        dict name -> (N,).

    Raises:
        ValueError: an unknown similarity or selection, or a model with fewer than two classes.

    Source: Sixt et al. 2020, "When explanations lie: why many modified BP attributions fail".
    """
    _check_similarities(similarities)
    output = explainer.twin.outputs[0].shape
    if len(output) != 2 or (output[1] or 0) < 2:
        raise ValueError(f"Drawing another class needs an output (N, classes) with two or more classes; it has shape {output}.")
    neurons = explained_neurons(explainer, x, neuron_selection)
    others = (neurons + np.random.default_rng(seed).integers(1, output[1], len(neurons))) % output[1]
    maps = explainer.analyze(x, np.stack([neurons, others], axis=1), batch_size=batch_size)
    return _compared(maps[:, 0], maps[:, 1], similarities, absolute)


def _learned_weights(layer):
    """The weights of floats; integers are counters or seeds."""
    if isinstance(layer, keras.layers.Normalization):
        return []
    return [weight for weight in layer.weights if keras.backend.is_float_dtype(weight.dtype)]


def _place(every, layer):
    """The position of a layer, given by itself or by its name."""
    matches = [n for n, one in enumerate(every) if one is layer or one.name == layer]
    if len(matches) != 1:
        known = ", ".join(repr(one.name) for one in every)
        said = (
            f"{layer!r} is the name of {len(matches)} of them"
            if matches
            else f"there is no {getattr(layer, 'name', layer)!r} among them"
        )
        raise ValueError(f"Layers with weights are {known}; {said}. Give one of these names, or the layer itself.")
    return matches[0]


def _check_similarities(names):
    unknown = [name for name in names if name not in SIMILARITIES]
    if unknown or isinstance(names, str) or not names:
        raise ValueError(f"similarities is a list out of {', '.join(map(repr, SIMILARITIES))}; got {names!r}.")


def _compared(a, b, names, absolute):
    if absolute:
        a, b = np.abs(a), np.abs(b)
    options = {"ssim": {"signed": not absolute}}
    return {name: SIMILARITIES[name](a, b, **options.get(name, {})).numpy() for name in names}
