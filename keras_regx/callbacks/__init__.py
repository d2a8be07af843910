"""Callbacks: schedules, penalties and sparsity in the logs, feasible weights."""

from keras_regx.callbacks.advance import AdvanceSchedules as AdvanceSchedules
from keras_regx.callbacks.loggers import PenaltyLogger as PenaltyLogger
from keras_regx.callbacks.loggers import SparsityLogger as SparsityLogger
from keras_regx.callbacks.project import ProjectAtEnd as ProjectAtEnd
