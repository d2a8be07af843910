"""Regularization paths: a model at every strength of a penalty, warm-started."""

from keras_regx.path.result import PathPoint, RegularizationPath
from keras_regx.path.run import regularization_path

__all__ = [
    "PathPoint",
    "RegularizationPath",
    "regularization_path",
]
