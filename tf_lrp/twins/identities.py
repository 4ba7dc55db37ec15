"""What returns its input as it is when a model is used: the one table that everything else asks."""

from __future__ import annotations

import keras
from keras import layers as L

from tf_lrp import keras_internals as K
from tf_lrp.affine import registered

#: Noise, dropout and random changes of pictures, which do nothing at inference.
_ONLY_IN_TRAINING = (
    "Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "AlphaDropout", "GaussianDropout", "GaussianNoise",
    "ActivityRegularization", "AugMix", "CutMix", "MixUp", "RandAugment", "RandomBrightness", "RandomColorDegeneration",
    "RandomColorJitter", "RandomContrast", "RandomElasticTransform", "RandomErasing", "RandomFlip", "RandomGaussianBlur",
    "RandomGrayscale", "RandomHue", "RandomInvert", "RandomPerspective", "RandomPosterization", "RandomRotation",
    "RandomSaturation", "RandomSharpness", "RandomShear", "RandomTranslation", "RandomZoom",
)  # fmt: skip
TRAINING_LAYERS = tuple(getattr(L, name) for name in _ONLY_IN_TRAINING if hasattr(L, name))

#: Layers that return their input as it is, whatever their parameters.
IDENTITY_LAYERS = (*TRAINING_LAYERS, L.Identity)

_CASTS = K.operation_classes("Cast", "SaturateCast")


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
    **dict.fromkeys((*IDENTITY_LAYERS, *K.operation_classes("StopGradient", "Copy", "ConvertToTensor")), _always),
    **dict.fromkeys(_CASTS, _to_floats),
    L.Activation: _is_linear,
    **dict.fromkeys((L.ZeroPadding1D, L.ZeroPadding2D, L.ZeroPadding3D), _adds_nothing),
    **dict.fromkeys((L.Cropping1D, L.Cropping2D, L.Cropping3D), _cuts_nothing),
    **dict.fromkeys((L.UpSampling1D, L.UpSampling2D, L.UpSampling3D), _enlarges_nothing),
    **dict.fromkeys(
        (L.MaxPooling1D, L.MaxPooling2D, L.MaxPooling3D, L.AveragePooling1D, L.AveragePooling2D, L.AveragePooling3D),
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
    return registered(dict.fromkeys(TRAINING_LAYERS, True), operation) is not None
