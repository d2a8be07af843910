"""Penalties: every class is a drop-in `kernel_regularizer` argument."""

from keras_regx.regularizers.activity import ActivityRegularizer as ActivityRegularizer
from keras_regx.regularizers.activity import (
    BatchedOrthogonality as BatchedOrthogonality,
)
from keras_regx.regularizers.activity import DeCov as DeCov
from keras_regx.regularizers.activity import EntropyPenalty as EntropyPenalty
from keras_regx.regularizers.activity import KLSparsity as KLSparsity
from keras_regx.regularizers.activity import VarianceCovariance as VarianceCovariance
from keras_regx.regularizers.activity import ZLoss as ZLoss
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
from keras_regx.regularizers.distance import Masked as Masked
from keras_regx.regularizers.distance import MoreauEnvelope as MoreauEnvelope
from keras_regx.regularizers.distance import SetDistance as SetDistance
from keras_regx.regularizers.elastic_net import ElasticNet as ElasticNet
from keras_regx.regularizers.energy import HypersphericalEnergy as HypersphericalEnergy
from keras_regx.regularizers.fisher import consolidate as consolidate
from keras_regx.regularizers.fisher import diagonal_fisher as diagonal_fisher
from keras_regx.regularizers.groups import ExclusiveLasso as ExclusiveLasso
from keras_regx.regularizers.groups import GroupLasso as GroupLasso
from keras_regx.regularizers.groups import SparseGroupLasso as SparseGroupLasso
from keras_regx.regularizers.huber import Huber as Huber
from keras_regx.regularizers.lp import L0 as L0
from keras_regx.regularizers.lp import Lp as Lp
from keras_regx.regularizers.norms import L1 as L1
from keras_regx.regularizers.norms import L1L2 as L1L2
from keras_regx.regularizers.norms import L2 as L2
from keras_regx.regularizers.norms import l1_l2 as l1_l2
from keras_regx.regularizers.ordered import OSCAR as OSCAR
from keras_regx.regularizers.ordered import OrderedWeightedL1 as OrderedWeightedL1
from keras_regx.regularizers.orthogonal import (
    OrthogonalRegularizer as OrthogonalRegularizer,
)
from keras_regx.regularizers.orthogonality import SRIP as SRIP
from keras_regx.regularizers.orthogonality import ConvOrthogonality as ConvOrthogonality
from keras_regx.regularizers.orthogonality import (
    DoubleSoftOrthogonality as DoubleSoftOrthogonality,
)
from keras_regx.regularizers.orthogonality import MutualCoherence as MutualCoherence
from keras_regx.regularizers.orthogonality import SoftOrthogonality as SoftOrthogonality
from keras_regx.regularizers.quantized import Quantized as Quantized
from keras_regx.regularizers.ratios import Hoyer as Hoyer
from keras_regx.regularizers.ratios import HoyerSquare as HoyerSquare
from keras_regx.regularizers.ratios import LInf as LInf
from keras_regx.regularizers.reference import Anchor as Anchor
from keras_regx.regularizers.reference import (
    ElasticWeightConsolidation as ElasticWeightConsolidation,
)
from keras_regx.regularizers.scheduled import Scheduled as Scheduled
from keras_regx.regularizers.spectral import NuclearNorm as NuclearNorm
from keras_regx.regularizers.spectral import SchattenNorm as SchattenNorm
from keras_regx.regularizers.spectral import SpectralNorm as SpectralNorm
from keras_regx.regularizers.structure import FusedLasso as FusedLasso
from keras_regx.regularizers.structure import Smoothness as Smoothness
from keras_regx.regularizers.structure import TotalVariation as TotalVariation
from keras_regx.regularizers.weighted import Weighted as Weighted

l1 = L1
l2 = L2
orthogonal_regularizer = OrthogonalRegularizer

get = registry.get
serialize = registry.serialize
deserialize = registry.deserialize
