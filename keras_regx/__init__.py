"""Regularizers, constraints and proximal training for Keras 3."""

from keras_regx import _backend as _backend  # isort: skip  (must precede keras)

from keras_regx import callbacks as callbacks
from keras_regx import compat as compat
from keras_regx import constraints as constraints
from keras_regx import layers as layers
from keras_regx import models as models
from keras_regx import ops as ops
from keras_regx import optimizers as optimizers
from keras_regx import regularizers as regularizers
from keras_regx import schedules as schedules
from keras_regx import testing as testing
from keras_regx.models import Policy as Policy
from keras_regx.models import Rule as Rule
from keras_regx.models import advance as advance
from keras_regx.models import load_model as load_model
from keras_regx.models import penalties as penalties
from keras_regx.models import project as project
from keras_regx.models import stateless_advance as stateless_advance
from keras_regx.models import stateless_project as stateless_project
from keras_regx.models import total_penalty as total_penalty
from keras_regx.models import violations as violations
from keras_regx.path import regularization_path as regularization_path
from keras_regx.report import report as report
from keras_regx.version import __version__ as __version__
