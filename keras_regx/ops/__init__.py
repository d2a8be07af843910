"""Pure tensor functions on `keras.ops`: the numerical primitives of the package."""

from keras_regx.ops.axes import as_matrix as as_matrix
from keras_regx.ops.axes import group_rows as group_rows
from keras_regx.ops.axes import group_size as group_size
from keras_regx.ops.axes import resolve_axis as resolve_axis
from keras_regx.ops.numerics import absolute as absolute
from keras_regx.ops.numerics import compute_dtype as compute_dtype
from keras_regx.ops.numerics import dtype_of as dtype_of
from keras_regx.ops.numerics import safe_norm as safe_norm
from keras_regx.ops.numerics import upcast as upcast
