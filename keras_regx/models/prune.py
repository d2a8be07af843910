"""Removing units whose weights are exactly zero: a smaller model, the same outputs."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_regx import keras_internals as internals
from keras_regx._core import validation as check
from keras_regx._core.table import Column, Table
from keras_regx.models.sites import require_weights

_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
_POOLING = (
    keras.layers.MaxPooling1D,
    keras.layers.MaxPooling2D,
    keras.layers.MaxPooling3D,
    keras.layers.AveragePooling1D,
    keras.layers.AveragePooling2D,
    keras.layers.AveragePooling3D,
    keras.layers.GlobalMaxPooling1D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.GlobalMaxPooling3D,
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalAveragePooling3D,
    keras.layers.UpSampling1D,
    keras.layers.UpSampling2D,
    keras.layers.UpSampling3D,
    keras.layers.ZeroPadding1D,
    keras.layers.ZeroPadding2D,
    keras.layers.ZeroPadding3D,
    keras.layers.Cropping1D,
    keras.layers.Cropping2D,
    keras.layers.Cropping3D,
)
_ZERO_PADDING = (
    keras.layers.ZeroPadding1D,
    keras.layers.ZeroPadding2D,
    keras.layers.ZeroPadding3D,
)
# Act on each channel by itself, and keep the order of channels.
_ELEMENTWISE = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.ELU,
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.GaussianNoise,
    keras.layers.GaussianDropout,
    keras.layers.Identity,
    keras.layers.ActivityRegularization,
    *_POOLING,
)
_ACTIVATIONS = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.ELU,
)
_AVERAGE = (
    keras.layers.AveragePooling1D,
    keras.layers.AveragePooling2D,
    keras.layers.AveragePooling3D,
)
_MIXING = ("softmax", "log_softmax", "sparsemax", "squareplus_softmax", "glu")


def prune_units(model: Any, return_report: bool = False) -> Any:
    """Return a smaller model without the units whose weights are all exactly zero.

    A unit of a `Dense` or a filter of a `Conv` whose kernel is zero emits a
    constant, its activated bias. It is removed, its constant is taken through
    the layers that follow and added to the bias of the next `Dense` or `Conv`, so
    that the outputs stay the same. A unit that no later weight uses is removed
    as well, whatever it emits.

    Between the two layers there may be activations, `BatchNormalization`, `Dropout`,
    pooling, `Flatten`. Whatever else follows, and branches, residual sums and
    outputs, keep all their units; the report says which and why.

    Args:
        model: Built Functional or Sequential model. It is not changed.
        return_report: Boolean. Return `(model, report)`, the report a table with
            one row per `Dense` and `Conv`: units before and after, and the reason
            where none could be removed.

    Returns:
        A new, uncompiled model with the weights of the old one.

    Raises:
        ValueError: If the model is not a built Functional or Sequential model.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_regx.models import prune_units
    >>> model = keras.Sequential([
    ...     keras.Input((3,)),
    ...     keras.layers.Dense(4, activation="relu", name="hidden"),
    ...     keras.layers.Dense(1, name="out"),
    ... ])
    >>> kernel, bias = model.layers[0].get_weights()
    >>> kernel[:, 1:] = 0.0
    >>> model.layers[0].set_weights([kernel, bias])
    >>> small = prune_units(model)
    >>> model.count_params(), small.count_params()
    (21, 6)
    """
    check.boolean("prune_units", "return_report", return_report)
    if not (isinstance(model, keras.Sequential) or internals.is_functional(model)):
        raise ValueError(
            "prune_units follows the graph of a Functional or Sequential model. "
            f"Received: {type(model).__name__} {getattr(model, 'name', model)!r}"
        )
    require_weights(model, complete=True)
    graph = _Graph(model)
    layers = [layer for layer in model.layers if _is_linear(layer)]
    before = [graph.units(layer) for layer in layers]
    reasons = {}
    changed = True
    while changed:  # A unit may lose its last use when another layer is cut.
        sizes = [graph.units(layer) for layer in layers]
        reasons = {layer.name: graph.prune(layer) for layer in layers}
        changed = sizes != [graph.units(layer) for layer in layers]
    small = graph.rebuild()
    if not return_report:
        return small
    rows = [
        {
            "layer": layer.name,
            "before": count,
            "after": graph.units(layer),
            "reason": reasons[layer.name],
        }
        for layer, count in zip(layers, before, strict=True)
    ]
    return small, _table(model, small, rows)


class _Graph:
    """The layers of a model, who follows whom, and their weights as they change."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.weights = {id(layer): layer.get_weights() for layer in model.layers}
        self.outputs = {id(t) for t in keras.tree.flatten(model.outputs)}
        self._own = {id(node) for node in internals.graph_nodes(model)}

    def units(self, layer: Any) -> int:
        """Return how many units a layer has now."""
        return int(self.weights[id(layer)][0].shape[-1])

    def prune(self, layer: Any) -> str:
        """Remove the units of a layer that can go; say why others cannot."""
        total = self.units(layer)
        chain, reason = self._chain(layer)
        if reason:
            return reason
        incoming = self._incoming(chain[-1], total)
        dead = ~self.weights[id(layer)][0].reshape(-1, total).any(axis=0)
        unused = ~incoming.any(axis=(1, 2))
        constants, stuck, reason = self._constants(layer, chain)
        removed = unused | (dead & ~stuck)
        if removed.all():
            removed[-1] = False  # A layer keeps at least one unit.
        if removed.any():
            self._cut(layer, chain, ~removed, constants * removed, incoming)
        return reason if (dead & stuck & ~unused).any() else ""

    def _chain(self, layer: Any) -> tuple[list[Any], str]:  # noqa: PLR0911  (one per reason)
        """Return what lies between a layer and the next one with weights, inclusive."""
        chain: list[Any] = []
        current = layer
        while True:
            reason = _cannot_cut(current) if _is_linear(current) else ""
            if reason:
                return [], f"{current.name}: {reason}"
            nodes = self._nodes(current)
            if len(nodes) != 1:
                return [], f"{current.name}: called {len(nodes)} times"
            if chain and _is_linear(current):
                return chain, ""
            activation = getattr(current, "activation", None)
            if getattr(activation, "__name__", "") in _MIXING:
                return [], f"{current.name}: its activation mixes units"
            if any(id(t) in self.outputs for t in nodes[0].output_tensors):
                return [], "output of the model"
            followers = self._followers(nodes[0])
            if len(followers) != 1:
                return [], f"{current.name}: {len(followers)} layers follow"
            current = followers[0]
            if not (_is_linear(current) or _passes(current)):
                return [], f"{current.name}: a {type(current).__name__} follows"
            chain.append(current)

    def _nodes(self, layer: Any) -> list[Any]:
        """Return the calls of a layer that are part of this model."""
        return [node for node in internals.calls_of(layer) if id(node) in self._own]

    def _followers(self, node: Any) -> list[Any]:
        produced = {id(t) for t in node.output_tensors}
        return [
            layer
            for layer in self.model.layers
            for other in self._nodes(layer)
            if any(id(t) in produced for t in other.input_tensors)
        ]

    def _incoming(self, target: Any, total: int) -> np.ndarray:
        """Return the target's kernel as (unit of the layer before, rest, output).

        Channels come last everywhere, so they vary fastest after a Flatten too.
        """
        kernel = self.weights[id(target)][0]
        return kernel.reshape(-1, total, kernel.shape[-1]).swapaxes(0, 1)

    def _constants(
        self, layer: Any, chain: list[Any]
    ) -> tuple[np.ndarray, np.ndarray, str]:
        """Return what a dead unit of each index emits, as the target receives it.

        Returns:
            `(constants, stuck, reason)`: `stuck` marks the units whose constant
            the target cannot take into its bias, and `reason` says why.
        """
        weights = self.weights[id(layer)]
        zeros = np.zeros(self.units(layer), "float32")
        values = _apply(layer.activation, weights[1] if layer.use_bias else zeros)
        stuck, reason = zeros.astype(bool), ""
        for current in chain[:-1]:
            if isinstance(current, _ZERO_PADDING) or (
                isinstance(current, _AVERAGE) and current.padding != "valid"
            ):
                stuck |= values != 0
                reason = f"{current.name}: pads what is constant but not 0"
            elif isinstance(current, keras.layers.BatchNormalization):
                values = self._normalize(current, values)
            elif isinstance(current, _ACTIVATIONS):
                values = _apply(current, values)
        target = chain[-1]
        pads = getattr(target, "padding", "valid") != "valid"
        if pads and set(target.kernel_size) != {1}:
            stuck |= values != 0
            reason = f"{target.name}: pads what is constant but not 0"
        if not target.use_bias:
            stuck |= values != 0
            reason = f"{target.name}: has no bias to take what is constant but not 0"
        return values, stuck, reason

    def _normalize(self, layer: Any, values: np.ndarray) -> np.ndarray:
        gamma, beta, mean, variance = self._statistics(layer)
        return gamma * (values - mean) / np.sqrt(variance + layer.epsilon) + beta

    def _statistics(self, layer: Any) -> tuple[np.ndarray, ...]:
        weights = list(self.weights[id(layer)])
        size = weights[-1].shape
        gamma = weights.pop(0) if layer.scale else np.ones(size, "float32")
        beta = weights.pop(0) if layer.center else np.zeros(size, "float32")
        return gamma, beta, weights[0], weights[1]

    def _cut(
        self,
        layer: Any,
        chain: list[Any],
        kept: np.ndarray,
        constants: np.ndarray,
        incoming: np.ndarray,
    ) -> None:
        """Take the removed units out of all weights on the way."""
        self.weights[id(layer)] = [w[..., kept] for w in self.weights[id(layer)]]
        for current in chain[:-1]:
            self.weights[id(current)] = [w[kept] for w in self.weights[id(current)]]
        target = chain[-1]
        weights = self.weights[id(target)]
        kernel = weights[0]
        if target.use_bias:
            added = np.einsum("u,upo->o", constants.astype("float64"), incoming)
            weights[1] = (weights[1] + added).astype(weights[1].dtype)
        parts = kernel.reshape(-1, len(kept), kernel.shape[-1])[:, kept]
        if isinstance(target, keras.layers.Dense):
            weights[0] = parts.reshape(-1, kernel.shape[-1])
        else:
            weights[0] = kernel[..., kept, :]

    def rebuild(self) -> Any:
        """Return the model with the new sizes and weights."""

        def clone(layer: Any) -> Any:
            config = layer.get_config()
            if _is_linear(layer):
                key = "units" if isinstance(layer, keras.layers.Dense) else "filters"
                config[key] = self.units(layer)
            return type(layer).from_config(config)

        small = keras.models.clone_model(self.model, clone_function=clone)
        for layer in self.model.layers:
            if self.weights[id(layer)]:
                small.get_layer(layer.name).set_weights(self.weights[id(layer)])
        return small


