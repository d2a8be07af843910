"""Callbacks: schedules, penalties and sparsity in the logs, feasible weights."""

from keras_regx.callbacks.advance import AdvanceSchedules
from keras_regx.callbacks.loggers import PenaltyLogger, SparsityLogger
from keras_regx.callbacks.project import ProjectAtEnd

__all__ = [
    "AdvanceSchedules",
    "PenaltyLogger",
    "ProjectAtEnd",
    "SparsityLogger",
]
