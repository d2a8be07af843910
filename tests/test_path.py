"""`regularization_path` against scikit-learn's lasso_path, and its conveniences."""

from __future__ import annotations

import json
import warnings
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, make_moons
from sklearn.linear_model import LogisticRegression, lasso_path

from keras_regx import regularization_path
from keras_regx.path import PathPoint, RegularizationPath
from keras_regx.path.fitting import Fitter
from keras_regx.regularizers import L1, L2, GroupLasso, OrthogonalRegularizer
from tests.training import linear, regression

KO = keras.optimizers


def small_path(factors: Any = 5, **arguments: Any) -> Any:
    """Return the L1 path of a small problem, by an optimizer of the user's."""
    x, y = regression(40, 8, 3)
    arguments = {"optimizer": KO.SGD(0.2), "steps": 200, "progress": False} | arguments
    return regularization_path(lambda: linear(8), (x, y), L1(1.0), factors, **arguments)


@pytest.mark.slow
def test_lasso_path_on_diabetes() -> None:
    """Factors and coefficients are those of scikit-learn's lasso_path."""
    x, y = load_diabetes(return_X_y=True, scaled=False)
    x = (x - x.mean(0)) / x.std(0)
    y = (y - y.mean()) / y.std()
    alphas = np.abs(x.T @ y).max() / len(y) * np.geomspace(1.0, 1e-2, 6)
    _, expected, _ = lasso_path(x, y, alphas=alphas, tol=1e-10)
    y = y[:, None]
    path = regularization_path(
        lambda: linear(10),
        (x, y),
        L1(1.0),
        6,
        optimizer=KO.SGD(0.1, momentum=0.9, nesterov=True),
        steps=800,
        tolerance=1e-4,
        min_ratio=1e-2,
        progress=False,
    )
    # scikit-learn halves the mean squared error.
    np.testing.assert_allclose(path.factors / 2, alphas, rtol=1e-4)
    np.testing.assert_allclose(path.norms().T, expected, atol=1e-4)
    # At the strongest factor the first coefficient is zero up to rounding.
    zeros = expected[:, 1:] == 0
    assert ((path.norms().T[:, 1:] == 0) == zeros).all()


@pytest.mark.slow
def test_strongest_factor() -> None:
    """All weights are zero at the strongest factor, and not just below it."""
    x, y = regression(40, 8, 3)
    strongest = 2 * np.abs(x.T @ (y - y.mean())).max() / len(y)
    path = small_path([1.01 * strongest, 0.97 * strongest])
    assert [point.nonzero for point in path] == [0, 1]
    assert small_path(2).factors[0] == pytest.approx(strongest, rel=1e-4)


@pytest.mark.slow
def test_smallest_ratio() -> None:
    """`min_ratio` is that of the weakest factor to the strongest."""
    path = small_path(3, optimizer=None, min_ratio=0.04)
    np.testing.assert_allclose(path.factors / path.factors[0], [1, 0.2, 0.04])


@pytest.mark.parametrize(
    "validation",
    [
        0.25,
        pytest.param(3, marks=pytest.mark.slow),
        pytest.param("pair", marks=pytest.mark.slow),
    ],
    ids=["share", "folds", "pair"],
)
def test_validation(validation: Any) -> None:
    """Every kind of validation gives a score, an error and a best point."""
    if validation == "pair":
        validation = regression(20, 8, 3, seed=1)
    path = small_path([2.0, 1.0], validation=validation)
    assert all(np.isfinite([point.score, point.error]).all() for point in path)
    assert path.best.score == min(point.score for point in path)
    assert path.simplest.factor >= path.best.factor
    assert "Validation" in str(path) == repr(path)
    assert "<table" in path._repr_html_()