def _apply(function: Callable[[Any], Any] | None, values: np.ndarray) -> np.ndarray:
    if function is None:
        return values
    result = function(ops.convert_to_tensor(values.astype("float32")))
    return np.asarray(ops.convert_to_numpy(result))


def _is_linear(layer: Any) -> bool:
    return type(layer) in (keras.layers.Dense, *_CONVOLUTIONS)


def _passes(layer: Any) -> bool:
    """Return whether a layer treats each unit by itself."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return layer.axis in (-1, len(layer.input.shape) - 1)
    if isinstance(layer, keras.layers.Flatten):
        return layer.data_format == "channels_last"
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return False
    return type(layer) in _ELEMENTWISE


def _cannot_cut(layer: Any) -> str:
    """Return why the kernel of a Dense or Conv layer is not taken apart."""
    if getattr(layer, "groups", 1) != 1:
        return "grouped convolution"
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return "channels first"
    if getattr(layer, "lora_enabled", False) or layer.quantization_mode is not None:
        return "LoRA or quantized"
    return ""


def _table(model: Any, small: Any, rows: list[dict[str, Any]]) -> Table:
    columns = [
        Column("layer", "Layer"),
        Column("before", "Units", right=True),
        Column("after", "Kept", right=True),
        Column("reason", "Why not fewer"),
    ]
    note = (
        f"{model.count_params():,} parameters before, {small.count_params():,} after."
    )
    return Table(f"Pruned units of {model.name}", columns, rows, notes=[note])
