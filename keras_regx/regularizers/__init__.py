"""Penalties: every class is a drop-in `kernel_regularizer` argument."""

from keras_regx.regularizers.base import Regularizer as Regularizer
from keras_regx.regularizers.base import Scaled as Scaled
from keras_regx.regularizers.base import Sum as Sum
from keras_regx.regularizers.base import register as register
from keras_regx.regularizers.base import registry as registry
from keras_regx.regularizers.norms import L1 as L1
from keras_regx.regularizers.norms import L1L2 as L1L2
from keras_regx.regularizers.norms import L2 as L2
from keras_regx.regularizers.norms import l1_l2 as l1_l2
from keras_regx.regularizers.orthogonal import (
    OrthogonalRegularizer as OrthogonalRegularizer,
)
from keras_regx.schedules import Scheduled as Scheduled

l1 = L1
l2 = L2
orthogonal_regularizer = OrthogonalRegularizer

get = registry.get
serialize = registry.serialize
deserialize = registry.deserialize
