"""Finding the scheduled penalties of a model; they live in `models.tracking`."""

from keras_regx.models.tracking import scheduled_penalties

__all__ = ["scheduled_penalties"]
