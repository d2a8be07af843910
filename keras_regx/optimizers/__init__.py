"""Optimizers that apply penalties by their proximal operators."""

from keras_regx.optimizers.proximal import Proximal

__all__ = [
    "Proximal",
]