@pytest.mark.slow
def test_validation_score_is_the_loss_without_penalty() -> None:
    """The score is the mean squared error on the held-out data."""
    x, y = regression(20, 8, 3, seed=1)
    point = small_path([0.5], validation=(x, y))[0]
    kernel, bias = point.weights
    squares = ((x @ kernel + bias - y) ** 2)[:, 0]
    assert point.score == pytest.approx(squares.mean(), rel=1e-5)
    assert point.error == pytest.approx(squares.std(ddof=1) / np.sqrt(20), rel=1e-5)


@pytest.mark.slow
def test_patience() -> None:
    """The path ends once validation stops improving."""
    x, y = regression(20, 8, 3, seed=1)
    path = small_path([2.0, 1.0, 3.0, 8.0], validation=(x, -y), patience=2)
    assert len(path) == 3


@pytest.mark.parametrize(
    "validation",
    [None, pytest.param(2, marks=pytest.mark.slow)],
    ids=["alone", "folds"],
)
def test_interrupted_path_goes_on(
    tmp_path: Any, monkeypatch: Any, validation: Any
) -> None:
    """Finished fits are read back, so the result equals that of one run."""
    fits = 0
    fit = Fitter.fit

    def fit_and_count(self: Any, model: Any, data: Any) -> int:
        nonlocal fits
        fits += 1
        if fits == 2:
            raise KeyboardInterrupt
        return fit(self, model, data)

    arguments = {"validation": validation}
    straight = small_path([2.0, 1.0], **arguments)
    monkeypatch.setattr(Fitter, "fit", fit_and_count)
    with pytest.raises(KeyboardInterrupt):
        small_path([2.0, 1.0], checkpoint=tmp_path, **arguments)
    path = small_path([2.0, 1.0], checkpoint=tmp_path, **arguments)
    assert fits == 1 + (6 if validation else 2)  # Only the interrupted one twice.
    np.testing.assert_allclose(path.norms(), straight.norms(), atol=1e-6)
    assert [p.score for p in path] == pytest.approx([p.score for p in straight])
    with pytest.raises(ValueError, match="another `checkpoint`"):
        small_path([3.0], checkpoint=tmp_path)


@pytest.mark.slow
def test_penalty_in_the_loss() -> None:
    """`method="loss"`: ridge regression in closed form, the factor a variable."""
    x, y = regression(40, 8, 3)
    path = regularization_path(
        lambda: linear(8, use_bias=False),
        (x, y),
        L2(1.0),
        [1.0, 0.3],
        method="loss",
        optimizer=KO.SGD(0.2),
        steps=100,
        tolerance=1e-4,
        progress=False,
    )
    for point, row in zip(path, path.norms(), strict=True):
        gram = x.T @ x / len(x) + point.factor * np.eye(8)
        expected = np.linalg.solve(gram, x.T @ y / len(x))[:, 0]
        np.testing.assert_allclose(row, expected, atol=1e-4)


@pytest.mark.slow
def test_minibatches_and_cold_starts() -> None:
    """Batches are seeded; a cold start gives the same optimum as a warm one."""
    with pytest.warns(UserWarning, match="limit of 20 steps"):
        first = small_path(3, batch_size=16, steps=20, tolerance=0)
    with pytest.warns(UserWarning, match="limit of 20 steps"):
        again = small_path(3, batch_size=16, steps=20, tolerance=0)
    np.testing.assert_array_equal(first.norms(), again.norms())
    cold = small_path([1.0, 0.5], optimizer=None, warm_start=False)
    warm = small_path([1.0, 0.5], optimizer=None)
    np.testing.assert_allclose(cold.norms(), warm.norms(), atol=1e-4)


