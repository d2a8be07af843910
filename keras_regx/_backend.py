"""Choose an installed Keras backend before Keras is imported.

With `KERAS_BACKEND` unset and no `keras.json`, Keras picks TensorFlow even
where only JAX or PyTorch is installed, fails, and leaves a `keras.json`
behind that asks for TensorFlow. This module uses the standard library only and
is imported first. It does nothing when Keras is already imported, when
the variable is set, or when the configured backend is installed.
"""

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

_MODULES = {
    "tensorflow": "tensorflow",
    "jax": "jax",
    "torch": "torch",
    "openvino": "openvino",
    "numpy": "numpy",
}
_TRAINABLE = ("tensorflow", "jax", "torch")


def _configured_backend() -> str:
    """Return the backend that Keras' own configuration file asks for."""
    home = os.environ.get("KERAS_HOME")
    folder = Path(home) if home else Path("~/.keras").expanduser()
    try:
        config = json.loads((folder / "keras.json").read_text())
        return str(config.get("backend", "tensorflow"))
    except (OSError, ValueError, AttributeError):
        return "tensorflow"  # Keras' own default.


def _is_installed(backend: str) -> bool:
    return find_spec(_MODULES.get(backend, backend)) is not None


def choose_backend() -> None:
    """Set `KERAS_BACKEND` to an installed backend if Keras would not find one."""
    if "keras" in sys.modules or os.environ.get("KERAS_BACKEND"):
        return
    if _is_installed(_configured_backend()):
        return
    for backend in _TRAINABLE:
        if _is_installed(backend):
            os.environ["KERAS_BACKEND"] = backend
            return


choose_backend()
