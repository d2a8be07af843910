"""Real models: apply, one step of training, report, save, a fresh process, remove."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

import keras_regx
from keras_regx import Policy, Rule, constraints, penalties, regularizers, total_penalty
from tests import zoo
from tests.backends import BACKEND, as_float64

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.slow
IMAGES = (zoo.normal(2, 32, 32, 3), zoo.normal(2, 10))
TOKENS = np.random.default_rng(0).integers(0, 20, size=(2, 6)).astype("int32")
L2 = Rule("*/kernel", regularizer=regularizers.L2(1e-4))
KERNELS = Policy(
    [L2, Rule(slot="depthwise", constraint=constraints.MaxNorm(1.0, axis="units"))]
)

# A process that loads the models it is told of, and says what their penalties are.
FRESH = """
import importlib.util, json, sys
import keras_regx, tests.zoo
if importlib.util.find_spec("keras_hub"):
    import keras_hub
for line in sys.stdin:
    model = keras_regx.load_model(line.strip())
    found = {k: float(v) for k, v in keras_regx.penalties(model).items()}
    print(json.dumps(found), flush=True)
"""


@pytest.fixture(scope="module")
def in_fresh_process() -> Iterator[Callable[[Path], dict[str, float]]]:
    """Return a function that loads a file elsewhere and returns its penalties."""
    with subprocess.Popen(
        [sys.executable, "-c", FRESH],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "KERAS_BACKEND": BACKEND},
    ) as process:

        def ask(path: Path) -> dict[str, float]:
            assert process.stdin
            assert process.stdout
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
        process.communicate()


def application(name: str) -> keras.Model:
    """Return a small model of keras.applications for tiny images."""
    extra = {"alpha": 0.35} if name == "MobileNetV2" else {}
    make = getattr(keras.applications, name)
    return make(weights=None, input_shape=(32, 32, 3), classes=10, **extra)


def backbone(name: str) -> tuple[keras.Model, Any]:
    """Return a classifier on a small backbone of KerasHub, and its inputs."""
    hub = pytest.importorskip("keras_hub", reason="keras-hub is not installed")
    inner = getattr(hub.models, name)(
        vocabulary_size=20,
        num_layers=2,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=6,
    )
    x = {"token_ids": TOKENS, "padding_mask": np.ones_like(TOKENS)}
    features = inner(inner.input)
    if name == "BertBackbone":
        x["segment_ids"] = np.zeros_like(TOKENS)
        features = features["pooled_output"]
    else:
        features = features[:, 0]
    outputs = keras.layers.Dense(2, name="head")(features)
    return keras.Model(inner.input, outputs), x


def costs(model: keras.Model) -> dict[str, float]:
    """Return the value of every penalty."""
    return {name: float(as_float64(v)) for name, v in penalties(model).items()}


def losses(model: keras.Model) -> float:
    """Return what Keras adds to the loss."""
    return float(sum(as_float64(loss) for loss in model.losses))


def live(
    model: keras.Model, policy: Policy, data: Any, path: Path, ask: Any
) -> dict[str, float]:
    """Lead a policy through its life on a model; return the trained penalties."""
    config, before = model.to_json(), costs(model)
    policy.apply(model)
    assert losses(model) == pytest.approx(float(total_penalty(model)), rel=1e-4)
    model.compile(keras.optimizers.SGD(1e-6), "mse")
    model.fit(*data, batch_size=2, verbose=0)
    assert max(keras_regx.violations(model).values(), default=0.0) < 1e-4
    trained = costs(model)
    result = keras_regx.report(model)
    assert result.total == pytest.approx(sum(trained.values()), rel=1e-4)
    model.save(path)
    found = ask(path)
    # Keras leaves the name of a subclassed model out of the paths when it loads.
    assert list(map(ending, found)) == list(map(ending, trained))
    np.testing.assert_allclose(list(found.values()), list(trained.values()), rtol=1e-5)
    policy.remove(model)
    assert list(costs(model)) == list(before)
    model.compiled = False  # As it was: `to_json` would say how it is compiled.
    assert model.to_json() == config
    return trained


def ending(name: str) -> str:
    """Return the layer, the weight and the penalty of a name."""
    return "/".join(name.split("/")[-4:])


def is_kernel(variable: Any) -> bool:
    """Return whether the rule on kernels is about a weight."""
    return variable.path.endswith("/kernel")


@pytest.mark.parametrize(
    ("name", "count"), [("MobileNetV2", 53), ("ResNet50", 54), ("EfficientNetV2B0", 92)]
)
def test_applications(
    name: str, count: int, tmp_path: Path, in_fresh_process: Any
) -> None:
    """Networks for images, with plain and depthwise convolutions."""
    policy = KERNELS if name != "ResNet50" else Policy([L2])
    path = tmp_path / "model.keras"
    found = live(application(name), policy, IMAGES, path, in_fresh_process)
    assert len(found) == count


def test_time_of_apply() -> None:
    """MobileNetV2's 53 kernels take less than a tenth of a second."""
    model = application("MobileNetV2")
    times = []
    for _ in range(3):
        start = time.process_time()
        KERNELS.apply(model)
        times.append(time.process_time() - start)
        KERNELS.remove(model)
    assert min(times) < 0.1


@pytest.mark.parametrize("name", ["BertBackbone", "GPT2Backbone"])
def test_keras_hub(name: str, tmp_path: Path, in_fresh_process: Any) -> None:
    """Backbones of KerasHub: attention kernels and embeddings."""
    model, x = backbone(name)
    rows = constraints.MaxNorm(1.0, axis="units")
    policy = Policy([L2, Rule("*embeddings", constraint=rows)])
    count = sum(map(is_kernel, model.trainable_weights))
    data = (x, zoo.normal(2, 2))
    found = live(model, policy, data, tmp_path / "model.keras", in_fresh_process)
    assert len(found) == count


def test_easy_net(tmp_path: Path, in_fresh_process: Any) -> None:
    """The subclassed network of three dense layers, with its listing of losses."""
    model, *data = zoo.subclassed()
    path = tmp_path / "model.keras"
    found = live(model, Policy([L2]), data, path, in_fresh_process)
    ends = ("fully_connected", "fully_connected_1", "fully_connected_2")
    assert [*map(ending, found)] == [f"{end}/kernel/Regularizer/l2" for end in ends]


def test_subclassed(tmp_path: Path, in_fresh_process: Any) -> None:
    """A list of layers, a layer without arguments, and a penalty that comes back."""
    model = zoo.Tower(name="tower")
    data = (zoo.normal(6, 4), zoo.normal(6, 2))
    model(data[0])
    rules = [L2, Rule("*/gain", regularizer=regularizers.GroupLasso(0.1))]
    path = tmp_path / "model.keras"
    found = live(model, Policy(rules), data, path, in_fresh_process)
    kinds = [name.rsplit("/", 1)[1] for name in found]
    assert kinds == ["l2", "l2", "l2", "group_lasso", "l2"]
    assert [name[-2:] for name in costs(model)] == ["l1"]