def diabetes() -> tuple[Any, Any]:
    """Return the diabetes data, standardized, with a target of one column."""
    x, y = load_diabetes(return_X_y=True, scaled=False)
    x, y = (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()
    return x, y[:, None]


def test_default_solver_gives_the_lasso_path() -> None:
    """With no arguments but the data: scikit-learn's zeros and coefficients."""
    x, y = diabetes()
    path = regularization_path(
        lambda: linear(10), (x, y), L1(1.0), 8, min_ratio=1e-2, progress=False
    )
    alphas = np.abs(x.T @ y).max() / len(y) * np.geomspace(1.0, 1e-2, 8)
    _, expected, _ = lasso_path(x, y[:, 0], alphas=alphas, tol=1e-12, max_iter=100_000)
    np.testing.assert_allclose(path.factors / 2, alphas, rtol=2e-5)
    np.testing.assert_allclose(path.norms().T, expected, atol=1e-4)
    assert not path.norms()[0].any()
    # scikit-learn's first coefficient is zero up to rounding there.
    assert ((path.norms().T == 0) == (expected == 0))[:, 1:].all()
    assert all(point.converged and point.residual <= 1e-2 for point in path)


def cancer() -> tuple[Any, Any]:
    """Return the breast cancer data, standardized."""
    x, y = load_breast_cancer(return_X_y=True)
    return (x - x.mean(0)) / x.std(0), y.astype("float32")[:, None]


def test_default_solver_gives_sparse_logistic_regression() -> None:
    """scikit-learn's zeros and coefficients, for a loss that is no square."""
    x, y = cancer()
    factors = np.abs(x.T @ (y - y.mean())).max() / len(y) * np.array([0.5, 0.1, 0.03])
    path = regularization_path(
        lambda: linear(30, activation="sigmoid"),
        (x, y),
        L1(1.0),
        factors,
        loss="binary_crossentropy",
        progress=False,
    )
    for point, row in zip(path, path.norms(), strict=True):
        oracle = LogisticRegression(
            l1_ratio=1, C=1 / (point.factor * len(y)), solver="saga", tol=1e-9
        )
        expected = oracle.set_params(max_iter=100_000).fit(x, y[:, 0]).coef_[0]
        np.testing.assert_allclose(row, expected, atol=2e-4)
        assert ((row == 0) == (expected == 0)).all()
        assert point.converged


def kkt(x: Any, y: Any, point: PathPoint) -> float:
    """Return the violation of lasso's optimality condition, over the factor."""
    kernel, bias = (np.asarray(w, "float64") for w in point.weights)
    slope = 2 * x.T @ (x @ kernel + bias - y) / len(y)
    at_zero = np.maximum(np.abs(slope) - point.factor, 0)
    elsewhere = np.abs(slope + point.factor * np.sign(kernel))
    return np.where(kernel == 0, at_zero, elsewhere).max() / point.factor


def test_residual_is_the_violation_of_the_optimality_condition() -> None:
    """Of fits that have not converged, under the default solver and another."""
    x, y = regression(40, 8, 3)
    for optimizer in (None, KO.SGD(0.02)):
        with pytest.warns(UserWarning, match="limit of 4 steps"):
            path = small_path([2.0, 0.5], optimizer=optimizer, steps=4)
        for point in path:
            assert point.residual == pytest.approx(kkt(x, y, point), rel=1e-3)
            assert not point.converged
            assert point.steps == 4


def test_residual_of_a_penalty_in_the_loss() -> None:
    """`method="loss"`: the condition is the same; without a prox, the gradient."""
    x, y = regression(40, 8, 3)
    with pytest.warns(UserWarning, match="limit of 3 steps"):
        path = small_path([2.0, 0.5], method="loss", optimizer=None, steps=3)
    for point in path:
        assert point.residual == pytest.approx(kkt(x, y, point), rel=1e-3)
    with pytest.warns(UserWarning, match="limit of 7 steps"):
        path = regularization_path(
            lambda: linear(8, outputs=2),
            (x, np.hstack([y, -y])),
            OrthogonalRegularizer(1.0, mode="columns"),
            [0.5],
            method="loss",
            optimizer=KO.SGD(0.01),
            steps=7,
            progress=False,
        )
    assert path[0].residual > 0.01


def test_limit_of_steps_is_said() -> None:
    """The warning names factors and residuals; the tolerance decides."""
    with pytest.warns(
        UserWarning, match=r"2 of 2 fits.*limit of 5 steps.*2 \(residual"
    ):
        path = small_path([2.0, 1.0], optimizer=None, steps=5)
    assert [point.converged for point in path] == [False, False]
    loose = small_path([2.0, 1.0], optimizer=None, steps=5, tolerance=1e3)
    assert all(point.converged for point in loose)


def test_convergence_is_shown_and_kept(tmp_path: Any) -> None:
    """In the table, in JSON, and in the folder of finished fits."""
    arguments = {"optimizer": KO.SGD(0.02), "steps": 9, "checkpoint": tmp_path}
    with pytest.warns(UserWarning, match="limit"):
        first = small_path([2.0, 1.0], **arguments)
    with pytest.warns(UserWarning, match="limit"):
        again = small_path([2.0, 1.0], **arguments)
    assert [p.residual for p in again] == [p.residual for p in first]
    assert "Residual" in str(first)
    assert "Converged" in str(first)
    rows = json.loads(first.table().to_json())["rows"]
    assert [row["converged"] for row in rows] == [False, False]
    assert [row["residual"] for row in rows] == [p.residual for p in first]
    assert [row["steps"] for row in rows] == [9, 9]


@pytest.mark.slow
def test_folder_of_an_older_run(tmp_path: Any) -> None:
    """A fit that was kept without a residual is measured when it is read."""
    arguments = {"optimizer": None, "checkpoint": tmp_path}
    first = small_path([2.0], **arguments)
    file = tmp_path / "path" / "point0.npz"
    with np.load(file) as kept:
        older = {name: kept[name] for name in kept.files if name != "residual"}
    np.savez(file, **older)
    again = small_path([2.0], **arguments)
    assert again[0].converged
    np.testing.assert_array_equal(again.norms(), first.norms())


def moons_network() -> Any:
    """Return a network of three penalized layers, for two inputs."""
    inputs = keras.Input((2,))
    hidden = keras.layers.Dense(8, "tanh")(inputs)
    hidden = keras.layers.Dense(8, "tanh")(hidden)
    return keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(hidden))


