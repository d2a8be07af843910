"""The callback that leaves a model feasible."""

from typing import Any

import keras

from keras_regx._core import validation as check
from keras_regx.models import project


class ProjectAtEnd(keras.callbacks.Callback):
    """Makes every constrained weight feasible when training ends.

    Keras projects after each optimizer step and nowhere else. Weights that were
    loaded or set by hand, averages (`use_ema`, `SwapEMAWeights`) of weights in
    sets that are not convex, and averages that Keras takes before the projection,
    may all violate their constraint. List this callback after `SwapEMAWeights`.

    Args:
        at_start: Boolean. Project before the first step too, for weights that
            were loaded or initialized outside their sets.
        each_epoch: Boolean. Project at the end of each epoch too, before the
            callbacks listed after this one, such as `ModelCheckpoint`.

    Cost: one projection per constrained weight, each time.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> import keras_regx
    >>> from keras_regx.callbacks import ProjectAtEnd
    >>> from keras_regx.constraints import NonNeg
    >>> inputs = keras.Input((3,))
    >>> layer = keras.layers.Dense(2, bias_constraint=NonNeg())
    >>> model = keras.Model(inputs, layer(inputs))
    >>> sgd = keras.optimizers.SGD(0.1, use_ema=True)
    >>> model.compile(sgd, "mse")
    >>> x, y = np.ones((8, 3)), -np.ones((8, 2))
    >>> history = model.fit(x, y, verbose=0, callbacks=[ProjectAtEnd()])
    >>> list(keras_regx.violations(model).values())
    [0.0]
    """

    def __init__(self, at_start: bool = False, each_epoch: bool = False) -> None:
        super().__init__()
        self.at_start = check.boolean(self, "at_start", at_start)
        self.each_epoch = check.boolean(self, "each_epoch", each_epoch)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Project what training starts from."""
        if self.at_start:
            project(self.model)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Project what the callbacks after this one will see."""
        if self.each_epoch:
            project(self.model)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Project what training leaves, averages included."""
        project(self.model)
