"""Constraints: exact projections, drop-in `kernel_constraint` arguments."""

from keras_regx.constraints.base import Constraint as Constraint
from keras_regx.constraints.base import register as register
from keras_regx.constraints.base import registry as registry
from keras_regx.constraints.non_neg import NonNeg as NonNeg
from keras_regx.constraints.norms import MaxNorm as MaxNorm
from keras_regx.constraints.norms import MinMaxNorm as MinMaxNorm
from keras_regx.constraints.norms import UnitNorm as UnitNorm
from keras_regx.constraints.radial import RadialConstraint as RadialConstraint

max_norm = MaxNorm
non_neg = NonNeg
unit_norm = UnitNorm
min_max_norm = MinMaxNorm
radial_constraint = RadialConstraint

get = registry.get
serialize = registry.serialize
deserialize = registry.deserialize
