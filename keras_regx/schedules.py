"""Finding the scheduled penalties of a model."""

from keras_regx.models.tracking import scheduled_penalties as scheduled_penalties
