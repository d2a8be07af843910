"""Finding the scheduled penalties of a model."""

from keras_regx.models import tracking

__all__ = ["scheduled_penalties"]

scheduled_penalties = tracking.scheduled_penalties
