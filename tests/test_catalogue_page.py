"""docs/catalogue.md is what docs/generate.py writes; every penalty says its part."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.cases import CONSTRAINTS, PENALTIES

SCRIPT = Path(__file__).parents[1] / "docs" / "generate.py"


def generator() -> Any:
    """Return the script as a module."""
    spec = importlib.util.spec_from_file_location("generate", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def missing(cls: type, wanted: list[str]) -> list[str]:
    """Return which sections no header of the docstring begins with."""
    found = [name for name, text in generator().sections(cls).items() if text]
    return [name for name in wanted if not any(f.startswith(name) for f in found)]


def test_catalogue_page_is_up_to_date() -> None:
    """Run `python docs/generate.py` after changing a docstring or a case row."""
    script = generator()
    assert script.PAGE.read_text() == script.page()


@pytest.mark.parametrize(
    "cls",
    sorted({type(c.penalty) for c in PENALTIES}, key=str),
    ids=lambda cls: cls.__name__,
)
def test_docstring_has_every_section(cls: type) -> None:
    """Formula, arguments, call, prox, gradient, errors, reference and an example."""
    wanted = ["formula", "Args", "Call", "Prox", "Gradient", "Raises", "Reference"]
    assert not missing(cls, [*wanted, "Example"])


@pytest.mark.parametrize(
    "cls",
    sorted({type(c.constraint) for c in CONSTRAINTS}, key=str),
    ids=lambda cls: cls.__name__,
)
def test_docstring_of_a_constraint_has_every_section(cls: type) -> None:
    """Formula, arguments if any, call, exactness, errors, reference, an example."""
    wanted = ["formula", "Call", "Exact", "Raises", "Reference", "Example"]
    wanted += ["Args"] if cls.argument_names() else []
    assert not missing(cls, wanted)
    assert "Convex:" in cls.__doc__
