"""Changing whole models: rules, policies, and keeping them with the model."""

from keras_regx.policy import door as door
from keras_regx.policy.policy import Policy, policies
from keras_regx.policy.rule import Rule

__all__ = ["Policy", "Rule", "policies"]
