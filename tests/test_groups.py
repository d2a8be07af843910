"""Groups by label: lengths, scales, zeros, and what a label means for each layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras import layers, ops

from keras_regx import Policy, Rule
from keras_regx import constraints as c
from keras_regx import regularizers as r
from keras_regx.models import sites
from keras_regx.policy.layout import bind
from tests import zoo
from tests.backends import as_float64, as_tensor, value_and_gradient
from tests.cases_penalties import by_label

MEMBERS = (
    lambda labels, **axis: r.GroupLasso(0.5, groups=labels, **axis),
    lambda labels, **axis: r.SparseGroupLasso(0.5, groups=labels, **axis),
    lambda labels, **axis: c.GroupTopK(1, groups=labels, **axis),
)
EVERY_MEMBER = pytest.mark.parametrize("make", MEMBERS, ids=["lasso", "sparse", "topk"])


@EVERY_MEMBER
@pytest.mark.parametrize(
    ("axis", "labels"), [("units", [0] * 5), ("inputs", [0] * 4), ("units", [0])]
)
def test_wrong_length_names_groups(make: Any, axis: str, labels: list[int]) -> None:
    """Too many or too few labels are an error at the call, with the right number."""
    with pytest.raises(
        ValueError, match=f"`groups`.*Expected {9 - (5, 4)[axis != 'units']}"
    ):
        make(labels, axis=axis)(ops.ones((5, 4)))


@EVERY_MEMBER
def test_arrays_of_labels_become_lists(make: Any) -> None:
    """Labels are kept as plain Python ints, whatever they are given as."""
    assert make(np.array([0, 1])) == make([0, 1]) == make((0, 1))
    assert make(np.array([0, 1])).get_config()["groups"] == [0, 1]


@EVERY_MEMBER
def test_one_label_each_is_no_label(make: Any) -> None:
    """Labels that all differ are the groups that the axis makes."""
    x = np.random.default_rng(0).normal(size=(3, 2, 4))
    labelled, plain = make([5, 1, 3, 2])(x), make(None)(x)
    np.testing.assert_allclose(as_float64(labelled), as_float64(plain), rtol=1e-6)


def test_large_and_small_groups_together() -> None:
    """One group of half the units among single ones is summed as it is."""
    labels = [0] * 50 + list(range(1, 51))
    x = np.random.default_rng(0).normal(size=(3, 100))
    groups = by_label(x, -1, labels)
    expected = sum(np.sqrt(g.size) * np.linalg.norm(g) for g in groups)
    value = as_float64(r.GroupLasso(1.0, groups=labels)(as_tensor(x, "float32")))
    assert value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scales(scale: float) -> None:
    """Neither tiny nor huge entries are squared as they are."""
    x = as_tensor(np.array([[3.0, 4.0, 1.0]]) * scale, "float32")
    penalty = r.GroupLasso(1.0, groups=[0, 0, 1], weighted=False)
    assert as_float64(penalty(x)) / scale == pytest.approx(6.0, rel=1e-5)
    shrunk = as_float64(penalty.prox(x, 2.5 * scale)) / scale
    np.testing.assert_allclose(shrunk, [[1.5, 2.0, 0.0]], rtol=1e-5)


def test_zero_groups_have_gradient_zero() -> None:
    """A group at zero, and a zero unit of another group, get gradient zero."""
    x = as_tensor([[0.0, 0.0, 0.0, 3.0]], "float32")
    gradient = value_and_gradient(r.GroupLasso(1.0, groups=[0, 0, 1, 1]), x)[1]
    np.testing.assert_allclose(gradient, [[0, 0, 0, 2**0.5]], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype: str) -> None:
    """The norms are those of float32, and the prox comes back in half precision."""
    x = as_tensor([[3.0, 4.0, 0.5]], dtype)
    penalty = r.GroupLasso(1.0, groups=[0, 0, 1], weighted=False)
    assert as_float64(penalty(x)) == pytest.approx(5.5, rel=1e-6)
    y = penalty.prox(x, 1.0)
    assert dtype in str(y.dtype)
    np.testing.assert_allclose(as_float64(y), [[2.4, 3.2, 0.0]], rtol=1e-2)


def test_ties_keep_the_label_that_comes_first() -> None:
    """Of equal norms the group is kept whose label stands first."""
    w = c.GroupTopK(1, groups=[9, 4, 9, 4])(ops.ones((2, 4)))
    np.testing.assert_array_equal(as_float64(w), [[1, 0, 1, 0]] * 2)


@pytest.mark.parametrize(
    ("fraction", "kept"), [(0.0, 0), (0.01, 1), (0.5, 2), (0.7, 3), (1.0, 4)]
)
def test_fraction_of_groups(fraction: float, kept: int) -> None:
    """A fraction is rounded to the nearest count, at least one unless it is 0."""
    w = as_float64(c.GroupTopK(fraction=fraction)(ops.ones((3, 4))))
    assert np.count_nonzero(w.any(axis=0)) == kept
    labels = [0, 0, 1, 1, 2, 2, 3, 3]
    w = as_float64(c.GroupTopK(fraction=fraction, groups=labels)(ops.ones((3, 8))))
    assert np.count_nonzero(w.any(axis=0)) == 2 * kept


HEADS = layers.EinsumDense("abc,cde->abde", (9, 2, 3))
PLANE = layers.EinsumDense("ac,cde->ade", (2, 3), bias_axes="de")
# Layer, shape of its input, slot, and the axes that its units or inputs are on.
LAYERS = [
    (layers.Conv2DTranspose(3, 2), (None, 5, 5, 2), "kernel", "units", (2,)),
    (layers.Conv2DTranspose(3, 2), (None, 5, 5, 2), "kernel", "inputs", (3,)),
    (layers.DepthwiseConv2D(2), (None, 5, 5, 3), "depthwise", "units", (2, 3)),
    (layers.Embedding(5, 3), (None, 2), "embeddings", "inputs", (0,)),
    (HEADS, (9, 9, 5), "kernel", "units", (1, 2)),
    (PLANE, (9, 5), "bias", "units", (0, 1)),
]


@EVERY_MEMBER
@pytest.mark.parametrize("row", LAYERS, ids=lambda r: f"{r[0].name}-{r[3]}")
def test_labels_are_the_layers(make: Any, row: Any) -> None:
    """A rule's labels number the units or inputs of the layer, in row-major order."""
    layer, shape, slot, role, axes = row
    layer = type(layer).from_config(layer.get_config())
    layer.build(shape)
    site = next(site for site in sites(layer) if site.slot == slot)
    w = np.random.default_rng(0).normal(size=site.shape).astype("float32")
    count = int(np.prod([w.shape[a] for a in axes]))
    labels = [i % 2 for i in range(count)]
    flat = np.moveaxis(w, axes, range(-len(axes), 0)).reshape(-1, count)
    bound = bind(make(labels, axis=role), site)
    expected = as_float64(make(labels)(flat))
    result = as_float64(bound(ops.convert_to_tensor(w)))
    if result.ndim:
        result = np.moveaxis(result, axes, range(-len(axes), 0)).reshape(-1, count)
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    assert type(bound).from_config(bound.get_config()) == bound


def test_rule_with_labels_is_saved(tmp_path: Any) -> None:
    """A policy with labels trains, and comes back from a file."""
    model = zoo.functional()[0]
    penalty = r.GroupLasso(0.1, groups=[0, 0, 1, 1, 1])
    constraint = c.GroupTopK(1, groups=[0, 0, 1, 1, 1])
    rule = Rule("body/kernel", regularizer=penalty, constraint=constraint)
    Policy([rule]).apply(model)
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 4)), np.ones((4, *model.output_shape[1:])), verbose=0)
    kept = as_float64(model.get_layer("body").kernel).any(axis=0)
    assert list(kept) in ([True] * 2 + [False] * 3, [False] * 2 + [True] * 3)
    model.save(tmp_path / "m.keras")
    from keras_regx import load_model

    kernel = load_model(tmp_path / "m.keras").get_layer("body").kernel
    assert (kernel.regularizer, kernel.constraint) == (penalty, constraint)
