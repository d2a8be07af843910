"""Whole models: rules that attach, what they cost, and keeping it when saving."""

from keras_regx.models.penalties import penalties as penalties
from keras_regx.models.penalties import total_penalty as total_penalty
from keras_regx.models.rules import Rule as Rule
from keras_regx.models.sites import Site as Site
from keras_regx.models.sites import sites as sites
