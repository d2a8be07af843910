"""What the modules of the package import, read from their source."""

from __future__ import annotations

import ast
import json
import os
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import keras
import pytest

from keras_regx import constraints, regularizers
from tests.processes import told

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "keras_regx"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
EVERY_MODULE = pytest.mark.parametrize("module", MODULES)

# The order of the layers: what a folder may import stands before it, or with it.
LAYERS = [
    {"_backend", "version", "keras_internals"},
    {"_core"},
    {"ops"},
    {"constraints"},
    {"regularizers"},
    {"models"},
    {"policy"},
    {"optimizers", "callbacks", "report", "layers", "schedules"},
    {"path", "compat", "testing"},
    {"cli", "demo", "__main__", "__init__"},
]
RANKS = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}

# What is imported besides Keras and the standard library, and by whom: NumPy by
# the layers that return numbers to people, and for constant arrays by these.
NUMPY_LAYERS = set().union(*LAYERS[5:])
NUMPY_MODULES = {
    "keras_regx._core.masks",
    "keras_regx.constraints.affine",
    "keras_regx.constraints.anchor",
    "keras_regx.constraints.box",
    "keras_regx.constraints.order",
    "keras_regx.constraints.square",
    "keras_regx.constraints.tying",
    "keras_regx.regularizers.distance",
    "keras_regx.regularizers.ordered",
    "keras_regx.regularizers.reference",
    "keras_regx.regularizers.structure",
}
# Keras itself depends on rich.
TOOLS = {
    "_core": {"rich"},
    "path": {"rich", "matplotlib"},
    "cli": {"rich", "typer", "sklearn", "matplotlib"},
    "report": {"matplotlib"},
}
# One module knows Keras' private names.
PRIVATE = {
    "keras_regx.keras_internals": {
        "keras.src.saving",
        "keras.src.utils",
        "keras.src.utils.naming",
    }
}
# `keras_regx.models` shows what is above it, for those who look for it there.
LATE = {("keras_regx.models.__init__", "keras_regx.policy.__init__")}


def part(module: str) -> str:
    """Return the layer's folder or file that a module belongs to."""
    names = module.split(".")
    return names[1] if len(names) > 1 else ""


@cache
def imports(module: str) -> frozenset[str]:
    """Return the modules that a module imports, wherever in its source."""
    path = MODULES[module]
    names = module.removesuffix(".__init__").split(".")
    package = names if path.name == "__init__.py" else names[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *filter(None, [node.module])])
            below = {f"{source}.{alias.name}" for alias in node.names}
            inner = {name for name in below if resolve(name)}
            found |= inner or {source}
    return frozenset(found)


def resolve(name: str) -> str | None:
    """Return the name under which `MODULES` has a module, or None."""
    return next((n for n in (name, f"{name}.__init__") if n in MODULES), None)


@EVERY_MODULE
def test_no_backend_and_no_third_party(module: str) -> None:
    """Nothing but Keras, the standard library and, where named, NumPy and tools."""
    allowed = {"keras", "keras_regx", *TOOLS.get(part(module), set())}
    if part(module) in NUMPY_LAYERS or module in NUMPY_MODULES:
        allowed |= {"numpy"}
    roots = {name.split(".")[0] for name in imports(module)}
    assert roots - allowed <= sys.stdlib_module_names


@EVERY_MODULE
def test_only_public_keras(module: str) -> None:
    """Keras' private modules move from release to release; one is needed."""
    private = {name for name in imports(module) if name.startswith("keras.src")}
    assert private == PRIVATE.get(module, set())


@EVERY_MODULE
def test_imports_go_downward(module: str) -> None:
    """No module imports from a layer above its own."""
    ours = [name for name in imports(module) if name.startswith("keras_regx.")]
    rank = RANKS[part(module)]
    above = [
        name
        for name in ours
        if RANKS.get(part(name), 0) > rank and (module, resolve(name)) not in LATE
    ]
    assert not above


def test_no_cycle() -> None:
    """The modules can be put in an order in which each imports earlier ones."""
    graph = {
        module: {
            source
            for source in map(resolve, imports(module))
            if source not in {None, module} and (module, source) not in LATE
        }
        for module in MODULES
    }
    order = list(TopologicalSorter(graph).static_order())
    assert set(MODULES) <= set(order)


@pytest.mark.parametrize(
    ("ours", "theirs", "drop_in"),
    [
        (
            regularizers,
            keras.regularizers,
            {"Regularizer", "L1", "L2", "L1L2", "OrthogonalRegularizer"},
        ),
        (
            constraints,
            keras.constraints,
            {"Constraint", "MaxNorm", "NonNeg", "UnitNorm", "MinMaxNorm"},
        ),
    ],
    ids=["regularizers", "constraints"],
)
def test_only_drop_in_classes_share_a_name(
    ours: object, theirs: object, drop_in: set[str]
) -> None:
    """Another class of the same name would load as Keras' own, silently."""
    classes = {name for name, value in vars(ours).items() if isinstance(value, type)}
    names = {name for name in classes if name[0].isupper()}
    assert names & set(dir(theirs)) == drop_in


def fresh(script: str, **environment: str) -> list[str]:
    """Run a script in a fresh process; return the list that it prints."""
    clean = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    return told(script, env={**clean, **environment})


@pytest.mark.slow
def test_importing_needs_keras_only() -> None:
    """No tool of the extras is imported with the package."""
    tools = ["matplotlib", "sklearn", "typer", "cvxpy", "optax", "pandas"]
    script = (
        "import json, sys, keras; before = set(sys.modules); import keras_regx\n"
        f"print(json.dumps(sorted((set(sys.modules) - before) & {set(tools)!r})))"
    )
    assert fresh(script, KERAS_BACKEND=keras.backend.backend()) == []


# Which backend is chosen: the file is run alone, with modules that are not there.
CHOICE = """
import importlib.util, json, os, runpy, sys
installed = {installed!r}
importlib.util.find_spec = lambda name: object() if name in installed else None
runpy.run_path("keras_regx/_backend.py")
print(json.dumps([os.environ.get("KERAS_BACKEND", ""), "keras" in sys.modules]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("installed", "asked", "configured", "expected"),
    [
        (["jax"], None, None, "jax"),
        (["torch"], None, None, "torch"),
        (["tensorflow", "jax"], None, None, ""),
        (["jax", "torch"], None, "torch", ""),
        (["jax"], None, "torch", "jax"),
        (["jax"], "torch", None, "torch"),
        ([], None, None, ""),
        (["jax"], None, "not json", "jax"),
    ],
    ids=[
        "only-jax",
        "only-torch",
        "tensorflow-is-the-default",
        "configured",
        "configured-but-missing",
        "variable",
        "none",
        "broken-file",
    ],
)
def test_choice_of_the_backend(
    installed: list[str],
    asked: str | None,
    configured: str | None,
    expected: str,
    tmp_path: Path,
) -> None:
    """An installed backend is chosen only where Keras would not find its own."""
    if configured:
        text = json.dumps({"backend": configured})
        text = configured if configured == "not json" else text
        (tmp_path / "keras.json").write_text(text)
    environment = {"KERAS_HOME": str(tmp_path)}
    environment |= {"KERAS_BACKEND": asked} if asked else {}
    script = CHOICE.format(installed=installed)
    assert fresh(script, **environment) == [expected, False]
