"""Callbacks that write what penalties cost, and what they achieve, into the logs."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_regx._core import validation as check
from keras_regx.models import Rule, sites
from keras_regx.models.penalties import proximal_penalties
from keras_regx.ops.axes import resolve_axis


class PenaltyLogger(keras.callbacks.Callback):
    """Writes what each penalty of a model costs into the logs of each epoch.

    The entries are `penalty/<variable path>` (or one per rule) and
    `penalty/total`. Penalties in the loss and those of
    `keras_regx.optimizers.Proximal` are both counted. History shows them, and
    every logger listed after this callback: CSVLogger, TensorBoard, ProgbarLogger.

    Args:
        rules: List of `keras_regx.Rule`, or None. With rules there is one entry
            for each, `penalty/<its pattern>`, the sum over the variables it matches.

    Cost: each penalty is evaluated once an epoch, outside the compiled step.
    Raises: ValueError naming the argument and the value received.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_regx.callbacks import PenaltyLogger
    >>> from keras_regx.regularizers import L2
    >>> layer = keras.layers.Dense(1, kernel_regularizer=L2(0.1), name="d")
    >>> inputs = keras.Input((3,))
    >>> model = keras.Model(inputs, layer(inputs))
    >>> model.compile("sgd", "mse")
    >>> x, y = np.ones((8, 3)), np.ones((8, 1))
    >>> history = model.fit(x, y, verbose=0, callbacks=[PenaltyLogger()])
    >>> list(history.history)
    ['loss', 'penalty/d/kernel', 'penalty/total']
    """

    def __init__(self, rules: Sequence[Rule] | None = None) -> None:
        super().__init__()
        wrong = rules is not None and (
            not isinstance(rules, list | tuple)
            or not all(isinstance(rule, Rule) for rule in rules)
        )
        if wrong:
            check.fail(self, "rules", "a list of Rule or None", rules)
        self.rules = None if rules is None else list(rules)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Add the entries to the logs."""
        if logs is None:
            return
        values = self._values()
        if self.rules is None:
            logs |= {f"penalty/{path}": value for path, value in values.items()}
        else:
            known = sites(self.model)
            for rule in self.rules:
                matched = {site.path for site in known if rule.matches(site)}
                name = rule.pattern if isinstance(rule.pattern, str) else repr(rule)
                logs[f"penalty/{name}"] = sum(values.get(path, 0.0) for path in matched)
        logs["penalty/total"] = sum(values.values())

    def _values(self) -> dict[str, float]:
        model = self.model
        proximal = proximal_penalties(model)
        values: dict[str, float] = {}
        for variable in model.trainable_weights:
            found = (variable.regularizer, proximal.get(id(variable)))
            terms = [r(ops.convert_to_tensor(variable)) for r in found if r is not None]
            if terms:
                values[variable.path] = sum(
                    float(ops.convert_to_numpy(t)) for t in terms
                )
        return values


class SparsityLogger(keras.callbacks.Callback):
    """Writes how sparse the weights are into the logs of each epoch.

    For every kernel (trainable weight of rank >= 2): `zeros/<path>`, the share of
    exact zeros; `zero_groups/<path>`, the share of groups that are all zero; on
    request `rank/<path>`, the numerical rank of the kernel as a matrix. And
    `zeros/total`, the share of zeros in all kernels together.

    Args:
        axis: The axes that form a group: int, tuple, `"units"`, `"inputs"`, `None`.
        tolerance: Number >= 0. Entries up to this magnitude count as zero.
        rank: Boolean. Log ranks too: one singular value decomposition per kernel.

    Cost: once an epoch the kernels are copied to the host and counted there.
    Raises: ValueError naming the argument and the value received.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_regx.callbacks import SparsityLogger
    >>> inputs = keras.Input((3,))
    >>> layer = keras.layers.Dense(1, kernel_initializer="zeros", name="d")
    >>> model = keras.Model(inputs, layer(inputs))
    >>> model.compile("sgd", "mse")
    >>> x, y = np.zeros((8, 3)), np.ones((8, 1))
    >>> history = model.fit(x, y, verbose=0, callbacks=[SparsityLogger()])
    >>> history.history["zeros/d/kernel"], history.history["zero_groups/d/kernel"]
    ([1.0], [1.0])
    """

    def __init__(
        self, axis: check.Axis = "units", tolerance: float = 0.0, rank: bool = False
    ) -> None:
        super().__init__()
        self.axis = check.axis(self, axis)
        self.tolerance = check.number(self, "tolerance", tolerance, minimum=0)
        self.rank = check.boolean(self, "rank", rank)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Add the entries to the logs."""
        if logs is None:
            return
        zeros = size = 0
        for path, w in self._kernels():
            is_zero = np.abs(w) <= self.tolerance
            axes = resolve_axis(self.axis, w.ndim, type(self).__name__)
            logs[f"zeros/{path}"] = float(is_zero.mean())
            logs[f"zero_groups/{path}"] = float(is_zero.all(axis=axes).mean())
            if self.rank:
                matrix = w.reshape(-1, w.shape[-1])
                logs[f"rank/{path}"] = int(np.linalg.matrix_rank(matrix))
            zeros += int(is_zero.sum())
            size += w.size
        logs["zeros/total"] = zeros / size if size else 0.0

    def _kernels(self) -> Iterator[tuple[str, np.ndarray]]:
        for variable in self.model.trainable_weights:
            if len(variable.shape) >= 2 and 0 not in variable.shape:
                w = ops.convert_to_numpy(ops.cast(variable, "float32"))
                yield variable.path, w
