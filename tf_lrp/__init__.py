"""tf_lrp: layer-wise relevance propagation for Keras models on TensorFlow."""

from importlib import import_module

__version__ = "0.1.0"

# Imported when first used (PEP 562): TensorFlow takes seconds, and `tf-lrp --help` needs none of it.
_HOMES = {
    "Analyzer": "analyzer",
    "NotAnalyzeableModelException": "innvestigate",
    "create_analyzer": "innvestigate",
    "model_wo_output_activation": "innvestigate",
    "model_wo_softmax": "innvestigate",
    "Preset": "presets",
    "Stabilizer": "rules.stabilizer",
    "UnsupportedLayerError": "errors",
    "preset": "presets",
    "register_activation": "twins",
    "register_routing": "twins",
    "register_rule": "files.preset_json",
    "register_twin": "twins",
    "tune": "tuning",
    **{
        name: name
        for name in (
            "affine",
            "callbacks",
            "data",
            "evaluation",
            "heatmap",
            "innvestigate",
            "methods",
            "model_zoo",
            "presets",
            "rules",
            "select",
            "target",
            "tuning",
            "twins",
        )
    },
}

__all__ = sorted(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_HOMES[name]}")
    value = module if _HOMES[name] == name else getattr(module, name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
