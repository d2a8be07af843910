"""docs/catalogue.md is what docs/generate.py writes; every penalty says its part."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.cases import PENALTIES

SCRIPT = Path(__file__).parents[1] / "docs" / "generate.py"


def generator() -> Any:
    """Return the script as a module."""
    spec = importlib.util.spec_from_file_location("generate", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    text = generator().sections(cls)
    wanted = ["formula", "Args", "Call", "Prox", "Raises", "Reference"]
    missing = [name for name in wanted if not text.get(name)]
    missing += [] if any(name.startswith("Gradient") for name in text) else ["Gradient"]
    missing += [] if any(name.startswith("Example") for name in text) else ["Example"]
    assert not missing
