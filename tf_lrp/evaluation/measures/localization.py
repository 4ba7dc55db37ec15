"""Localization: how much of the relevance lies on the object that is explained.

Maps are relevance summed over channels (`pool`), shape (..., H, W); masks are bool and broadcast against them. All functions
are TensorFlow, support any number of leading axes, take arrays as well as tensors, and return a tensor (...). Rotating or
flipping map and mask together changes nothing: pixels of equal relevance share their ranks, as if ties were broken at random.
For an empty mask the result is NaN.
"""

from __future__ import annotations

import tensorflow as tf

from tf_lrp.evaluation.measures.similarity import pearson

#: How `pool` turns the channels of a pixel into one number.
POOLINGS = {
    "sum": lambda r: tf.reduce_sum(r, axis=-1),
    "sum,abs": lambda r: tf.abs(tf.reduce_sum(r, axis=-1)),
    "l1": lambda r: tf.reduce_sum(tf.abs(r), axis=-1),
    "l2": lambda r: tf.sqrt(tf.reduce_sum(r**2, axis=-1)),
    "l2,squared": lambda r: tf.reduce_sum(r**2, axis=-1),
    "max,abs": lambda r: tf.reduce_max(tf.abs(r), axis=-1),
    "positive,sum": lambda r: tf.reduce_sum(tf.nn.relu(r), axis=-1),
}


def pool(relevance, how="sum"):
    """Reduces the channels to one number for each pixel: (..., H, W, C) -> (..., H, W).

    Args:
        relevance: (..., H, W, C), in units of the output.
        how: one of `POOLINGS` (Arras et al. 2022, "CLEVR-XAI", section 3.4).

    Raises:
        ValueError: an unknown pooling.
    """
    if how not in POOLINGS:
        raise ValueError(f"Relevance is pooled over channels by one of {', '.join(map(repr, POOLINGS))}; got {how!r}.")
    return POOLINGS[how](tf.convert_to_tensor(relevance))


def area(masks):
    """S_in / S_tot: the share of the pixels that the mask covers, float32 (...)."""
    return tf.reduce_mean(tf.cast(masks, tf.float32), axis=(-2, -1))


def inside_total_ratio(maps, masks):
    """mu = R_in / R_tot: the share of the positive relevance that lies inside the mask.

    With maps pooled to be non-negative this is the relevance mass accuracy of Arras et al. 2022.

    Args:
        maps: (..., H, W).
        masks: bool, broadcasts against ``maps``.

    Returns:
        (...) in 0..1; the share of the area for a uniform map; 0 where no relevance is positive.

    Source: Kohlbrenner et al. 2020, eq. 5.
    """
    maps, masks = _checked(maps, masks)
    positive = tf.nn.relu(maps)
    # Divided by the strongest pixel first: the sum of tiny relevance could underflow, that of huge relevance overflow.
    strongest = tf.reduce_max(positive, axis=(-2, -1), keepdims=True)
    positive = tf.math.divide_no_nan(positive, strongest)
    inside = tf.reduce_sum(tf.where(masks, positive, 0), axis=(-2, -1))
    return _nan_if_empty(tf.math.divide_no_nan(inside, tf.reduce_sum(positive, axis=(-2, -1))), masks)


def weighted_inside_total_ratio(maps, masks):
    """mu_w = mu S_tot / S_in: the positive relevance inside the mask, relative to that of a uniform map.

    Args:
        maps, masks: as for `inside_total_ratio`.

    Returns:
        (...) from 0 to S_tot / S_in; 1 for a uniform map.

    Source: Kohlbrenner et al. 2020, eq. 5.
    """
    return inside_total_ratio(maps, masks) / tf.cast(area(masks), tf.convert_to_tensor(maps).dtype)


def rank_accuracy(maps, masks):
    """The share of the K most relevant pixels that lie inside the mask, where K is the mask's own number of pixels.

    Args:
        maps, masks: as for `inside_total_ratio`; only the order of the maps' values counts, negative ones included.

    Returns:
        (...) in 0..1; the share of the area for a uniform map.

    Source: Arras et al. 2022, "CLEVR-XAI", section 3.3.
    """
    maps, masks = _checked(maps, masks)
    count = tf.maximum(tf.reduce_sum(tf.cast(masks, tf.int32), axis=(-2, -1)), 1)
    return _share_of_strongest(maps, masks, count, _largest(maps, count))


