"""Draws mobilenet_report.png and mobilenet_report.svg: MobileNetV2, before and after.

The weights are random; the proximal operator of L1, stronger with depth, stands in
for training. Run it in the repository's root: `python docs/images/mobilenet_report.py`.
"""

import io
from pathlib import Path

import keras
from rich.console import Console

import keras_regx
from keras_regx import Policy, Rule, constraints, regularizers

FOLDER = Path(__file__).parent

keras.utils.set_random_seed(0)
model = keras.applications.MobileNetV2((96, 96, 3), weights=None, classes=10)
policy = Policy(
    [
        Rule("*/kernel", regularizer=regularizers.L1(1e-4) + regularizers.L2(1e-4)),
        Rule(slot="depthwise", constraint=constraints.MaxNorm(1.0, axis="units")),
    ]
)
policy.apply(model)
before = keras_regx.report(model)
kernels = [w for w in model.trainable_weights if w.regularizer is not None]
for depth, kernel in enumerate(kernels):
    size = float(kernel.numpy().std()) * (0.2 + 1.3 * depth / len(kernels))
    kernel.assign(regularizers.L1(1.0).prox(kernel, size))
keras_regx.project(model)
report = keras_regx.report(model)
report.plot(FOLDER / "mobilenet_report.png", before=before)
console = Console(width=200, record=True, file=io.StringIO())
console.print(report)
console.save_svg(str(FOLDER / "mobilenet_report.svg"), title="keras-regx report")
