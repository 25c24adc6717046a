"""Training, evaluation and comparison of dynamic networks on Lightning.

Names are loaded when first used, so that commands which need no training start quickly.
"""

from importlib import import_module

_HOMES = {
    "AttentionMonitor": "lightning_modules.callbacks",
    "ChannelRewiring": "lightning_modules.callbacks",
    "DynamicSettings": "lightning_modules.conversion_settings",
    "EpochReport": "lightning_modules.callbacks",
    "EvaluationSettings": "lightning_modules.segmentation.settings",
    "ImageClassifier": "lightning_modules.classifier",
    "ImageData": "lightning_modules.data",
    "OptimizerSettings": "lightning_modules.training_options",
    "PredictionTable": "lightning_modules.callbacks",
    "RegularizationSettings": "lightning_modules.training_options",
    "RunLoggers": "lightning_modules.loggers",
    "ScheduleSettings": "lightning_modules.training_options",
    "SegmentationData": "lightning_modules.data",
    "SelectiveSettings": "lightning_modules.conversion_settings",
    "SemanticSegmenter": "lightning_modules.segmentation.segmenter",
    "TemperatureAnnealing": "lightning_modules.callbacks",
    "Throughput": "lightning_modules.callbacks",
}

__all__ = list(_HOMES)


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
