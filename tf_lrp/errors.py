"""The errors that only this library has; everything else is a ValueError or a TypeError."""


class UnsupportedLayerError(ValueError):
    """A layer has no relevance rule; the message names it, its class, its place and the remedies."""


class CaffeError(ValueError):
    """A file of Caffe, or of the LRP Toolbox's Caffe program, is not what its format says; the message says where and why."""
