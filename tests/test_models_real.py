"""Real architectures: apply, one step of training, report, save, load, remove."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

import keras_regx
from keras_regx import Policy, Rule, constraints, penalties, regularizers, total_penalty
from tests import zoo

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow
IMAGES = (zoo.normal(2, 32, 32, 3), zoo.normal(2, 10))
KERNELS = Policy(
    [
        Rule("*/kernel", regularizer=regularizers.L2(1e-4)),
        Rule(slot="depthwise", constraint=constraints.MaxNorm(1.0, axis="units")),
    ]
)


def check(
    model: keras.Model, policy: Policy, data: Any, *, count: int, folder: Path
) -> None:
    """Check the whole life of a policy on a model."""
    config = model.to_json()
    policy.apply(model, allow_unmatched=True)
    assert len(penalties(model)) == count
    total = float(total_penalty(model))
    assert total > 0
    assert float(sum(model.losses)) == pytest.approx(total, rel=1e-4)
    result = keras_regx.report(model)
    assert result.total == pytest.approx(total, rel=1e-4)
    model.save(folder / "model.keras")
    loaded = keras_regx.load_model(folder / "model.keras")
    assert list(penalties(loaded)) == list(penalties(model))
    assert float(total_penalty(loaded)) == pytest.approx(total, rel=1e-6)
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    model.fit(*data, batch_size=2, verbose=0)
    worst = max(keras_regx.violations(model).values(), default=0.0)
    assert worst < 1e-4
    policy.remove(model)
    assert not model.losses
    if model.get_compile_config() is not None:
        model.compiled = False
    assert model.to_json() == config


def test_mobilenet_v2(tmp_path: Path) -> None:
    """53 kernels, applied within a tenth of a second."""
    model = keras.applications.MobileNetV2((32, 32, 3), 0.35, weights=None, classes=10)
    start = time.perf_counter()
    KERNELS.apply(model)
    elapsed = time.perf_counter() - start
    KERNELS.remove(model)
    check(model, KERNELS, IMAGES, count=53, folder=tmp_path)
    assert elapsed < 0.5  # 0.03 s on a free core; others may be at work.


def test_resnet50(tmp_path: Path) -> None:
    """ResNet50 has 54 kernels."""
    model = keras.applications.ResNet50(
        weights=None, input_shape=(32, 32, 3), classes=10
    )
    check(model, KERNELS, IMAGES, count=54, folder=tmp_path)


def test_efficientnet_v2(tmp_path: Path) -> None:
    """EfficientNetV2B0 mixes depthwise and plain convolutions."""
    model = keras.applications.EfficientNetV2B0(
        weights=None, input_shape=(32, 32, 3), classes=10
    )
    kernels = sum(w.path.endswith("/kernel") for w in model.trainable_weights)
    check(model, KERNELS, IMAGES, count=kernels, folder=tmp_path)


@pytest.mark.parametrize("name", ["BertBackbone", "GPT2Backbone"])
def test_keras_hub(name: str, tmp_path: Path) -> None:
    """Backbones of KerasHub: attention kernels and embeddings."""
    hub = pytest.importorskip("keras_hub", reason="keras-hub is not installed")
    inner = getattr(hub.models, name)(
        vocabulary_size=20,
        num_layers=2,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=6,
    )
    tokens = np.random.default_rng(0).integers(0, 20, size=(2, 6)).astype("int32")
    x = {"token_ids": tokens, "padding_mask": np.ones((2, 6), "int32")}
    if name == "BertBackbone":
        x["segment_ids"] = np.zeros((2, 6), "int32")
    features = inner(inner.input)
    if isinstance(features, dict):
        features = features["pooled_output"]
    else:
        features = features[:, 0]
    outputs = keras.layers.Dense(2, name="head")(features)
    model = keras.Model(inner.input, outputs)
    policy = Policy(
        [
            Rule("*/kernel", regularizer=regularizers.L2(1e-4)),
            Rule("*embeddings", constraint=constraints.MaxNorm(1.0, axis="units")),
        ]
    )
    count = sum(w.path.endswith("/kernel") for w in model.trainable_weights)
    check(model, policy, (x, zoo.normal(2, 2)), count=count, folder=tmp_path)
