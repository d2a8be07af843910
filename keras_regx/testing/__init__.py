"""Conformance checks for penalties and constraints, one's own and anyone's."""

from keras_regx.testing.constraint import check_constraint
from keras_regx.testing.regularizer import check_regularizer

__all__ = [
    "check_constraint",
    "check_regularizer",
]
