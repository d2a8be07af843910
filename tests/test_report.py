"""Reports: their numbers against NumPy, and every way to show them."""

from __future__ import annotations

import io
import json
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import keras_regx
from keras_regx import Policy, Rule, constraints, regularizers
from keras_regx.report import Report
from keras_regx.report.measure import sigma_max
from tests import zoo
from tests.backends import as_float64

POLICY = Policy(
    [
        Rule("*/kernel", regularizer=regularizers.L2(0.5)),
        Rule("head/*", regularizer=regularizers.L1(0.25)),
        Rule("body/*", constraint=constraints.MaxNorm(1.0, axis="units")),
    ]
)
KEYS = {
    "path", "shape", "size", "regularizer", "value", "share", "zeros", "zero_groups",
    "groups", "norm", "sigma_max", "constraint", "violation", "active",
}  # fmt: skip


@pytest.fixture
def model() -> keras.Model:
    """Return a model with penalties, constraints, and one unit that is zero."""
    made = POLICY.apply(zoo.functional()[0])
    zoo.seed_weights(made)
    kernel = as_float64(made.get_layer("body").kernel)
    kernel[:, 1] = 0.0
    kernel[0, 0] = 0.0
    made.get_layer("body").kernel.assign(kernel)
    return made


def test_numbers(model: keras.Model) -> None:
    """Every number of a row is the oracle's."""
    result = keras_regx.report(model)
    rows = {row["path"]: row for row in result.rows}
    assert list(rows) == ["body/kernel", "body/bias", "head/kernel", "head/bias"]
    assert all(set(row) == KEYS for row in result)
    kernel = as_float64(model.get_layer("body").kernel)
    norms = np.sqrt((kernel**2).sum(0))
    row = rows["body/kernel"]
    assert row["shape"] == (4, 5)
    assert row["size"] == 20
    assert row["regularizer"] == "L2(0.5)"
    assert row["value"] == pytest.approx(0.5 * (kernel**2).sum(), rel=1e-5)
    assert row["zeros"] == 5
    assert (row["zero_groups"], row["groups"]) == (1, 5)
    assert row["norm"] == pytest.approx(np.linalg.norm(kernel), rel=1e-5)
    assert row["sigma_max"] == pytest.approx(np.linalg.norm(kernel, 2), rel=1e-5)
    gap = np.maximum(norms - 1.0, 0)
    assert row["violation"] == pytest.approx(np.sqrt((gap**2).sum()), rel=1e-5)
    np.testing.assert_allclose(
        result.unit_norms["body/kernel"], np.sort(norms), rtol=1e-5
    )
    assert rows["body/bias"]["value"] is None
    assert rows["body/bias"]["zero_groups"] is None
    assert result.total == pytest.approx(
        float(keras_regx.total_penalty(model)), rel=1e-5
    )
    assert sum(r["share"] or 0 for r in result.rows) == pytest.approx(1.0)


def test_text(model: keras.Model) -> None:
    """The text shows what has a penalty or constraint, and says what is left out."""
    model.get_layer("head").trainable = False
    text = str(keras_regx.report(model))
    assert text.startswith("functional: 37 weights, 1 penalty, total ")
    assert "body/kernel" in text
    assert "2 frozen" in text
    assert "outside of the constraint" in text
    bare = zoo.functional()[0]
    assert "head/bias" in str(keras_regx.report(bare))
    Policy([Rule("body/kernel", regularizer="l2")]).apply(bare)
    text = str(keras_regx.report(bare))
    assert "head/bias" not in text
    assert "3 more without penalty or constraint: 17 weights." in text


def test_markdown(model: keras.Model) -> None:
    """The Markdown is one well-formed table."""
    lines = keras_regx.report(model).to_markdown().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 4 + 1
    assert len({line.count("|") for line in table}) == 1


def test_json(model: keras.Model) -> None:
    """The JSON has all rows with all keys; NaN becomes null."""
    model.get_layer("head").bias.assign([np.nan, 1.0])
    data = json.loads(keras_regx.report(model).to_json())
    assert len(data["rows"]) == 4
    assert set(data["rows"][0]) == KEYS
    assert data["rows"][3]["norm"] is None
    assert any("NaN" in note for note in data["notes"])


def test_rich(model: keras.Model) -> None:
    """On a terminal it is a table of rich."""
    rich = pytest.importorskip("rich.console", reason="rich is an extra")
    out = io.StringIO()
    rich.Console(file=out, width=160).print(keras_regx.report(model))
    assert "body/kernel" in out.getvalue()
    assert "█" in out.getvalue()


@pytest.mark.parametrize("before", [False, True], ids=["alone", "before"])
def test_picture(model: keras.Model, before: bool, tmp_path: Any) -> None:
    """The picture is a PNG of the stated size, and pyplot is left alone."""
    result = keras_regx.report(model)
    result.plot(tmp_path / "report.png", before=result if before else None)
    header = (tmp_path / "report.png").read_bytes()[:24]
    assert header[1:4] == b"PNG"
    assert int.from_bytes(header[16:20], "big") == 1950


@pytest.mark.parametrize("kind", ["bare", "biases", "zero", "nan"])
def test_picture_of_odd_models(kind: str, tmp_path: Any) -> None:
    """Nothing to show is shown as such, without warnings."""
    inputs = keras.Input((2,))
    layer = layers.PReLU() if kind == "biases" else layers.Dense(2, **zoo.ONES)
    made = keras.Model(inputs, layer(inputs))
    if kind == "zero":
        layer.kernel.regularizer = regularizers.L2()
        layer.kernel.assign(np.zeros((2, 2)))
    if kind == "nan":
        layer.kernel.assign(np.full((2, 2), np.nan))
    result = keras_regx.report(made)
    assert isinstance(result, Report)
    result.plot(tmp_path / "report.png")
    assert str(result)


@pytest.mark.parametrize("scale", [1e25, 1e-25], ids=["huge", "tiny"])
def test_extreme_weights(scale: float) -> None:
    """Norms are right where squares overflow or vanish."""
    made = zoo.functional()[0]
    made.get_layer("body").kernel.assign(np.full((4, 5), scale))
    row = keras_regx.report(made)[0]
    assert row["norm"] == pytest.approx(np.sqrt(20) * scale, rel=1e-5)
    assert row["sigma_max"] == pytest.approx(np.sqrt(20) * scale, rel=1e-5)


@pytest.mark.parametrize(
    "shape", [(3, 5), (200, 90), (90, 200), (1, 1), (0, 3)], ids=str
)
def test_sigma_max(shape: tuple[int, int]) -> None:
    """Exact for small matrices, to three digits for large random ones."""
    matrix = np.random.default_rng(0).normal(size=shape)
    expected = np.linalg.svd(matrix, compute_uv=False)[0] if matrix.size else 0.0
    assert sigma_max(matrix) == pytest.approx(expected, rel=2e-3)


def test_half_precision() -> None:
    """Weights in bfloat16 are measured too."""
    inputs = keras.Input((2,))
    made = keras.Model(inputs, layers.Dense(2, dtype="bfloat16", **zoo.ONES)(inputs))
    assert keras_regx.report(made)[0]["norm"] == pytest.approx(2.0)


@pytest.mark.slow
def test_many_weights() -> None:
    """A policy is applied to a model of 1,000 weights, and the model measured."""
    inputs = keras.Input((8,))
    x = inputs
    for _ in range(500):
        x = layers.Dense(8, **zoo.ONES)(x)
    made = keras.Model(inputs, x)
    Policy([Rule("*/kernel", regularizer=regularizers.L2())]).apply(made)
    assert len(keras_regx.report(made)) == 1000
