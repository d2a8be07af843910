"""Changing whole models: rules, policies, and keeping them with the model."""

import keras_regx.policy.door  # noqa: F401  (lets files and configs find policies)
from keras_regx.policy.policy import Policy, policies
from keras_regx.policy.rule import Rule

__all__ = ["Policy", "Rule", "policies"]
