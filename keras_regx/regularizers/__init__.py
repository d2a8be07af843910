"""Penalties: every class is a drop-in `kernel_regularizer` argument."""

from keras_regx.regularizers.base import Regularizer as Regularizer
from keras_regx.regularizers.base import Scaled as Scaled
from keras_regx.regularizers.base import Sum as Sum
from keras_regx.regularizers.base import register as register
from keras_regx.regularizers.base import registry as registry
from keras_regx.regularizers.bounds import LogBarrier as LogBarrier
from keras_regx.regularizers.bounds import RangeHinge as RangeHinge
from keras_regx.regularizers.concave import MCP as MCP
from keras_regx.regularizers.concave import SCAD as SCAD
from keras_regx.regularizers.concave import LogSum as LogSum
from keras_regx.regularizers.elastic_net import ElasticNet as ElasticNet
from keras_regx.regularizers.huber import Huber as Huber
from keras_regx.regularizers.lp import L0 as L0
from keras_regx.regularizers.lp import Lp as Lp
from keras_regx.regularizers.norms import L1 as L1
from keras_regx.regularizers.norms import L1L2 as L1L2
from keras_regx.regularizers.norms import L2 as L2
from keras_regx.regularizers.norms import l1_l2 as l1_l2
from keras_regx.regularizers.orthogonal import (
    OrthogonalRegularizer as OrthogonalRegularizer,
)
from keras_regx.regularizers.quantized import Quantized as Quantized
from keras_regx.regularizers.scheduled import Scheduled as Scheduled

l1 = L1
l2 = L2
orthogonal_regularizer = OrthogonalRegularizer

get = registry.get
serialize = registry.serialize
deserialize = registry.deserialize