def entropy(path: RegularizationPath, x: Any, y: Any, index: int) -> float:
    """Return the loss of a point of `moons_network`, by NumPy in float64."""
    h = np.asarray(x, "float64")
    *hidden, kernel, bias = (np.asarray(w, "float64") for w in path[index].weights)
    for w, b in zip(hidden[::2], hidden[1::2], strict=True):
        h = np.tanh(h @ w + b)
    logit = h @ kernel + bias
    return float(np.mean(np.logaddexp(0, logit) - y * logit))


@pytest.mark.parametrize(
    "factors", [4, pytest.param([0.1, 0.02, 0.004, 5e-4], marks=pytest.mark.slow)]
)
def test_path_of_a_network_never_sits_at_the_saddle(factors: Any) -> None:
    """From no weights to many; zero only where zero has the smaller objective."""
    x, y = make_moons(200, noise=0.2, random_state=0)
    y = y[:, None].astype("float32")
    keras.utils.set_random_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Some of these fits may be slow to settle.
        path = regularization_path(
            moons_network,
            (x, y),
            L1(1.0),
            factors,
            loss="binary_crossentropy",
            steps=150,
            progress=False,
        )
    assert list(path.factors) == sorted(path.factors, reverse=True)
    nonzero = [point.nonzero for point in path]
    assert nonzero[0] == 0
    assert nonzero[-1] >= 20
    share = y.mean()
    chance = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    sizes = np.abs(path.norms()).sum(1)
    for index, point in enumerate(path):
        objective = entropy(path, x, y, index) + point.factor * sizes[index]
        assert objective <= chance + 1e-4
        # A point at zero would be beaten by its neighbour's weights otherwise.
        if not point.nonzero and index + 1 < len(path):
            loss = entropy(path, x, y, index + 1)
            assert loss + point.factor * sizes[index + 1] >= chance - 1e-4
    assert entropy(path, x, y, len(path) - 1) < 0.35


