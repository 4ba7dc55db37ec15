"""Builders of the zoo's own networks: plain Keras functional models with random weights.

Layer names are those of the weight files, whose keys are "<layer>/<weight>". Activations, batch normalization and
pooling are layers of their own (only `vgg16_like` fuses its ReLUs, as Keras's VGG16 does), so relevance can be asked
for at each of them. Reading weights is the business of `weight_files`.
"""

import keras
from keras import layers

from .shapes import CLASSES, SIZE


def _head(x, output, activations, name):
    """Puts the activation named by `output` on the logits; "logits" leaves them bare."""
    if output == "logits":
        return x
    if output not in activations:
        raise ValueError(f"output must be one of {('logits', *activations)}; got {output!r}.")
    return layers.Activation(output, name=name)(x)


# ---- LeNet-5 --------------------------------------------------------------------------------------------------------


def lenet5(output="logits"):
    """LeNet-5 for handwritten digits as in the LRP Toolbox (Lapuschkin et al. 2016).

    The toolbox pools by sum / sqrt(4), which is twice the mean. Here average pooling stands in its place and the
    factor two belongs to the kernel that follows, so weights of the toolbox are doubled there as they are read.

    Args:
        output: "logits" (as the original) or "softmax".

    Returns:
        keras.Model: (N, 32, 32, 1) in [-1, 1] -> (N, 10).
    """
    x = inputs = keras.Input((32, 32, 1), name="input")
    for i, (filters, kernel) in enumerate([(10, 5), (25, 5), (100, 4)], 1):
        x = layers.Conv2D(filters, kernel, name=f"conv{i}")(x)
        x = layers.ReLU(name=f"relu{i}")(x)
        x = layers.AveragePooling2D(2, name=f"pool{i}")(x)
    x = layers.Conv2D(10, 1, name="conv4")(x)
    x = layers.Flatten(name="flatten")(x)
    return keras.Model(inputs, _head(x, output, ("softmax",), "softmax"), name="lenet5")


# ---- VGG ------------------------------------------------------------------------------------------------------------


def vgg16_like(input_shape=(64, 64, 3), classes=10, width=8, output="softmax", seed=0):
    """VGG16 (Simonyan & Zisserman 2015) with fewer channels, and weights that are random but always the same.

    With input_shape=(224, 224, 3), classes=1000, width=64 it has the layers and the weight shapes of VGG16; the softmax
    is a layer of its own.

    Args:
        input_shape: (H, W, C), height and width at least 32.
        classes: number of outputs.
        width: channels of the first block; the others and the dense layers follow in VGG16's proportions.
        output: "softmax" or "logits".
        seed: int, of the random weights (He-normal kernels, small normal biases: signals keep their size through
            all sixteen layers, and biases are not zero, so a test sees what a rule does with them).

    Returns:
        keras.Model: (N, H, W, C) -> (N, classes).
    """
    if len(input_shape) != 3 or None in input_shape or min(input_shape[:2]) < 32:
        raise ValueError(
            f"input_shape must be (H, W, C) with H and W at least 32, as the net halves them five times; "
            f"got {tuple(input_shape)}."
        )
    seeds = iter(range(seed * 1000, seed * 1000 + 1000))

    def random_weights():
        return {
            "kernel_initializer": keras.initializers.HeNormal(seed=next(seeds)),
            "bias_initializer": keras.initializers.RandomNormal(stddev=0.05, seed=next(seeds)),
        }

    x = inputs = keras.Input(input_shape, name="input")
    for block, (repeats, factor) in enumerate([(2, 1), (2, 2), (3, 4), (3, 8), (3, 8)], 1):
        for i in range(1, repeats + 1):
            name = f"block{block}_conv{i}"
            x = layers.Conv2D(width * factor, 3, padding="same", activation="relu", name=name, **random_weights())(x)
        x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    for name in ("fc1", "fc2"):
        x = layers.Dense(64 * width, activation="relu", name=name, **random_weights())(x)
    x = layers.Dense(classes, name="predictions", **random_weights())(x)
    return keras.Model(inputs, _head(x, output, ("softmax",), "softmax"), name="vgg16_like")


# ---- SqueezeNet -----------------------------------------------------------------------------------------------------


def squeezenet(input_shape=(224, 224, 3), output="softmax"):
    """SqueezeNet v1.1 (Iandola et al. 2016): fire modules, no dense layer.

    The class scores are means of a rectified map, so the logits are never negative.

    Args:
        input_shape: (H, W, 3); any size, also None, since the net is fully convolutional. At 224 and 448 the pooling
            grids divide exactly and Keras agrees with Caffe, where the network comes from.
        output: "softmax" or "logits".

    Returns:
        keras.Model: (N, H, W, 3), BGR minus the ImageNet mean -> (N, 1000).
    """

    def conv_relu(x, filters, kernel, name, **options):
        x = layers.Conv2D(filters, kernel, name=name, **options)(x)
        return layers.ReLU(name=name + "_relu")(x)

    x = inputs = keras.Input(input_shape, name="data")
    x = conv_relu(x, 64, 3, "conv1", strides=2)
    x = layers.MaxPooling2D(3, 2, name="pool1")(x)
    for fire, squeezed in zip(range(2, 10), (16, 16, 32, 32, 48, 48, 64, 64), strict=True):
        x = conv_relu(x, squeezed, 1, f"fire{fire}_squeeze1x1")
        narrow = conv_relu(x, squeezed * 4, 1, f"fire{fire}_expand1x1")
        wide = conv_relu(x, squeezed * 4, 3, f"fire{fire}_expand3x3", padding="same")
        x = layers.Concatenate(name=f"fire{fire}_concat")([narrow, wide])
        if fire in (3, 5):
            x = layers.MaxPooling2D(3, 2, name=f"pool{fire}")(x)
    x = layers.Dropout(0.5, name="drop9")(x)
    x = conv_relu(x, 1000, 1, "conv10")
    x = layers.GlobalAveragePooling2D(name="logits")(x)
    return keras.Model(inputs, _head(x, output, ("softmax",), "prob"), name="squeezenet")


