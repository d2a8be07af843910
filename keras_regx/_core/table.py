"""A small table: plain text, rich, Markdown, HTML and JSON from the same rows."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        key: Name in rows and in JSON.
        title: Heading.
        text: Turns a value into what is shown.
        right: Whether it is set flush right, as numbers are.
        style: Rich style of its cells.
    """

    key: str
    title: str
    text: Callable[[Any], str] = lambda value: "" if value is None else str(value)
    right: bool = False
    style: str = ""


@dataclass(frozen=True, repr=False)
class Table:
    r"""Rows of named values, and how to show them.

    It is shown as text, also by `repr`, and in a notebook as HTML. Names come from
    models that somebody else may have made: what cannot be printed, such as the
    escape sequences of a terminal, is shown as its code, `\x1b`. A subclass that is
    a dataclass too says `repr=False`.

    Attributes:
        title: What the table is about.
        columns: The columns that are shown, in order.
        rows: One dictionary per row; it may hold more than is shown.
        footer: Texts of the last line by key, such as totals.
        notes: Remarks below the table.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[dict[str, Any]]
    footer: dict[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def shown(self) -> Sequence[dict[str, Any]]:
        """Return the rows that are shown; JSON has all."""
        return self.rows

    def cells(self) -> list[list[str]]:
        """Return the text of every cell that is shown."""
        rows = self.shown()
        return [
            [printable(column.text(row.get(column.key))) for column in self.columns]
            for row in rows
        ]

    def _titles(self) -> list[str]:
        return [printable(column.title) for column in self.columns]

    def _foot(self) -> list[str]:
        return [printable(self.footer.get(column.key, "")) for column in self.columns]

    def _remarks(self) -> list[str]:
        return [printable(note) for note in self.notes]

    def __str__(self) -> str:
        lines = [self._titles(), *self.cells()]
        if self.footer:
            lines.append(self._foot())
        widths = [max(map(len, texts)) for texts in zip(*lines, strict=True)]

        def line(texts: Sequence[str]) -> str:
            padded = (
                text.rjust(width) if column.right else text.ljust(width)
                for text, width, column in zip(texts, widths, self.columns, strict=True)
            )
            return "  ".join(padded).rstrip()

        rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
        body = [line(texts) for texts in lines]
        end = len(body) - 1 if self.footer else len(body)
        shown = [body[0], rule, *body[1:end]]
        if self.footer:
            shown += [rule, body[-1]]
        return "\n".join([printable(self.title), "", *shown, *self._below()])

    __repr__ = __str__

    def _below(self) -> list[str]:
        return ["", *self._remarks()] if self.notes else []

    def _repr_html_(self) -> str:
        """Return the table as HTML, which notebooks show."""
        alignment = ["right" if column.right else "left" for column in self.columns]

        def line(texts: Sequence[str], tag: str) -> str:
            cells = (
                f'<{tag} style="text-align: {side}">{escape(text)}</{tag}>'
                for text, side in zip(texts, alignment, strict=True)
            )
            return f"<tr>{''.join(cells)}</tr>"

        body = "\n".join(line(texts, "td") for texts in self.cells())
        foot = f"<tfoot>{line(self._foot(), 'th')}</tfoot>" if self.footer else ""
        parts = [
            f"<table><caption>{escape(printable(self.title))}</caption>",
            f"<thead>{line(self._titles(), 'th')}</thead>",
            f"<tbody>\n{body}\n</tbody>{foot}</table>",
            *(f"<p>{escape(note)}</p>" for note in self._remarks()),
        ]
        return "\n".join(parts)

    def to_markdown(self) -> str:
        """Return the table in GitHub's Markdown."""

        def line(texts: Sequence[str]) -> str:
            return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"

        marks = ["---:" if column.right else "---" for column in self.columns]
        lines = [line(self._titles()), line(marks)]
        lines += map(line, self.cells())
        if self.footer:
            lines.append(line([f"**{t}**" if t else "" for t in self._foot()]))
        title = f"**{printable(self.title)}**"
        return "\n".join([title, "", *lines, *self._below()]) + "\n"

    def to_json(self, indent: int | None = 2) -> str:
        """Return the rows as JSON, with all they hold; NaN and infinity become null."""
        return json.dumps(_finite(self.to_dict()), indent=indent, allow_nan=False)

    def to_dict(self) -> dict[str, Any]:
        """Return what `to_json` writes, as plain Python values."""
        return {"title": self.title, "rows": list(self.rows), "notes": list(self.notes)}

    def __rich__(self) -> Any:
        from rich import box  # noqa: PLC0415  (rich asks for this: it is installed)
        from rich.table import Table as RichTable  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = RichTable(
            title=Text(printable(self.title)),
            caption=Text("\n".join(self._remarks())) if self.notes else None,
            box=box.SIMPLE_HEAD,
            title_style="bold",
            title_justify="left",
            caption_justify="left",
            header_style="bold",
            show_footer=bool(self.footer),
            footer_style="bold",
            pad_edge=False,
        )
        for column, title, foot in zip(
            self.columns, self._titles(), self._foot(), strict=True
        ):
            table.add_column(
                Text(title),
                footer=Text(foot),
                justify="right" if column.right else "left",
                style=column.style or None,
                overflow="fold",
            )
        for texts in self.cells():
            table.add_row(*map(Text, texts))
        return table


def printable(text: str) -> str:
    r"""Return a text with its code, such as `\x1b`, for each that cannot be printed.

    Line breaks and marks that turn the direction of writing are among them.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii")
        for c in text
    )


def shape_text(shape: Sequence[int]) -> str:
    """Return the text for a shape, as one writes a product."""
    return " × ".join(map(str, shape)) or "scalar"  # noqa: RUF001  (the sign itself)


def _finite(value: Any) -> Any:
    """Replace NaN and infinities by None, which JSON can say."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
