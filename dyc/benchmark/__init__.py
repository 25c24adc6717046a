"""Everything that times: operators, layers and whole networks, each beside its static counterpart in the same run.

``import dyc`` does not load this package.
"""

from dyc.benchmark.layers import ATTENTIONS, PEER, time_layers
from dyc.benchmark.models import (
    DEFAULT_MODELS,
    INFERENCE,
    MODEL_BATCHES,
    MODES,
    TRAINING,
    ModelCase,
    ModelTiming,
    time_models,
)
from dyc.benchmark.operators import (
    COPY,
    DIRECTIONS,
    GROUPED,
    LAYOUTS,
    STATIC,
    STATIC_LAST,
    Case,
    Timing,
    cases,
    check_runs,
    means,
    runnable,
    time_operators,
)
from dyc.benchmark.selective import SelectiveCase, SelectiveTiming, time_selective
from dyc.benchmark.shapes import SHAPE_BATCHES, SHAPES
from dyc.benchmark.timing import facts_line, machine, measure

__all__ = [
    "ATTENTIONS",
    "COPY",
    "DEFAULT_MODELS",
    "DIRECTIONS",
    "GROUPED",
    "INFERENCE",
    "LAYOUTS",
    "MODEL_BATCHES",
    "MODES",
    "PEER",
    "SHAPES",
    "SHAPE_BATCHES",
    "STATIC",
    "STATIC_LAST",
    "TRAINING",
    "Case",
    "ModelCase",
    "ModelTiming",
    "SelectiveCase",
    "SelectiveTiming",
    "Timing",
    "cases",
    "check_runs",
    "facts_line",
    "machine",
    "means",
    "measure",
    "runnable",
    "time_layers",
    "time_models",
    "time_operators",
    "time_selective",
]
