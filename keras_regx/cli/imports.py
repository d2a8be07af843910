"""The option `--import MODULE`, of every command: the user's own classes."""

import functools
import importlib
import inspect
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import keras
import typer

from keras_regx.cli.printing import fail


def import_module(name: str) -> None:
    """Import a module, so that the classes in it are found when a model is loaded.

    Its classes and functions are found by their names too: those that were saved
    without being registered have nothing else.

    Args:
        name: `package.module`, also of the current directory, or a `.py` file.
    """
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        is_file = name.endswith(".py")
        module = _of_file(Path(name)) if is_file else importlib.import_module(name)
    except Exception as error:  # noqa: BLE001  (whatever the module raises)
        fail(f"cannot import {name}: {type(error).__name__}: {error}")
    keras.saving.get_custom_objects().update(
        {
            key: value
            for key, value in vars(module).items()
            if inspect.isclass(value) or inspect.isfunction(value)
            if value.__module__ == module.__name__
        }
    )


def _of_file(path: Path) -> ModuleType:
    """Run a file as the module of its name, once."""
    path = path.resolve()
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    if not path.is_file():
        raise FileNotFoundError(f"there is no such file {str(path)!r}")
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None  # noqa: S101  (it has the ending of a source file)
    assert spec.loader is not None  # noqa: S101
    module = module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


def import_all(names: list[str] | None) -> None:
    """Import what `--import` names, in order."""
    for name in names or ():
        import_module(name)


Imports = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        metavar="MODULE",
        help="Import your own classes first; may be repeated.",
    ),
]


def importing(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that takes `--import` besides its own options."""

    @functools.wraps(command)
    def run(*, imports: list[str] | None = None, **arguments: Any) -> None:
        import_all(imports)
        command(**arguments)

    signature = inspect.signature(command)
    option = inspect.Parameter(
        "imports", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Imports
    )
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), option]
    )
    run.__annotations__ = {**command.__annotations__, "imports": Imports}
    return run
