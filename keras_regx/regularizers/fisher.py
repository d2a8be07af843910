"""The diagonal Fisher information of a model: how much each weight matters to it."""

from typing import Any

import keras
from keras import ops

from keras_regx._core import validation as check
from keras_regx._core.config import bound, parts
from keras_regx.regularizers.reference import ElasticWeightConsolidation

_DISTRIBUTIONS = ("categorical", "bernoulli", "normal")


def diagonal_fisher(
    model: Any,
    x: Any,
    *,
    distribution: str = "categorical",
    from_logits: bool = False,
    draws: int = 1,
    seed: int = 0,
    verbose: Any = "auto",
) -> dict[str, Any]:
    """Return the diagonal of the Fisher information of a model, by variable path.

        F_i = mean over samples x of E_{y ~ p(y | x)} (d log p(y | x) / d w_i)^2

    Labels are drawn from the model's own predictions, and the gradient is squared
    for each sample alone: neither the square of the mean gradient nor the true
    labels give the Fisher information. Penalties of the model do not enter. The
    model is run as in inference, and is not changed.

    Args:
        model: A built Keras model with one output.
        x: Array of inputs, or what `model.fit` takes as `x` in arrays.
        distribution: What the output parametrizes. `"categorical"`: the class, by
            probabilities over the last axis; `"bernoulli"`: independent yes or no,
            by probabilities; `"normal"`: values, by means, with variance 1.
        from_logits: Boolean. Whether the output is logits, not probabilities.
        draws: Int >= 1. Labels drawn for each sample.
        seed: Int. Seed of the labels.
        verbose: As in `model.fit`: a progress bar, or 0 for none.

    Returns:
        Dictionary from the path of each trainable variable to a NumPy array of its
        shape.

    Raises:
        ValueError: If an argument is invalid, or the model is not built.

    Reference:
        Kirkpatrick et al. (2017), arXiv:1612.00796.

    Example:

    >>> import keras, numpy as np
    >>> from keras_regx.regularizers import diagonal_fisher
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> x = np.repeat([[1.0], [3.0]], 200, axis=0)
    >>> fisher = diagonal_fisher(model, x, distribution="normal", verbose=0)
    >>> bool(3.0 < fisher[model.layers[0].kernel.path].item() < 7.0)  # mean of x^2 is 5
    True
    """
    name = "diagonal_fisher"
    check.choice(name, "distribution", distribution, _DISTRIBUTIONS)
    check.boolean(name, "from_logits", from_logits)
    draws = check.integer(name, "draws", draws, minimum=1)
    seed = check.integer(name, "seed", seed, minimum=0)
    if any(0 in getattr(part, "shape", ())[:1] for part in keras.tree.flatten(x)):
        check.fail(name, "x", "at least one sample", x)
    if not getattr(model, "built", False):
        check.fail(name, "model", "a built model", model)
    probe = _Probe(model, distribution, from_logits=from_logits, seed=seed)
    recorder = _SquaredGradients()
    probe.compile(optimizer=recorder, jit_compile="auto")
    probe.fit(x, epochs=draws, batch_size=1, shuffle=False, verbose=verbose)
    count = float(ops.convert_to_numpy(recorder.iterations))
    return {
        variable.path: ops.convert_to_numpy(total) / count
        for variable, total in zip(
            model.trainable_variables, recorder.totals, strict=True
        )
    }


def consolidate(model: Any, fisher: dict[str, Any]) -> None:
    """Make the weights as they are now, and a Fisher information, the reference.

    For every variable of the model that an `ElasticWeightConsolidation` is attached
    to, alone or inside a sum or multiple. After a `fit` on JAX or TensorFlow,
    compile the model again.

    Args:
        model: A built model with the penalty attached.
        fisher: What `diagonal_fisher` returned for it, or for a model with the
            same variable paths. Variables that it does not name keep theirs.

    Raises:
        ValueError: If no variable of the model has the penalty, or a shape differs.
    """
    found = False
    for variable in model.trainable_variables:
        penalty = bound(variable.regularizer, variable)
        for part in parts(penalty):
            if not isinstance(part, ElasticWeightConsolidation):
                continue
            if part.reference() is not None:
                found = True
                part.reference("anchor").assign(ops.convert_to_numpy(variable))
                if variable.path in fisher:
                    part.reference("fisher").assign(fisher[variable.path])
        variable.regularizer = penalty
    if not found:
        expected = "a model with ElasticWeightConsolidation attached to a variable"
        check.fail("consolidate", "model", expected, model)


class _Probe(keras.Model):
    """A model whose loss is the negative log-likelihood of labels it draws."""

    def __init__(
        self, model: Any, distribution: str, *, from_logits: bool, seed: int
    ) -> None:
        super().__init__(name="fisher_probe")
        self.model = model
        self.distribution = distribution
        self.from_logits = from_logits
        self.seeds = keras.random.SeedGenerator(seed)
        self.built = True

    def call(self, x: Any) -> Any:
        return self.model(x, training=False)

    def compute_loss(
        self,
        x: Any = None,  # noqa: ARG002
        y: Any = None,  # noqa: ARG002
        y_pred: Any = None,
        sample_weight: Any = None,  # noqa: ARG002
        training: bool = True,  # noqa: ARG002
    ) -> Any:
        output = ops.cast(y_pred, "float32")
        if self.distribution == "normal":
            noise = keras.random.normal(ops.shape(output), seed=self.seeds)
            drawn = ops.stop_gradient(output + noise)
            return ops.sum(ops.square(drawn - output)) / 2
        if self.distribution == "bernoulli":
            p = ops.sigmoid(output) if self.from_logits else output
            chance = keras.random.uniform(ops.shape(output), seed=self.seeds)
            drawn = ops.cast(chance < ops.stop_gradient(p), "float32")
            losses = ops.binary_crossentropy(drawn, output, self.from_logits)
            return ops.sum(losses)
        logits = output if self.from_logits else ops.log(output + 1e-30)
        rows = ops.reshape(logits, (-1, logits.shape[-1]))
        drawn = keras.random.categorical(
            ops.stop_gradient(rows), 1, dtype="int32", seed=self.seeds
        )
        classes = ops.one_hot(drawn[:, 0], rows.shape[-1])
        return -ops.sum(classes * ops.log_softmax(rows, axis=-1))


class _SquaredGradients(keras.optimizers.Optimizer):
    """Adds up the squares of the gradients it is given, and updates nothing."""

    def __init__(self) -> None:
        super().__init__(learning_rate=0.0, name="fisher")
        self.totals: list[Any] = []

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        self.totals = [
            self.add_variable_from_reference(variable, name="fisher")
            for variable in variables
        ]

    def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
        """Add the squares; no clipping, no decay, no constraint."""
        if trainable_variables is not None:
            self.build(trainable_variables)
        for total, grad in zip(self.totals, grads, strict=True):
            if grad is not None:
                total.assign_add(ops.cast(ops.square(grad), total.dtype))
        self.iterations.assign_add(1)
        return self.iterations
