"""Tables: text, Markdown, HTML, rich, and names that are no plain text."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from typing import Any

import keras
import pytest

import keras_regx
from keras_regx import Policy, Rule
from keras_regx._core.table import Column, Table, printable
from tests import zoo

COLUMNS = (Column("name", "<name>"), Column("count", "count", right=True))
ROWS = ({"name": "a & <b>", "count": 3}, {"name": "c|d", "count": 12})
TABLE = Table("t <i>", COLUMNS, ROWS, footer={"count": "15"}, notes=["1 < 2"])
EVIL = "\x1b[31mred\x07\r\n\u202eabc\x9b2J"


def html_of(table: Table) -> ET.Element:
    """Return the HTML, which is well-formed, as a tree."""
    return ET.fromstring(f"<div>{table._repr_html_()}</div>")  # noqa: S314  (ours)


def test_html_shows_the_cells() -> None:
    """The cells are those of the text, escaped, numbers flush right."""
    tree = html_of(TABLE)
    rows = [["".join(cell.itertext()) for cell in row] for row in tree.iter("tr")]
    assert rows == [["<name>", "count"], ["a & <b>", "3"], ["c|d", "12"], ["", "15"]]
    assert [t.text for t in tree.iter("caption")] == ["t <i>"]
    assert [t.text for t in tree.iter("p")] == ["1 < 2"]
    styles = [cell.get("style") for cell in next(tree.iter("tr"))]
    assert styles == ["text-align: left", "text-align: right"]


def test_repr_is_the_text() -> None:
    """In a shell a table is readable, not a list of dictionaries."""
    assert repr(TABLE) == str(TABLE)
    assert repr(TABLE).splitlines()[0] == "t <i>"
    model = zoo.functional()[0]
    Policy([Rule("*/kernel", regularizer="l2")]).apply(model)
    report = keras_regx.report(model)
    assert repr(report) == str(report)
    assert "body/kernel" in report._repr_html_()
    preview = Policy([Rule("*/kernel", regularizer="l1")]).preview(zoo.functional()[0])
    assert "body/kernel" in preview._repr_html_()
    assert repr(preview) == str(preview)


def forms(table: Table) -> dict[str, str]:
    """Return the table in every form that people read."""
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=200, force_terminal=False).print(table)
    return {
        "text": str(table),
        "markdown": table.to_markdown(),
        "html": table._repr_html_(),
        "rich": out.getvalue(),
    }


@pytest.mark.parametrize("form", ["text", "markdown", "html", "rich"])
def test_control_characters_are_shown_as_codes(form: str) -> None:
    """No escape sequence of a name reaches the terminal, wherever it stands."""
    table = Table(
        EVIL,
        (Column("name", EVIL),),
        [{"name": EVIL}],
        footer={"name": EVIL},
        notes=[EVIL],
    )
    text = forms(table)[form]
    assert all(c.isprintable() or c == "\n" for c in text)
    assert text.count(r"\x1b[31mred\x07\r\n\u202eabc\x9b2J") == 5


def test_markup_of_rich_is_plain_text() -> None:
    """Brackets in a title or a note are no colours."""
    table = Table("[bold]t", (Column("a", "[red]a"),), [{"a": "[x]"}], notes=["[/b]"])
    text = forms(table)["rich"]
    assert all(part in text for part in ("[bold]t", "[red]a", "[x]", "[/b]"))


@pytest.mark.parametrize("text", ["", "kernel", "häufig", "重み", "3 € 4", "█"])
def test_ordinary_text_is_left_alone(text: str) -> None:
    """Letters of every script, signs and blocks are shown as they are."""
    assert printable(text) == text


def test_name_of_a_model_with_an_escape_sequence() -> None:
    """A model that somebody else has named does not write to the terminal."""
    inputs = keras.Input((2,))
    layer: Any = keras.layers.Dense(1, name="a\x1b[2Jb", kernel_regularizer="l2")
    model = keras.Model(inputs, layer(inputs), name="m\x1b]0;x\x07")
    for text in forms(keras_regx.report(model)).values():
        assert "\x1b" not in text
        assert "\x07" not in text
