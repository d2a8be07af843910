"""Whole models: rules that attach, what they cost, and keeping it when saving."""

from keras_regx.models.feasibility import project, violations
from keras_regx.models.loading import load_model
from keras_regx.models.penalties import penalties, total_penalty
from keras_regx.models.policy import Policy, policies
from keras_regx.models.prune import prune_units
from keras_regx.models.rules import Rule
from keras_regx.models.sites import Site, sites

__all__ = [
    "Policy",
    "Rule",
    "Site",
    "load_model",
    "penalties",
    "policies",
    "project",
    "prune_units",
    "sites",
    "total_penalty",
    "violations",
]
