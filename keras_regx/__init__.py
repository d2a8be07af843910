"""Regularizers, constraints and proximal training for Keras 3."""

from keras_regx import _backend as _backend  # isort: skip  (must precede keras)

from keras_regx import (
    callbacks,
    compat,
    constraints,
    layers,
    models,
    ops,
    optimizers,
    regularizers,
    schedules,
    testing,
)
from keras_regx.models import (
    Policy,
    Rule,
    advance,
    load_model,
    penalties,
    project,
    stateless_advance,
    stateless_project,
    total_penalty,
    violations,
)
from keras_regx.path import regularization_path
from keras_regx.report import report
from keras_regx.version import __version__

__all__ = [
    "Policy",
    "Rule",
    "__version__",
    "advance",
    "callbacks",
    "compat",
    "constraints",
    "layers",
    "load_model",
    "models",
    "ops",
    "optimizers",
    "penalties",
    "project",
    "regularization_path",
    "regularizers",
    "report",
    "schedules",
    "stateless_advance",
    "stateless_project",
    "testing",
    "total_penalty",
    "violations",
]
