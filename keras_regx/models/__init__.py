"""Looking at whole models: what is where, what it costs, how far it is from its sets.

`Policy` and `Rule`, which change models, are in `keras_regx.policy`, and here as well.
"""

from keras_regx.models.feasibility import project as project
from keras_regx.models.feasibility import stateless_project as stateless_project
from keras_regx.models.feasibility import violations as violations
from keras_regx.models.loading import load_model as load_model
from keras_regx.models.penalties import penalties as penalties
from keras_regx.models.penalties import total_penalty as total_penalty
from keras_regx.models.prune import prune_units as prune_units
from keras_regx.models.sites import Site as Site
from keras_regx.models.sites import sites as sites
from keras_regx.models.tracking import advance as advance
from keras_regx.models.tracking import stateless_advance as stateless_advance

from keras_regx.policy import Policy as Policy  # isort: skip  (above this package)
from keras_regx.policy import Rule as Rule  # isort: skip
from keras_regx.policy import policies as policies  # isort: skip
