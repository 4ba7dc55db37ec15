"""What returns its input as it is when a model is used: the one table that everything else asks."""

from __future__ import annotations

import keras
from keras import layers

from tf_lrp.affine import registered
from tf_lrp.keras_compat import internals

#: Noise, dropout and random changes of pictures, which do nothing at inference.
_ONLY_IN_TRAINING = (
    "Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "AlphaDropout", "GaussianDropout", "GaussianNoise",
    "ActivityRegularization", "AugMix", "CutMix", "MixUp", "RandAugment", "RandomBrightness", "RandomColorDegeneration",
    "RandomColorJitter", "RandomContrast", "RandomElasticTransform", "RandomErasing", "RandomFlip", "RandomGaussianBlur",
    "RandomGrayscale", "RandomHue", "RandomInvert", "RandomPerspective", "RandomPosterization", "RandomRotation",
    "RandomSaturation", "RandomSharpness", "RandomShear", "RandomTranslation", "RandomZoom",
)  # fmt: skip
TRAINING_LAYERS = tuple(getattr(layers, name) for name in _ONLY_IN_TRAINING if hasattr(layers, name))

#: Layers that return their input as it is, whatever their parameters.
IDENTITY_LAYERS = (*TRAINING_LAYERS, layers.Identity)

_TRAINING = dict.fromkeys(TRAINING_LAYERS, True)
_CASTS = internals.operation_classes("Cast", "SaturateCast")


def _always(operation):
    return True


def _is_linear(layer):
    return layer.activation is keras.activations.linear


def _to_floats(cast):
    return keras.backend.is_float_dtype(cast.dtype)


def _adds_nothing(layer):
    return not any(_numbers(layer.padding))


def _cuts_nothing(layer):
    return not any(_numbers(layer.cropping))


def _enlarges_nothing(layer):
    return set(_numbers(layer.size)) == {1}


def _pools_nothing(layer):
    return set(_numbers((layer.pool_size, layer.strides))) == {1}


def _numbers(structure):
    return keras.tree.flatten(structure)


#: Class -> whether an operation of it returns its input as it is.
_HOLDS = {
    **dict.fromkeys((*IDENTITY_LAYERS, *internals.operation_classes("StopGradient", "Copy", "ConvertToTensor")), _always),
    **dict.fromkeys(_CASTS, _to_floats),
    layers.Activation: _is_linear,
    **dict.fromkeys((layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D), _adds_nothing),
    **dict.fromkeys((layers.Cropping1D, layers.Cropping2D, layers.Cropping3D), _cuts_nothing),
    **dict.fromkeys((layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D), _enlarges_nothing),
    **dict.fromkeys(
        (
            layers.MaxPooling1D,
            layers.MaxPooling2D,
            layers.MaxPooling3D,
            layers.AveragePooling1D,
            layers.AveragePooling2D,
            layers.AveragePooling3D,
        ),
        _pools_nothing,
    ),
}


def is_identity(operation):
    """Whether an operation returns its input's values as they are, at inference; types of floats may differ.

    A subclass that defines its own ``call`` may do anything, and counts as none.
    """
    holds = registered(_HOLDS, operation)
    return holds is not None and holds(operation)


def only_in_training(operation):
    """Whether a layer is one of those that act in training alone."""
    return registered(_TRAINING, operation) is not None
