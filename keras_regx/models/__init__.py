"""Looking at whole models: what is where, what it costs, how far it is from its sets.

`Policy` and `Rule`, which change models, are in `keras_regx.policy`, and here as well.
"""

from keras_regx.models.feasibility import project, stateless_project, violations
from keras_regx.models.loading import load_model
from keras_regx.models.penalties import penalties, total_penalty
from keras_regx.models.prune import prune_units
from keras_regx.models.sites import Site, sites
from keras_regx.models.tracking import advance, stateless_advance

from keras_regx.policy import Policy, Rule, policies  # isort: skip  (above this one)

__all__ = [
    "Policy",
    "Rule",
    "Site",
    "advance",
    "load_model",
    "penalties",
    "policies",
    "project",
    "prune_units",
    "sites",
    "stateless_advance",
    "stateless_project",
    "total_penalty",
    "violations",
]