def top_k_intersection(maps, masks, k=1000):
    """The share of the k most relevant pixels that lie inside the mask.

    Args:
        maps, masks: as for `rank_accuracy`.
        k: int >= 1; at most as many as there are pixels.

    Returns:
        (...) in 0..1; at most its size over k for a mask smaller than k.

    Raises:
        ValueError: k < 1.

    Source: Theiner et al. 2022, "Interpretable semantic photo geolocation".
    """
    if k < 1:
        raise ValueError(f"The k most relevant pixels need a k of at least 1; got {k}.")
    maps, masks = _checked(maps, masks)
    flat = tf.reshape(maps, tf.concat([tf.shape(maps)[:-2], [-1]], axis=0))
    leading = tf.math.top_k(flat, tf.minimum(k, tf.shape(flat)[-1])).values
    return _share_of_strongest(maps, masks, tf.shape(leading)[-1], leading[..., -1])


def pointing_game(maps, masks, tolerance=0):
    """Whether the most relevant pixel lies inside the mask: 1 or 0; of several equally strong pixels the share inside.

    Args:
        maps, masks: as for `rank_accuracy`.
        tolerance: pixels, horizontally and vertically, by which the strongest may miss the mask (Zhang et al. use 15).

    Returns:
        (...) in 0..1.

    Source: Zhang et al. 2018, "Top-down neural attention by excitation backprop", section 5.1.
    """
    maps, masks = _checked(maps, masks)
    reached = _dilated(masks, tolerance) if tolerance else masks
    strongest = maps >= tf.reduce_max(maps, axis=(-2, -1), keepdims=True)
    hits = tf.reduce_sum(tf.cast(strongest & reached, maps.dtype), axis=(-2, -1))
    return _nan_if_empty(hits / tf.reduce_sum(tf.cast(strongest, maps.dtype), axis=(-2, -1)), masks)


def grid_pointing(maps, grid=(2, 2)):
    """The share of the positive relevance in each cell of a mosaic.

    Args:
        maps: (..., H, W), where the grid divides height and width.
        grid: (rows, columns).

    Returns:
        (..., rows * columns), row by row. The score of a class is the entry of its own cell; chance is 1 / cells.

    Raises:
        ValueError: the grid does not divide the map.

    Source: Rao et al. 2022, "Towards better understanding attribution methods" (GridPG).
    """
    maps = tf.convert_to_tensor(maps)
    (rows, columns), (height, width) = grid, maps.shape[-2:]
    if height % rows or width % columns:
        raise ValueError(f"A grid of {rows} x {columns} cells does not divide a map of {height} x {width} pixels.")
    row = tf.range(height)[:, tf.newaxis] // (height // rows)
    column = tf.range(width)[tf.newaxis] // (width // columns)
    cells = tf.range(rows * columns)[:, tf.newaxis, tf.newaxis] == row * columns + column
    return inside_total_ratio(maps[..., tf.newaxis, :, :], cells)


def class_discrimination(maps):
    """1 - r, with Pearson's correlation r of the maps of two classes of one picture: how much a map depends on the class.

    Args:
        maps: (..., K, H, W), one map for each of K classes.

    Returns:
        (...): the mean over all pairs of classes; 0 if the maps are equal, 1 if they are uncorrelated, 2 if they are opposites.
        NaN for a single class, or where maps are constant.
    """
    maps = tf.convert_to_tensor(maps)
    classes = maps.shape[-3]
    pairs = [(k, other) for other in range(classes) for k in range(other)]
    if not pairs:
        return tf.fill(tf.shape(maps)[:-3], tf.constant(float("nan"), maps.dtype))
    lead = tf.shape(maps)[:-3]
    flat = tf.reshape(maps, tf.concat([[-1], tf.shape(maps)[-3:]], axis=0))
    distances = [1 - pearson(flat[:, k], flat[:, other]) for k, other in pairs]
    return tf.reshape(tf.reduce_mean(tf.cast(tf.stack(distances), maps.dtype), axis=0), lead)