# ---- MobileNets -----------------------------------------------------------------------------------------------------


def mobilenet_v1_025(input_shape=(224, 224, 3), output="softmax"):
    """MobileNet v1 (Howard et al. 2017) of width 0.25: depthwise and 1x1 convolutions, batch normalization, ReLU6.

    Args:
        input_shape: (H, W, 3); any size, also None.
        output: "softmax" or "logits".

    Returns:
        keras.Model: (N, H, W, 3), RGB in [-1, 1] -> (N, 1000).
    """

    def normalized(x, name):
        x = layers.BatchNormalization(epsilon=1e-3, name=name + "_bn")(x)
        return layers.ReLU(6.0, name=name + "_relu")(x)

    x = inputs = keras.Input(input_shape, name="input")
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="conv1")(x)
    x = normalized(x, "conv1")
    channels = (16, 32, 32, 64, 64, 128, 128, 128, 128, 128, 128, 256, 256)
    for i, filters in enumerate(channels, 1):
        strides = 2 if i in (2, 4, 6, 12) else 1
        x = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False, name=f"conv_dw_{i}")(x)
        x = normalized(x, f"conv_dw_{i}")
        x = layers.Conv2D(filters, 1, use_bias=False, name=f"conv_pw_{i}")(x)
        x = normalized(x, f"conv_pw_{i}")
    x = layers.GlobalAveragePooling2D(keepdims=True, name="avg_pool")(x)
    x = layers.Dropout(1e-3, name="dropout")(x)
    x = layers.Conv2D(1000, 1, name="conv_preds")(x)
    x = layers.Reshape((1000,), name="logits")(x)
    return keras.Model(inputs, _head(x, output, ("softmax",), "act_softmax"), name="mobilenet_v1_025")


def mobilenet_v2_100(input_shape=(224, 224, 3), output="softmax"):
    """MobileNet v2 (Sandler et al. 2018) of width 1.0 with its batch normalization folded into kernels and biases.

    Inverted bottlenecks: 1x1 expansion, depthwise 3x3, linear 1x1 projection, and a sum around those that keep shape.

    Args:
        input_shape: (H, W, 3); any size, also None.
        output: "softmax" or "logits".

    Returns:
        keras.Model: (N, H, W, 3), (RGB - 128) / 127 -> (N, 1000).
    """

    def conv_relu(x, filters, kernel, name, strides=1):
        x = layers.Conv2D(filters, kernel, strides=strides, padding="same", name=name)(x)
        return layers.ReLU(6.0, name=name + "_relu")(x)

    def bottleneck(x, name, expansion, filters, strides):
        y = x
        if expansion > 1:
            y = conv_relu(y, x.shape[-1] * expansion, 1, name + "_expand")
        y = layers.DepthwiseConv2D(3, strides=strides, padding="same", name=name + "_depthwise")(y)
        y = layers.ReLU(6.0, name=name + "_depthwise_relu")(y)
        y = layers.Conv2D(filters, 1, name=name + "_project")(y)
        return layers.Add(name=name + "_add")([x, y]) if y.shape == x.shape else y

    x = inputs = keras.Input(input_shape, name="input")
    x = conv_relu(x, 32, 3, "Conv1", strides=2)
    stages = [(16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1)]
    block = 0
    for filters, repeats, strides in stages:
        for repeat in range(repeats):
            expansion = 6 if block else 1
            x = bottleneck(x, f"block_{block}", expansion, filters, strides if repeat == 0 else 1)
            block += 1
    x = conv_relu(x, 1280, 1, "Conv_1")
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = layers.Dense(1000, name="logits")(x)
    return keras.Model(inputs, _head(x, output, ("softmax",), "softmax"), name="mobilenet_v2_100")


# ---- shapes ---------------------------------------------------------------------------------------------------------


def shapes_net(output="logits"):
    """Network of `shapes`: five 3x3 convolutions with batch normalization, global max pooling, a dense layer.

    The global max pooling makes the evidence for a class local: each feature counts at the one place where it is
    strongest, which sees 62 of the 96 pixels at most and mostly the object itself.

    Args:
        output: "logits", one per class of `shapes.CLASSES`, above zero where the class is there; or "sigmoid".

    Returns:
        keras.Model: (N, 96, 96, 3), RGB in [-1, 1] -> (N, 6).
    """
    x = inputs = keras.Input((SIZE, SIZE, 3), name="input")
    for i, filters in enumerate((16, 32, 64, 96, 128), 1):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv{i}")(x)
        x = layers.BatchNormalization(momentum=0.95, name=f"conv{i}_bn")(x)
        x = layers.ReLU(name=f"conv{i}_relu")(x)
        if i < 4:
            x = layers.MaxPooling2D(2, name=f"pool{i}")(x)
    x = layers.GlobalMaxPooling2D(name="global_pool")(x)
    x = layers.Dense(len(CLASSES), name="logits")(x)
    return keras.Model(inputs, _head(x, output, ("sigmoid",), "sigmoid"), name="shapes")
