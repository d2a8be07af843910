"""Regularization paths: a model at every strength of a penalty, warm-started."""

from keras_regx.path.result import PathPoint as PathPoint
from keras_regx.path.result import RegularizationPath as RegularizationPath
from keras_regx.path.run import regularization_path as regularization_path
