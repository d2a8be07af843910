"""A weight for each entry: every sum over entries, big weights, the adaptive lasso."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import keras_regx
from keras_regx import Policy, Rule
from keras_regx import regularizers as r
from keras_regx.optimizers import Proximal
from tests.backends import as_float64, as_tensor
from tests.cases import PENALTIES, PenaltyCase
from tests.cases_penalties import VECTOR
from tests.test_penalties import draw

SEPARABLE = [case for case in PENALTIES if case.penalty.separable]
ALIKE = [
    pytest.param(case, id=case.id)
    for case in SEPARABLE
    if VECTOR in case.shapes and case.penalty.entrywise
]
WEIGHTS = np.array([0.5, 2.0, 1.0, 0.25, 3.0, 1.5, 0.1])


def test_every_sum_over_entries_can_be_weighted() -> None:
    """A separable penalty of the catalogue has terms."""
    assert not [c.id for c in SEPARABLE if not c.penalty.entrywise]
    others = [c.penalty for c in PENALTIES if not c.penalty.separable]
    for penalty in [*others, r.GroupLasso(0.1) + r.L1()]:
        with pytest.raises(ValueError, match="`regularizer` of Weighted"):
            r.Weighted(penalty, [1.0])


@pytest.mark.parametrize("case", ALIKE)
def test_value_is_the_weighted_sum_of_the_oracles(case: PenaltyCase) -> None:
    """Each entry costs its weight times what the oracle says that it costs alone."""
    x = as_tensor(draw(case, VECTOR), "float32")
    alone = [case.value(as_float64(x)[i : i + 1]) for i in range(len(WEIGHTS))]
    weighted = r.Weighted(case.penalty, WEIGHTS)
    value = weighted._value(x) if not case.loss else weighted(x)
    assert as_float64(value) == pytest.approx(WEIGHTS @ alone, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("case", ALIKE)
def test_terms_sum_to_the_value(case: PenaltyCase) -> None:
    """Where value and terms are written apart they agree."""
    x = as_tensor(draw(case, VECTOR), "float32")
    total = as_float64(ops.sum(case.penalty._entries(x)))
    assert total == pytest.approx(as_float64(case.penalty._value(x)), rel=1e-5)


@pytest.mark.parametrize("case", [p for p in ALIKE if p.values[0].penalty.proximable])
def test_prox_takes_a_step_size_per_entry(case: PenaltyCase) -> None:
    """The prox of an entry is that of the penalty alone with the step size w_i t."""
    x = as_tensor(1.5 * draw(case, VECTOR), "float32")
    weighted = r.Weighted(case.penalty, WEIGHTS)
    moved = as_float64(weighted.prox(x, 0.4))
    for i, weight in enumerate(WEIGHTS):
        alone = as_float64(case.penalty.prox(x[i : i + 1], 0.4 * weight))
        np.testing.assert_allclose(moved[i : i + 1], alone, rtol=1e-5, atol=1e-6)
    assert weighted.proximable
    again = as_float64(weighted.prox(x, ops.full(VECTOR, 0.4)))
    np.testing.assert_allclose(again, moved, rtol=1e-6)


def test_weights_of_an_embedded_or_masked_penalty() -> None:
    """Wrappers, sums and masks inside keep their terms; nested weights multiply."""
    x = as_tensor([1.0, -2.0, 3.0], "float32")
    w = [1.0, 2.0, 4.0]
    inner = r.Masked(r.L1(1.0) + 0.5 * r.L2(1.0), [1, 0, 1])
    assert as_float64(r.Weighted(inner, w)(x)) == pytest.approx(1.5 + 4 * 7.5)
    twice = r.Weighted(r.Weighted(r.L1(1.0), w), w)
    assert as_float64(twice(x)) == pytest.approx(1 + 8 + 48)
    assert as_float64(twice.prox(x, 0.25)).tolist() == [0.75, -1.0, 0.0]


def test_l0_is_refused_as_a_loss() -> None:
    """Counting has no gradient, weighted or not; its prox is available."""
    penalty = r.Weighted(2.0 * r.L0(0.5), [1.0, 4.0])
    with pytest.raises(NotImplementedError, match="L0 counts"):
        penalty([1.0, 2.0])
    assert as_float64(penalty.prox([1.5, 2.0], 1.0)).tolist() == [1.5, 0.0]


@pytest.mark.parametrize("shape", [(3,), (4, 3, 1), (2, 4)])
def test_weights_that_do_not_fit_are_named(shape: tuple[int, ...]) -> None:
    """Weights must broadcast against the tensor without changing its shape."""
    with pytest.raises(ValueError, match=r"`x` of Weighted.*against which an array"):
        r.Weighted(r.L1(), np.ones(shape))(ops.ones((1, 4)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_big_weights_are_kept_exactly(dtype: str) -> None:
    """Many weights are a string in the config, float32 ones in four bytes each."""
    w = np.random.default_rng(0).uniform(0.5, 2, size=(40, 30)).astype(dtype)
    penalty = r.Weighted(r.L1(1.0), w)
    config = penalty.get_config()
    assert config["weights"].startswith(f"{dtype}:40x30:")
    assert len(config["weights"]) < 1.4 * w.nbytes
    again = r.Weighted.from_config(config)
    assert again == penalty
    assert hash(again) == hash(penalty)
    x = as_tensor(np.ones((40, 30)), "float32")
    assert as_float64(again(x)) == pytest.approx(w.sum(), rel=1e-6)


@pytest.mark.parametrize(
    "text", ["float32:2:eJz", "bits:2:eJwDAAAAAAE=", "float32:3x:", "float16:1:eJw="]
)
def test_malformed_string_is_named(text: str) -> None:
    """A string that this package did not write is an error that names the argument."""
    with pytest.raises(ValueError, match="`weights` of Weighted"):
        r.Weighted(r.L1(), text)


def test_adaptive_lasso_in_training(tmp_path: Any) -> None:
    """In a proximal step a heavy weight drops an entry that a light one keeps."""
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False)(inputs))
    target = np.array([[1.0], [1.0], [-1.0], [-1.0]])
    penalty = r.Weighted(r.L1(0.1), [[1.0], [20.0], [1.0], [20.0]])
    rule = Rule("*/kernel", regularizer=penalty)
    model.compile(Proximal(keras.optimizers.SGD(0.5), [rule]), loss="mse")
    model.fit(np.eye(4), target, batch_size=4, epochs=60, verbose=0)
    kernel = as_float64(model.weights[0])[:, 0]
    # The solution of min (w - t)^2 / 4 + 0.1 c |w|: t minus 0.2 c, or zero.
    np.testing.assert_allclose(kernel, [0.8, 0.0, -0.8, 0.0], atol=1e-3)
    model.compile("sgd", "mse")
    Policy([rule]).apply(model)
    model.save(tmp_path / "m.keras")
    loaded = keras_regx.load_model(tmp_path / "m.keras")
    assert loaded.weights[0].regularizer == penalty
