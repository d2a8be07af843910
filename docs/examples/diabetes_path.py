"""The lasso path of the diabetes data, beside scikit-learn's own.

Run `python docs/examples/diabetes_path.py` with any Keras backend: it writes
docs/images/diabetes_path.png and prints the largest difference.
"""

from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_diabetes
from sklearn.linear_model import lasso_path

from keras_regx import regularization_path
from keras_regx.regularizers import L1

IMAGE = Path(__file__).parents[1] / "images" / "diabetes_path.png"


def build() -> keras.Model:
    """Return a linear model."""
    inputs = keras.Input((10,))
    return keras.Model(inputs, keras.layers.Dense(1)(inputs))


def main() -> None:
    """Compute both paths and draw them side by side."""
    data = load_diabetes()
    x, y = data.data, data.target[:, None]
    x, y = (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()
    path = regularization_path(build, (x, y), L1(1.0), 25)
    # Half the mean squared error is scikit-learn's loss: its alpha is factor / 2.
    alphas = path.factors / 2
    _, expected, _ = lasso_path(x, y[:, 0], alphas=alphas, tol=1e-10)
    ours = path.norms().T
    print(f"Largest difference: {np.abs(ours - expected).max():.1e}")

    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    titles = ("scikit-learn: lasso_path", f"keras_regx on {keras.backend.backend()}")
    for panel, title, curves in zip(panels, titles, (expected, ours), strict=True):
        for name, curve in zip(data.feature_names, curves, strict=True):
            panel.plot(alphas, curve, linewidth=1.3, label=name)
        panel.axhline(0, color="0.6", linewidth=0.6)
        panel.set_xscale("log")
        panel.invert_xaxis()
        panel.set_title(title)
        panel.set_xlabel("alpha (strong to weak)")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("coefficient")
    panels[1].legend(frameon=False, ncols=2, fontsize="small", loc="lower left")
    IMAGE.parent.mkdir(exist_ok=True)
    figure.savefig(IMAGE, dpi=130)


if __name__ == "__main__":
    main()
