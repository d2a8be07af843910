"""Conformance checks for penalties and constraints, one's own and anyone's."""

from keras_regx.testing.constraint import check_constraint as check_constraint
from keras_regx.testing.regularizer import check_regularizer as check_regularizer
