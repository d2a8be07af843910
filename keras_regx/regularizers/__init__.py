"""Penalties: every class is a drop-in `kernel_regularizer` argument."""

from keras_regx.regularizers.activity import (
    ActivityRegularizer,
    BatchedOrthogonality,
    DeCov,
    EntropyPenalty,
    KLSparsity,
    VarianceCovariance,
    ZLoss,
)
from keras_regx.regularizers.base import Regularizer, Scaled, Sum, register, registry
from keras_regx.regularizers.bounds import LogBarrier, RangeHinge
from keras_regx.regularizers.concave import MCP, SCAD, LogSum
from keras_regx.regularizers.distance import Masked, MoreauEnvelope, SetDistance
from keras_regx.regularizers.elastic_net import ElasticNet
from keras_regx.regularizers.energy import HypersphericalEnergy
from keras_regx.regularizers.fisher import consolidate, diagonal_fisher
from keras_regx.regularizers.groups import ExclusiveLasso, GroupLasso, SparseGroupLasso
from keras_regx.regularizers.huber import Huber
from keras_regx.regularizers.lp import L0, Lp
from keras_regx.regularizers.norms import L1, L1L2, L2, l1_l2
from keras_regx.regularizers.ordered import OSCAR, OrderedWeightedL1
from keras_regx.regularizers.orthogonal import (
    OrthogonalRegularizer,
)
from keras_regx.regularizers.orthogonality import (
    SRIP,
    ConvOrthogonality,
    DoubleSoftOrthogonality,
    MutualCoherence,
    SoftOrthogonality,
)
from keras_regx.regularizers.quantized import Quantized
from keras_regx.regularizers.ratios import Hoyer, HoyerSquare, LInf
from keras_regx.regularizers.reference import (
    Anchor,
    ElasticWeightConsolidation,
)
from keras_regx.regularizers.scheduled import Scheduled
from keras_regx.regularizers.spectral import NuclearNorm, SchattenNorm, SpectralNorm
from keras_regx.regularizers.structure import FusedLasso, Smoothness, TotalVariation
from keras_regx.regularizers.weighted import Weighted

__all__ = [
    "L0",
    "L1",
    "L1L2",
    "L2",
    "MCP",
    "OSCAR",
    "SCAD",
    "SRIP",
    "ActivityRegularizer",
    "Anchor",
    "BatchedOrthogonality",
    "ConvOrthogonality",
    "DeCov",
    "DoubleSoftOrthogonality",
    "ElasticNet",
    "ElasticWeightConsolidation",
    "EntropyPenalty",
    "ExclusiveLasso",
    "FusedLasso",
    "GroupLasso",
    "Hoyer",
    "HoyerSquare",
    "Huber",
    "HypersphericalEnergy",
    "KLSparsity",
    "LInf",
    "LogBarrier",
    "LogSum",
    "Lp",
    "Masked",
    "MoreauEnvelope",
    "MutualCoherence",
    "NuclearNorm",
    "OrderedWeightedL1",
    "OrthogonalRegularizer",
    "Quantized",
    "RangeHinge",
    "Regularizer",
    "Scaled",
    "SchattenNorm",
    "Scheduled",
    "SetDistance",
    "Smoothness",
    "SoftOrthogonality",
    "SparseGroupLasso",
    "SpectralNorm",
    "Sum",
    "TotalVariation",
    "VarianceCovariance",
    "Weighted",
    "ZLoss",
    "consolidate",
    "deserialize",
    "diagonal_fisher",
    "get",
    "l1",
    "l1_l2",
    "l2",
    "orthogonal_regularizer",
    "register",
    "registry",
    "serialize",
]

l1 = L1
l2 = L2
orthogonal_regularizer = OrthogonalRegularizer

get = registry.get
serialize = registry.serialize
deserialize = registry.deserialize
