"""Old names with their old meaning."""

from keras_regx.compat import tf_contrib

__all__ = [
    "tf_contrib",
]
