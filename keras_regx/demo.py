"""The demonstration by its former name: see `keras_regx.cli.demo`."""

from keras_regx.cli.demo import DemoError, experiment, folder, picture, run

__all__ = ["DemoError", "experiment", "folder", "picture", "run"]
