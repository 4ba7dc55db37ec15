"""Element-wise layers: relevance passes."""

from __future__ import annotations

from keras import layers as L

from tf_lrp import keras_internals as K
from tf_lrp.rules import Pass
from tf_lrp.twins.base import Twin, with_relevance
from tf_lrp.twins.registry import twin_for


@twin_for(
    L.Activation, L.ReLU, L.LeakyReLU, L.PReLU, L.ELU, L.Softmax,
    L.Dropout, L.SpatialDropout1D, L.SpatialDropout2D, L.SpatialDropout3D, L.AlphaDropout, L.GaussianDropout, L.GaussianNoise,
    L.ActivityRegularization, L.Identity,
    *K.ELEMENTWISE_FUNCTIONS,
)  # fmt: skip
class PassTwin(Twin):
    """y = f(x) forward, R_x = R_y backward; x and y have one shape. Noise and dropout are off, as at inference."""

    rules = (Pass,)

    @classmethod
    def supports(cls, inputs):
        return len(inputs) == 1

    def compute(self, x):
        return x if isinstance(self.operation, _NOISE) else super().compute(x)

    def call(self, x):
        return with_relevance(self.compute(x), [x], lambda relevance: [relevance])


_NOISE = (L.Dropout, L.SpatialDropout1D, L.SpatialDropout2D, L.SpatialDropout3D, L.AlphaDropout, L.GaussianDropout,
          L.GaussianNoise, L.ActivityRegularization)  # fmt: skip


@twin_for(K.Add, K.Subtract, K.Multiply, K.Divide, K.TrueDivide)
class ConstantTwin(PassTwin):
    """x + c, x - c, x * c, x / c with a constant c: the same quantity in other units, so relevance passes."""
