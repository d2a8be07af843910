"""`__all__` of every public module: what it names, and what it leaves out."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import keras_regx

PACKAGE = Path(keras_regx.__file__).parent
# Every module that no name on the way to it hides, if it is a folder or named here.
FILES = {"compat/tf_contrib.py", "schedules.py"}
SOURCES = {
    ".".join(["keras_regx", *path.relative_to(PACKAGE).with_suffix("").parts])
    .removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name == "__init__.py" or path.relative_to(PACKAGE).as_posix() in FILES
}  # fmt: skip
PUBLIC = [name for name in SOURCES if "._" not in name]


def defined(path: Path) -> set[str]:
    """Return the public names that a module makes, or takes from the package."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {t.id for t in node.targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.ImportFrom) and path.name == "__init__.py":
            is_ours = (node.module or "").startswith("keras_regx")
            found |= {a.asname or a.name for a in node.names if is_ours}
    return {name for name in found if not name.startswith("_")}


def test_public_modules() -> None:
    """The modules that users import from are all looked at."""
    names = "regularizers constraints ops models callbacks optimizers layers path"
    expected = {f"keras_regx.{n}" for n in [*names.split(), "report", "testing"]}
    expected |= {"keras_regx", "keras_regx.compat", "keras_regx.compat.tf_contrib"}
    assert expected | {"keras_regx.schedules", "keras_regx.cli"} <= set(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_all_is_what_is_exported(name: str) -> None:
    """Every name in `__all__` exists, none is there twice, and none is missing."""
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    assert all(hasattr(module, item) for item in module.__all__)
    exported = defined(SOURCES[name])
    if name.split(".")[1:2] not in (["cli"], ["demo"]):  # Programs, with helpers.
        assert set(module.__all__) - {"__version__"} == exported


@pytest.mark.parametrize("name", PUBLIC)
def test_star_import(name: str) -> None:
    """A star takes exactly what `__all__` names."""
    taken: dict[str, object] = {}
    exec(f"from {name} import *", taken)  # noqa: S102  (the statement under test)
    module = importlib.import_module(name)
    assert set(taken) - {"__builtins__"} == set(module.__all__)
