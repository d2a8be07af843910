"""Keras' loader, with everything of this package registered."""

import zipfile
from pathlib import Path
from typing import Any

import keras

from keras_regx import keras_internals as internals

_OPTIMIZERS = {
    name: cls
    for name, cls in vars(keras.optimizers).items()
    if isinstance(cls, type) and issubclass(cls, keras.optimizers.Optimizer)
}


def load_model(
    path: Any,
    custom_objects: dict[str, Any] | None = None,
    compile: bool = True,  # noqa: A002  (Keras' name)
    safe_mode: bool = True,
) -> Any:
    """Load a model that was saved with penalties, constraints or policies.

    `keras.saving.load_model` in a process that imported `keras_regx`, except for
    compiled models that come from another backend:

    - PyTorch's files name its own optimizer classes, which other backends do not
      have. Keras' classes of the same names take their place, with their state.
    - A file says what `jit_compile="auto"` meant where it was saved: JAX's, always
      compile, would have `torch.compile` run for minutes, and XLA on a CPU under
      TensorFlow; PyTorch's, never, leaves JAX without compilation. So `True`, and
      PyTorch's `False`, become `"auto"`, decided anew. What PyTorch saved and
      PyTorch loads stays as it is. Set `model.jit_compile` to have it otherwise.

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
    is_remote = "://" in str(path)
    if not is_remote and not Path(path).exists():
        raise FileNotFoundError(f"There is no model file {str(path)!r}.")
    is_file = Path(path).suffix == ".keras" and Path(path).is_file()
    if is_file and not zipfile.is_zipfile(path):
        raise ValueError(f"{str(path)!r} is no model file: it is not a zip file.")
    from_torch = not is_remote and _saved_by_torch(path)
    is_torch = keras.backend.backend() == "torch"
    if from_torch and not is_torch:
        custom_objects = {**_OPTIMIZERS, **(custom_objects or {})}
    model = keras.saving.load_model(
        path, custom_objects=custom_objects, compile=compile, safe_mode=safe_mode
    )
    if getattr(model, "compiled", False) and not model.run_eagerly:
        was_auto = not is_torch if from_torch else model.jit_compile
        if was_auto:
            # What was never set, Keras decides when it needs it.
            internals.set_jit_compile(model, None)
    return model


def _saved_by_torch(path: Any) -> bool:
    """Return whether a model file names PyTorch's optimizers, as only it does."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return b'"keras.src.backend.torch' in archive.read("config.json")
