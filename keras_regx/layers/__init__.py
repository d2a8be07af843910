"""Layers: penalties on activations with one meaning of the batch size."""

from keras_regx.layers.activity import ActivityRegularization

__all__ = [
    "ActivityRegularization",
]