@pytest.mark.slow
def test_weight_that_multiplies_itself() -> None:
    """A layer used twice has a saddle at zero too, though it is one weight."""
    x = np.random.default_rng(0).normal(size=(50, 3))
    y = x @ np.diag([4.0, 1.0, 0.25])

    def twice() -> Any:
        layer = keras.layers.Dense(3, use_bias=False)
        inputs = keras.Input((3,))
        return keras.Model(inputs, layer(layer(inputs)))

    keras.utils.set_random_seed(0)
    path = regularization_path(twice, (x, y), L1(1.0), 4, steps=3000, progress=False)
    assert path[0].nonzero == 0
    assert path[-1].nonzero >= 3
    assert path[-1].loss < 0.01 * path[0].loss
    assert all(point.converged for point in path)


@pytest.mark.slow
def test_strongest_factor_of_several_linear_layers() -> None:
    """Several penalized layers that are no network: zero is no saddle there."""
    x, y = regression(60, 6, 3)

    def two_heads() -> Any:
        inputs = keras.Input((6,))
        heads = [keras.layers.Dense(1)(inputs) for _ in range(2)]
        return keras.Model(inputs, keras.layers.Add()(heads))

    path = regularization_path(two_heads, (x, y), L1(1.0), 3, progress=False)
    strongest = 2 * np.abs(x.T @ (y - y.mean())).max() / len(y)
    assert path.factors[0] == pytest.approx(strongest, rel=1e-4)
    assert [point.nonzero > 0 for point in path] == [False, True, True]


@pytest.mark.slow
def test_penalties_without_a_formula() -> None:
    """Groups satisfy their condition; the factor 0 gives least squares."""
    x, y = regression(60, 6, 3)
    y = np.hstack([y, x[:, :1] - y])
    path = regularization_path(
        lambda: linear(6, outputs=2),
        (x, y),
        GroupLasso(1.0, axis=0),
        [2.0, 1.4, 0.3, 0.0],
        progress=False,
    )
    assert all(point.converged for point in path)
    assert (path.norms(axis=0) > 0).sum(1).tolist() == [0, 1, 2, 2]
    for point in path[1:3]:
        kernel, bias = (np.asarray(w, "float64") for w in point.weights)
        slope = x.T @ (x @ kernel + bias - y) / len(y)  # Two outputs share the mean.
        norms, pull = np.linalg.norm(kernel, axis=0), point.factor * np.sqrt(6)
        for unit in range(2):
            if norms[unit]:
                unit_kernel = kernel[:, unit] / norms[unit]
                np.testing.assert_allclose(
                    slope[:, unit], -pull * unit_kernel, atol=1e-4
                )
            else:
                assert np.linalg.norm(slope[:, unit]) <= pull
    centred = x - x.mean(0)
    expected = np.linalg.lstsq(centred, y - y.mean(0))[0]
    np.testing.assert_allclose(path[-1].weights[0], expected, atol=1e-4)


@pytest.mark.slow
def test_optimizer_of_the_users_on_a_network() -> None:
    """Adam on batches has no points at the saddle either, and its residuals."""
    x, y = make_moons(200, noise=0.2, random_state=0)
    keras.utils.set_random_seed(1)
    with pytest.warns(UserWarning, match="limit of 400 steps"):
        path = regularization_path(
            moons_network,
            (x, y[:, None].astype("float32")),
            L1(1.0),
            [1.0, 0.001],
            loss="binary_crossentropy",
            optimizer=KO.Adam(0.02),
            batch_size=50,
            steps=400,
            progress=False,
        )
    assert path[0].nonzero == 0
    assert path[0].converged
    assert path[1].nonzero > 10
    assert path[1].loss < 0.3


