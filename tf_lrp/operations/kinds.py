"""What a layer can be called by selectors: the words that describe what it does."""

KINDS = (
    "conv", "depthwise", "conv_transpose", "dense", "pooling", "max_pooling", "average_pooling", "global_pooling", "merge",
    "add", "subtract", "average", "maximum", "minimum", "activation", "normalization", "batch_normalization", "rescaling",
    "resampling", "transform", "product", "matmul", "attention", "softmax", "recurrent", "embedding", "structural", "weights",
)  # fmt: skip
