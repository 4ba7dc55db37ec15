"""The table of layers and operations that only move values: they route, pick the largest, or do nothing at inference.

To add one, add a line to `_TABLE`. Its twin, the signs of its outputs, and whether gates and a softmax at the outputs are
recognized through it all follow from that line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
from keras import layers, tree

from tf_lrp.keras_compat import keras_classes, lengths
from tf_lrp.keras_compat.keras_classes import layer_classes, nearest_class, operation_classes
from tf_lrp.keras_compat.own_layers import ClippedMaxPooling2D
from tf_lrp.keras_compat.own_operations import MergeTime, SplitTime
from tf_lrp.operations import axes
from tf_lrp.operations.activation_table import activation_name


def _always(operation):
    return True


def _never(operation):
    return False


@dataclass(frozen=True)
class Routing:
    """How an operation moves values.

    Predicates take the operation.

    Attributes:
        routes: whether each output is a copy of an input, or a constant.
        shares: whether its derivatives are shares that add up to 1 for each output, as of copies.
        exact: whether the copies are exact: not rounded, and not reinterpreted as another type.
        inserts: whether its outputs may contain constants.
        values: positions and names of the arguments that hold the values, if other arguments only determine where values go;
            () means all arguments.
        joins: whether its outputs come from several arguments.
        picks: whether each output is the largest (or each the smallest) of several values, so that the operation commutes with
            increasing functions.
        ranks: whether its second output holds the positions of the values in its first output.
        identity: whether it returns its input unchanged at inference.
        only_in_training: whether it acts in training only.
        converts: whether it only changes the type, so that it has no effect on a tensor that already has the type.
        axis_after: where an axis of the input lies in the output, see `axes`.
    """

    routes: Callable = _never
    shares: bool = False
    exact: bool = True
    inserts: Callable = _never
    values: tuple = ()
    joins: bool = False
    picks: bool = False
    ranks: bool = False
    identity: Callable = _never
    only_in_training: bool = False
    converts: bool = False
    axis_after: Callable = axes.kept


#: Of an operation that is not in the table.
_UNKNOWN = Routing()


def _numbers(*structure):
    return set(tree.flatten(structure))


def _copies_neighbours(layer):
    return getattr(layer, "interpolation", "nearest") == "nearest"


def _pads(operation):
    return operation.padding not in (0, "valid", "VALID", (0, 0), [0, 0])


def _pads_by_size(operation):
    return operation.function.__name__ == "pad"


def _has_initial(operation):
    return getattr(operation, "initial", None) is not None


def _to_floats(cast):
    return keras.backend.is_float_dtype(cast.dtype)


def _pools_single_values(layer):
    return _numbers(layer.pool_size, layer.strides) == {1}


def _routes(**properties):
    return Routing(**{"routes": _always, **properties})


def _reshapes(rule, **properties):
    return _routes(axis_after=rule, **properties)


def _picks(**properties):
    return Routing(picks=True, axis_after=axes.mixed, **properties)


_JOINS = _routes(joins=True)
_IN_TRAINING = Routing(identity=_always, only_in_training=True)
_CONVERSION = Routing(identity=_always, converts=True)

#: (layers and operations, what they do with values).
_TABLE = (
    # Nothing at inference.
    (layer_classes(
        "Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "AlphaDropout", "GaussianDropout",
        "GaussianNoise", "ActivityRegularization", "AugMix", "CutMix", "MixUp", "RandAugment", "RandomBrightness",
        "RandomColorDegeneration", "RandomColorJitter", "RandomContrast", "RandomElasticTransform", "RandomErasing",
        "RandomFlip", "RandomGaussianBlur", "RandomGrayscale", "RandomHue", "RandomInvert", "RandomPerspective",
        "RandomPosterization", "RandomRotation", "RandomSaturation", "RandomSharpness", "RandomShear", "RandomTranslation",
        "RandomZoom",
    ), _IN_TRAINING),
    ((layers.Identity,), Routing(identity=_always)),
    (operation_classes("StopGradient"), Routing(identity=_always)),
    (operation_classes("Copy", "ConvertToTensor"), _CONVERSION),
    (operation_classes("Cast"), Routing(identity=_to_floats, converts=True)),
    (operation_classes("SaturateCast"), Routing(identity=_to_floats)),
    (operation_classes("View"), Routing(exact=False, converts=True)),
    # Shapes and axes.
    ((layers.Flatten, layers.Reshape, *operation_classes("Reshape", "Ravel")), _reshapes(axes.reshape)),
    ((lengths.Sized,), _reshapes(axes.sized, inserts=_pads_by_size)),
    ((MergeTime,), _reshapes(axes.merge_time)),
    ((SplitTime,), _reshapes(axes.split_time, values=(0, "x"))),
    ((layers.Permute,), _reshapes(axes.permute)),
    (operation_classes("Transpose"), _reshapes(axes.transpose)),
    (operation_classes("Swapaxes"), _reshapes(axes.swap)),
    (operation_classes("Moveaxis"), _reshapes(axes.move)),
    (operation_classes("Rot90"), _reshapes(axes.rotate)),
    (operation_classes("Squeeze"), _reshapes(axes.squeeze)),
    (operation_classes("ExpandDims"), _reshapes(axes.expand)),
    (operation_classes("DepthToSpace", "SpaceToDepth"), _reshapes(axes.mixed)),
    # Parts of a tensor.
    ((layers.Cropping1D, layers.Cropping2D, layers.Cropping3D), _routes(identity=lambda o: _numbers(o.cropping) == {0})),
    (operation_classes("CropImages", "Slice", "Split", "ArraySplit", "Hsplit", "Vsplit", "Dsplit"), _routes()),
    (operation_classes("GetItem"), _reshapes(axes.item, values=(0, "x"))),
    (operation_classes("Unstack"), _reshapes(axes.unstack)),
    (operation_classes("Diagonal"), _reshapes(axes.mixed)),
    # In another order, or several times.
    (operation_classes("Flip", "Fliplr", "Flipud"), _routes()),
    (operation_classes("Sort"), _reshapes(axes.sorted_along)),
    (operation_classes("Roll", "Repeat"), _reshapes(axes.unless_flattened)),
    (operation_classes("Tile"), _reshapes(axes.mixed)),
    (operation_classes("BroadcastTo"), _reshapes(axes.broadcast)),
    ((layers.RepeatVector,), _reshapes(axes.repeat_vector)),
    ((layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D),
     _routes(routes=_copies_neighbours, identity=lambda o: _numbers(o.size) == {1})),
    # Several tensors side by side.
    ((layers.Concatenate, *operation_classes("Concatenate", "Hstack", "Vstack", "Dstack")), _JOINS),
    (operation_classes("Append"), _reshapes(axes.unless_flattened, joins=True)),
    (operation_classes("Stack"), _reshapes(axes.stack, joins=True)),
    # With constants, or with values of one tensor replaced by those of another.
    ((layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D),
     _routes(inserts=_always, identity=lambda o: _numbers(o.padding) == {0})),
    (operation_classes("Pad", "PadImages", "Diag", "Diagflat", "Tril", "Triu"), _routes(inserts=_always)),
    ((layers.CenterCrop,), _routes(inserts=_always, exact=False)),  # it resizes pictures that are smaller than it crops
    (operation_classes("Unfold"), _reshapes(axes.mixed, inserts=_pads)),
    (operation_classes("ExtractPatches"), _reshapes(axes.mixed, inserts=_pads, exact=False)),  # copies as sums of products
    (operation_classes("Where"), _routes(joins=True, values=(1, 2, "x1", "x2"))),
    (operation_classes("SliceUpdate"), _routes(joins=True, values=(0, 2, "inputs", "updates"))),
    # Copies, the entries that a quantile lies between, and the smooth maximum, whose derivatives are its softmax.
    (operation_classes("Select", "Meshgrid", "Resize", "Median", "Quantile", "Percentile", "Logsumexp"), Routing(shares=True)),
    # The largest or smallest of several values.
    ((layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D), _picks(identity=_pools_single_values)),
    ((layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D, layers.GlobalMaxPooling3D, ClippedMaxPooling2D), _picks()),
    (layer_classes("AdaptiveMaxPooling1D", "AdaptiveMaxPooling2D", "AdaptiveMaxPooling3D"), _picks()),
    (operation_classes("MaxPool", "AdaptiveMaxPool", "Amax", "Amin"), _picks()),
    (operation_classes("TopK"), _picks(ranks=True)),
    (operation_classes("Max", "Min"), _picks(inserts=_has_initial)),
    ((layers.Maximum, layers.Minimum, keras_classes.Maximum, keras_classes.Minimum), _picks(joins=True)),
    # Of single values.
    ((layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D), Routing(identity=_pools_single_values)),
)  # fmt: skip

_OF_CLASS = {kind: routing for classes, routing in _TABLE for kind in classes}

#: Layers and operations whose twin is a `RoutingTwin`, or an `IdentityTwin`.
ROUTING_CLASSES = tuple(kind for kind, r in _OF_CLASS.items() if r.shares or r.routes is not _never)
IDENTITY_CLASSES = tuple(kind for kind, r in _OF_CLASS.items() if r.identity in (_always, _to_floats))
#: Layers that act in training only.
TRAINING_CLASSES = tuple(kind for kind, r in _OF_CLASS.items() if r.only_in_training)


def describe_routing(layer_class, *, inserts=False, joins=False, keeps_axes=False):
    """Adds a user's layer class to the table; for the arguments see `tf_lrp.register_routing`."""
    _OF_CLASS[layer_class] = Routing(
        routes=_always,
        inserts=_always if inserts else _never,
        joins=joins,
        axis_after=axes.kept if keeps_axes else axes.mixed,
    )