def made_up(*, scored: bool) -> RegularizationPath:
    """Return a path of three points without fitting anything."""
    scores = (3.0, 1.0, 1.1) if scored else (None, None, None)
    points = [
        PathPoint(
            factor=factor,
            weights=[],
            coefficients={"linear/kernel": np.full((4, 2), 1.0 / factor)},
            loss=1.0,
            score=score,
            error=0.2 if scored else None,
            steps=10,
        )
        for factor, score in zip((4.0, 2.0, 1.0), scores, strict=True)
    ]
    return RegularizationPath(points, "L1(l1=1.0)")


@pytest.mark.parametrize("scored", [True, False], ids=["scored", "unscored"])
def test_plot(tmp_path: Any, scored: bool) -> None:
    """One curve per coefficient or group; validation has a panel of its own."""
    path = made_up(scored=scored)
    figure = path.plot(tmp_path / "path.png")
    assert (tmp_path / "path.png").stat().st_size > 1000
    assert len(figure.axes[0].lines) == 8 + 1  # And the line at zero.
    assert len(path.plot(axis=0).axes[0].lines) == 2 + 1
    labels = [panel.get_ylabel() for panel in figure.axes]
    assert labels == ["coefficient", *["loss", "nonzero weights"] * scored]


def test_best_and_simplest() -> None:
    """The best has the smallest loss; the simplest is within an error of it."""
    path = made_up(scored=True)
    assert (path.best.factor, path.simplest.factor) == (2.0, 2.0)
    with pytest.raises(ValueError, match="validation="):
        _ = made_up(scored=False).best


def starts_at_zero() -> Any:
    """Return a network whose kernels are zero, where its loss has no slope."""
    inputs = keras.Input((8,))
    zeros = {"kernel_initializer": "zeros"}
    hidden = keras.layers.Dense(4, "tanh", **zeros)(inputs)
    return keras.Model(inputs, keras.layers.Dense(1, **zeros)(hidden))


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no-prox": ({"regularizer": OrthogonalRegularizer()}, "`method`"),
    "no-strongest": ({"regularizer": L2(1.0)}, "never makes all weights zero"),
    "pattern": ({"pattern": "*/missing"}, "linear/kernel, linear/bias"),
    "method": ({"method": "admm"}, "`method`"),
    "data": ({"data": (np.ones((3, 8)), np.ones((4, 1)))}, "`data`"),
    "validation": ({"validation": 1.5}, "`validation`"),
    "factors": ({"factors": [-1.0]}, "`factors`"),
    "no-factors": ({"factors": []}, "`factors`.*factors=\\[\\]"),
    "factors-number": ({"factors": 2.5}, "`factors`.*factors=2.5"),
    "flat": ({"build": starts_at_zero}, "no fit is better"),
    "build": ({"build": 3}, "`build`"),
    "empty": ({"data": (np.ones((0, 8)), np.ones((0, 1)))}, "`data`"),
    "no-target": ({"data": (np.ones((3, 8)), None)}, "`data`"),
    "held-out": ({"validation": (np.ones((3, 8)),)}, "`validation`"),
    "batch-size": ({"batch_size": 0}, "`batch_size`"),
    "batches": ({"batch_size": 5}, "`batch_size`.*default solver.*batch_size=5"),
    "tolerance": ({"tolerance": -1.0}, "`tolerance`"),
    "steps": ({"steps": 0}, "`steps`"),
    "patience": ({"patience": 0}, "`patience`"),
    "seed": ({"seed": "a"}, "`seed`"),
    "warm-start": ({"warm_start": 1}, "`warm_start`"),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n == "no-strongest")) for n in WRONG],
)
def test_wrong_arguments(name: str) -> None:
    """A wrong argument is named, with what was expected."""
    arguments, message = WRONG[name]
    base = {
        "build": lambda: linear(8),
        "data": regression(20, 8, 3),
        "regularizer": L1(1.0),
        "factors": 3,
        "steps": 3,
        "progress": False,
    }
    with pytest.raises(ValueError, match=message):
        regularization_path(**(base | arguments))