#: What `measure` computes and tables show: name in results -> (header in tables, function of maps, masks, k, tolerance).
MEASURES = {
    "mu": ("mu", lambda maps, masks, k, tolerance: inside_total_ratio(maps, masks)),
    "mu_w": ("mu_w", lambda maps, masks, k, tolerance: weighted_inside_total_ratio(maps, masks)),
    "rank_accuracy": ("rank accuracy", lambda maps, masks, k, tolerance: rank_accuracy(maps, masks)),
    "top_k": ("top-k intersection", lambda maps, masks, k, tolerance: top_k_intersection(maps, masks, k)),
    "pointing": ("pointing game", lambda maps, masks, k, tolerance: pointing_game(maps, masks, tolerance)),
}


def measure(maps, masks, k=1000, tolerance=0):
    """All measures of a map and a mask at once.

    Args:
        maps, masks: as for `inside_total_ratio`.
        k: of `top_k_intersection`.
        tolerance: of `pointing_game`.

    Returns:
        dict of tensors (...): those of `MEASURES`, and ``area``, the mask's share of the picture.
    """
    values = {name: function(maps, masks, k, tolerance) for name, (_, function) in MEASURES.items()}
    return {**values, "area": area(masks)}


def _checked(maps, masks):
    maps, masks = tf.convert_to_tensor(maps), tf.cast(masks, tf.bool)
    if maps.dtype not in (tf.float32, tf.float64):
        maps = tf.cast(maps, tf.float32)
    if maps.shape.rank is not None and masks.shape.rank is not None and min(maps.shape.rank, masks.shape.rank) < 2:
        raise ValueError(f"Expected maps and masks (..., H, W); got shapes {maps.shape} and {masks.shape}.")
    if not maps.shape[-2:].is_compatible_with(masks.shape[-2:]):
        raise ValueError(
            f"Maps and masks must have the same height and width; got {maps.shape[-2:]} and {masks.shape[-2:]}. Relevance "
            "(..., H, W, C) is summed over channels first, see pool()."
        )
    shape = tf.broadcast_dynamic_shape(tf.shape(maps), tf.shape(masks))
    return tf.broadcast_to(maps, shape), tf.broadcast_to(masks, shape)


def _nan_if_empty(values, masks):
    """NaN where the mask is empty."""
    return tf.where(tf.reduce_any(masks, axis=(-2, -1)), values, tf.constant(float("nan"), values.dtype))


def _share_of_strongest(maps, masks, count, last):
    """Of the ``count`` (...) strongest pixels, down to the value ``last`` (...), the share inside.

    Pixels that tie for the last ranks share them.
    """
    last = last[..., tf.newaxis, tf.newaxis]

    def number(chosen):
        return tf.reduce_sum(tf.cast(chosen, maps.dtype), axis=(-2, -1))

    above, level = maps > last, tf.equal(maps, last)
    places = tf.cast(count, maps.dtype)
    share = number(level & masks) / number(level)
    return _nan_if_empty((number(above & masks) + (places - number(above)) * share) / places, masks)


def _largest(maps, count):
    """The ``count``-th largest value of each map, (..., H, W) and (...) -> (...): exact, and faster than sorting.

    Read as integers, floats have the same order if the bits of negative ones are inverted. The result, the largest value that
    at least ``count`` pixels reach, is determined bit by bit.
    """
    integer, width = (tf.int32, 32) if maps.dtype == tf.float32 else (tf.int64, 64)
    limits = integer.min, integer.max

    def reordered(bits):
        return tf.where(bits < 0, tf.bitwise.bitwise_xor(bits, limits[1]), bits)

    ordered = reordered(tf.bitcast(maps + 0.0, integer))  # -0.0 + 0.0 = 0.0: both zeros become equal
    largest = tf.fill(tf.shape(count), tf.constant(limits[0], integer))
    for bit in reversed(range(width)):
        candidate = tf.zeros_like(largest) if bit == width - 1 else largest + tf.constant(1 << bit, integer)
        reaching = tf.math.count_nonzero(ordered >= candidate[..., tf.newaxis, tf.newaxis], axis=(-2, -1), dtype=count.dtype)
        largest = tf.where(reaching >= count, candidate, largest)
    return tf.bitcast(reordered(largest), maps.dtype)


def _dilated(masks, tolerance):
    """The pixels within ``tolerance`` of the mask along both axes."""
    shape = tf.shape(masks)
    pictures = tf.reshape(tf.cast(masks, tf.float32), tf.concat([[-1], shape[-2:], [1]], axis=0))
    return tf.reshape(tf.nn.max_pool2d(pictures, 2 * tolerance + 1, 1, "SAME") > 0, shape)
