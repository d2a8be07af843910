"""Callbacks: schedules, penalties and sparsity in the logs, feasible weights."""

from keras_regx.callbacks.advance import AdvanceSchedules as AdvanceSchedules