#: Changes of the type of numbers.
CASTS = operation_classes("Cast", "SaturateCast")


def is_cast_to_floats(operation):
    return isinstance(operation, CASTS) and _to_floats(operation)


def routing_of(operation):
    """`Routing` of an operation. A subclass that defines its own ``call`` may do anything."""
    return nearest_class(_OF_CLASS, operation) or _UNKNOWN


def is_identity(operation):
    """Whether an operation returns the values of its input unchanged at inference; their float type may differ."""
    return routing_of(operation).identity(operation) or (
        isinstance(operation, layers.Activation) and activation_name(operation) == "linear"
    )


def only_in_training(operation):
    """Whether a layer acts in training only."""
    return routing_of(operation).only_in_training


def moves_values(operation):
    """Whether each output of an operation is an exact copy of an input, or a constant."""
    routing = routing_of(operation)
    return is_identity(operation) or (routing.routes(operation) and routing.exact)


def moves_entries(operation):
    """Whether an operation returns unchanged entries of strings and integers."""
    routing = routing_of(operation)
    return is_identity(operation) or routing.routes(operation) or routing.converts


def values_in(operation, args, kwargs):
    """The arguments whose values an operation moves: a flat list of tensors, numbers and arrays."""
    which = routing_of(operation).values
    if which:
        args, kwargs = [a for n, a in enumerate(args) if n in which], {k: a for k, a in kwargs.items() if k in which}
    return [leaf for leaf in tree.flatten((args, kwargs)) if leaf is not None and not isinstance(leaf, str)]
