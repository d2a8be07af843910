"""Whole models: rules that attach, what they cost, and keeping it when saving."""

from keras_regx.models.feasibility import project as project
from keras_regx.models.feasibility import violations as violations
from keras_regx.models.loading import load_model as load_model
from keras_regx.models.penalties import penalties as penalties
from keras_regx.models.penalties import total_penalty as total_penalty
from keras_regx.models.policy import Policy as Policy
from keras_regx.models.policy import policies as policies
from keras_regx.models.prune import prune_units as prune_units
from keras_regx.models.rules import Rule as Rule
from keras_regx.models.sites import Site as Site
from keras_regx.models.sites import sites as sites
