"""The callback that moves schedules along with the optimizer."""

from typing import Any

import keras

from keras_regx._core import validation as check
from keras_regx.models.sites import free_name
from keras_regx.models.tracking import (
    adopt,
    distinct,
    scheduled_penalties,
    step_readers,
)


class AdvanceSchedules(keras.callbacks.Callback):
    """Sets every scheduled strength of a model before each training step.

    Penalties: each `Scheduled` gets `schedule(optimizer.iterations)`, the number
    of updates made so far, before every step; a step that accumulates gradients
    or is skipped by a loss scale does not count. Since the count is the
    optimizer's, training resumed from `BackupAndRestore` goes on as if it had
    never stopped. Validation uses the strength of the last training step.
    Constraints: each one that depends on the step is handed the optimizer.

    With `steps_per_execution=n` the strength changes every n steps.

    Args:
        log: Boolean. Report the strengths in the logs of each epoch, as
            `strength/<variable path>`, to History and to every logger that is
            listed after this callback.

    Cost: one small host-to-device copy per schedule and step, and on JAX the wait
        for the previous step to finish.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras.optimizers.schedules import PolynomialDecay
    >>> from keras_regx.callbacks import AdvanceSchedules
    >>> from keras_regx.regularizers import L2, Scheduled
    >>> ramp = PolynomialDecay(0.0, decay_steps=4, end_learning_rate=1.0)
    >>> penalty = Scheduled(L2(0.01), ramp)
    >>> layer = keras.layers.Dense(1, kernel_regularizer=penalty)
    >>> model = keras.Sequential([keras.Input((3,)), layer])
    >>> model.compile("sgd", "mse")
    >>> x, y = np.ones((8, 3)), np.ones((8, 1))
    >>> advance = AdvanceSchedules()
    >>> history = model.fit(x, y, 4, epochs=2, verbose=0, callbacks=[advance])
    >>> penalty.strength  # Of the last step, the fourth: three were made before it.
    0.75
    """

    def __init__(self, log: bool = True) -> None:
        super().__init__()
        self.log = check.boolean(self, "log", log)
        self._penalties: list[tuple[str, Any]] = []
        self._step = -1

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Find what is scheduled and make sure that compiled steps see it."""
        self._find(training=True)

    def on_train_batch_begin(
        self,
        batch: int,  # noqa: ARG002
        logs: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> None:
        """Set the strengths for the next step."""
        self._advance()

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Outside `fit`, evaluate at the strength that the step count implies."""
        if not self._penalties:
            self._find(training=False)
            self._advance()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Report the strengths."""
        if self.log and logs is not None:
            for path, penalty in self._penalties:
                name = free_name(f"strength/{path}", logs)
                logs[name] = penalty.strength

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Let go of the model."""
        self._penalties = []

    def _advance(self) -> None:
        model = self.model  # On JAX this puts the state back into the variables.
        if not self._penalties or model.optimizer is None:
            return
        step = int(model.optimizer.iterations)
        if step != self._step:
            self._step = step
            for penalty in distinct(p for _, p in self._penalties):
                penalty.advance(step)

    def _find(self, *, training: bool) -> None:
        model = self.model
        stale = adopt(model)
        self._penalties = list(scheduled_penalties(model))
        self._step = -1
        for reader in step_readers(model):
            stale |= reader.attach(model.optimizer)
        if stale and training:
            model.make_train_function(force=True)
        if stale and getattr(model, "test_function", None) is not None:
            model.make_test_function(force=True)
