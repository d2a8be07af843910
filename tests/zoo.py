"""Small models of every kind that a policy has to work on, with data to fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, ops

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray
# Compiling random initializers for every shape takes JAX longer than the tests.
ONES: dict[str, Any] = {"kernel_initializer": "ones"}
Built = tuple[keras.Model, Array, Array]


def normal(*shape: int) -> Array:
    """Return a fixed sample of standard normals."""
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@keras.saving.register_keras_serializable(package="zoo")
class Scale(layers.Layer):
    """A layer of someone's own, whose weight has no arguments for penalties."""

    def build(self, shape: Any) -> None:
        """Make the weight."""
        self.gain = self.add_weight(
            shape=(shape[-1], 2), name="gain", initializer="ones"
        )
        self.built = True

    def call(self, x: Any) -> Any:
        """Multiply by the row sums of the weight."""
        return x * ops.sum(self.gain, axis=-1)


@keras.saving.register_keras_serializable(package="zoo")
class EasyNet(keras.Model):
    """Three dense layers in a class of someone's own."""

    def __init__(self, units: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.flatten = layers.Flatten()
        self.fully_connected = layers.Dense(
            units, "tanh", name="fully_connected", **ONES
        )
        self.fully_connected_1 = layers.Dense(
            units, "tanh", name="fully_connected_1", **ONES
        )
        self.fully_connected_2 = layers.Dense(2, name="fully_connected_2", **ONES)

    def call(self, x: Any) -> Any:
        """Return the logits."""
        x = self.fully_connected(self.flatten(x))
        return self.fully_connected_2(self.fully_connected_1(x))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="zoo")
class Tower(keras.Model):
    """Someone's own model of a list of layers and one of their own, with a penalty."""

    def __init__(self, depth: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.depth = depth
        self.floors = [layers.Dense(4, "tanh", name=f"f{i}") for i in range(depth)]
        self.scale = Scale(name="scale")
        self.head = layers.Dense(2, kernel_regularizer="l1", name="head")

    def call(self, x: Any) -> Any:
        """Return the head of the floors."""
        for layer in (*self.floors, self.scale):
            x = layer(x)
        return self.head(x)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "depth": self.depth}


def functional() -> Built:
    """Return two dense layers."""
    inputs = keras.Input((4,))
    x = layers.Dense(5, "relu", name="body", **ONES)(inputs)
    outputs = layers.Dense(2, name="head", **ONES)(x)
    return keras.Model(inputs, outputs, name="functional"), normal(6, 4), normal(6, 2)


def sequential() -> Built:
    """Return a sequential model with batch normalization."""
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(5, name="body", **ONES),
            layers.BatchNormalization(name="bn"),
            layers.PReLU(name="prelu"),
            layers.Dense(2, name="head", **ONES),
        ],
        name="sequential",
    )
    return model, normal(6, 4), normal(6, 2)


def deferred() -> Built:
    """Return a sequential model that was built by its first batch."""
    model = keras.Sequential(
        [layers.Dense(5, name="body", **ONES), layers.Dense(2, **ONES)]
    )
    model(normal(6, 4))
    return model, normal(6, 4), normal(6, 2)


def subclassed() -> Built:
    """Return a model of someone's own class."""
    model = EasyNet(name="EasyNet")
    model(normal(6, 2, 2))
    return model, normal(6, 2, 2), normal(6, 2)


def convolutional() -> Built:
    """Return plain, transposed, depthwise and separable convolutions."""
    inputs = keras.Input((5, 5, 2))
    x = layers.Conv2D(3, 2, name="conv", **ONES)(inputs)
    x = layers.Conv2DTranspose(4, 2, name="transposed", **ONES)(x)
    x = layers.DepthwiseConv2D(
        2, depth_multiplier=2, name="depthwise", depthwise_initializer="ones"
    )(x)
    x = layers.SeparableConv2D(
        3,
        2,
        name="separable",
        depthwise_initializer="ones",
        pointwise_initializer="ones",
    )(x)
    x = layers.GlobalAveragePooling2D()(x)
    outputs = layers.Dense(2, name="head", **ONES)(x)
    return keras.Model(inputs, outputs), normal(3, 5, 5, 2), normal(3, 2)


def attention() -> Built:
    """Return an embedding, attention, a layer without arguments and one's own."""
    inputs = keras.Input((3,), dtype="int32")
    x = layers.Embedding(7, 4, "ones", name="tokens")(inputs)
    x = layers.MultiHeadAttention(2, 3, name="attention", **ONES)(x, x)
    x = layers.RMSNormalization(name="rms")(x)
    x = Scale(name="scale")(x)
    outputs = layers.Dense(2, name="head", **ONES)(x[:, 0])
    tokens = np.random.default_rng(0).integers(0, 7, size=(5, 3)).astype("int32")
    return keras.Model(inputs, outputs), tokens, normal(5, 2)


def recurrent() -> Built:
    """Return recurrent layers and the wrappers around them."""
    inputs = keras.Input((3, 2))
    x = layers.TimeDistributed(layers.Dense(3, name="each", **ONES), name="time")(
        inputs
    )
    x = layers.Bidirectional(
        layers.LSTM(2, recurrent_initializer="ones", **ONES), name="both"
    )(x)
    outputs = layers.SpectralNormalization(
        layers.Dense(2, name="head", **ONES), name="sn"
    )(x)
    return keras.Model(inputs, outputs), normal(4, 3, 2), normal(4, 2)


def nested() -> Built:
    """Return a model within a model, used twice."""
    inner_in = keras.Input((4,))
    inner = keras.Model(
        inner_in, layers.Dense(4, name="deep", **ONES)(inner_in), name="inner"
    )
    shared = layers.Dense(3, name="shared", **ONES)
    left, right = keras.Input((4,)), keras.Input((4,))
    x = layers.concatenate([shared(inner(left)), shared(inner(right))])
    outputs = layers.Dense(2, name="head", **ONES)(x)
    data = [normal(5, 4), normal(5, 4)]
    return keras.Model([left, right], outputs), data, normal(5, 2)


ZOO: dict[str, Callable[[], Built]] = {
    make.__name__: make
    for make in (
        functional,
        sequential,
        deferred,
        subclassed,
        convolutional,
        attention,
        recurrent,
        nested,
    )
}


def seed_weights(model: keras.Model, seed: int = 0) -> None:
    """Set all weights to the same numbers on every backend."""
    rng = np.random.default_rng(seed)
    for variable in model.trainable_weights:
        variable.assign(rng.normal(size=variable.shape).astype("float32"))
