"""Pure tensor functions on `keras.ops`: the numerical primitives of the package."""

from keras_regx.ops.axes import as_matrix, group_rows, resolve_axis
from keras_regx.ops.matrix import (
    map_singular_values,
    singular_value_threshold,
    singular_values,
    svd,
)
from keras_regx.ops.numerics import absolute, safe_norm
from keras_regx.ops.order import project_monotonic, top_k_mask
from keras_regx.ops.polar import matrix_sign, polar, sinkhorn
from keras_regx.ops.power import spectral_norm
from keras_regx.ops.projections import project_box, project_l2_ball, project_linf_ball
from keras_regx.ops.simplex import (
    project_capped_simplex,
    project_l1_ball,
    project_simplex,
)
from keras_regx.ops.thresholds import (
    firm_threshold,
    group_soft_threshold,
    hard_threshold,
    soft_threshold,
)
from keras_regx.ops.variation import difference, prox_total_variation

__all__ = [
    "absolute",
    "as_matrix",
    "difference",
    "firm_threshold",
    "group_rows",
    "group_soft_threshold",
    "hard_threshold",
    "map_singular_values",
    "matrix_sign",
    "polar",
    "project_box",
    "project_capped_simplex",
    "project_l1_ball",
    "project_l2_ball",
    "project_linf_ball",
    "project_monotonic",
    "project_simplex",
    "prox_total_variation",
    "resolve_axis",
    "safe_norm",
    "singular_value_threshold",
    "singular_values",
    "sinkhorn",
    "soft_threshold",
    "spectral_norm",
    "svd",
    "top_k_mask",
]
