"""The errors that only this library has; everything else is a ValueError or a TypeError."""


class UnsupportedLayerError(ValueError):
    """A layer has no relevance rule; the message names it, its class, its place and the remedies."""
