"""Keras' loader, with everything of this package registered."""

from pathlib import Path
from typing import Any

import keras


def load_model(
    path: Any,
    custom_objects: dict[str, Any] | None = None,
    compile: bool = True,  # noqa: A002  (Keras' name)
    safe_mode: bool = True,
) -> Any:
    """Load a model that was saved with penalties, constraints or policies.

    The same as `keras.saving.load_model` in a process that imported `keras_regx`;
    calling it from here makes sure of that.

    Args:
        path: Path of a `.keras` file.
        custom_objects: Names of classes or functions of your own.
        compile: Boolean. Compile the model if it was compiled when saved.
        safe_mode: Boolean. Refuse files that carry code.

    Returns:
        The model. `keras_regx.models.policies(model)` lists its policies.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a model file, or carries code.
    """
    if "://" not in str(path) and not Path(path).exists():
        raise FileNotFoundError(f"There is no model file {str(path)!r}.")
    return keras.saving.load_model(
        path, custom_objects=custom_objects, compile=compile, safe_mode=safe_mode
    )
