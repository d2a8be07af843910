"""A small table: plain text, rich, Markdown and JSON from the same rows."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Table:
    """Rows of named values, and how to show them.

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
            [column.text(row.get(column.key)) for column in self.columns]
            for row in rows
        ]

    def _foot(self) -> list[str]:
        return [self.footer.get(column.key, "") for column in self.columns]

    def __str__(self) -> str:
        lines = [[column.title for column in self.columns], *self.cells()]
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
        return "\n".join([self.title, "", *shown, *self._remarks()])

    def _remarks(self) -> list[str]:
        return ["", *self.notes] if self.notes else []

    def to_markdown(self) -> str:
        """Return the table in GitHub's Markdown."""

        def line(texts: Sequence[str]) -> str:
            return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"

        marks = ["---:" if column.right else "---" for column in self.columns]
        lines = [line([column.title for column in self.columns]), line(marks)]
        lines += map(line, self.cells())
        if self.footer:
            lines.append(line([f"**{t}**" if t else "" for t in self._foot()]))
        return "\n".join([f"**{self.title}**", "", *lines, *self._remarks()]) + "\n"

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
            title=self.title,
            caption="\n".join(self.notes) or None,
            box=box.SIMPLE_HEAD,
            title_style="bold",
            title_justify="left",
            caption_justify="left",
            header_style="bold",
            show_footer=bool(self.footer),
            footer_style="bold",
            pad_edge=False,
        )
        for column, foot in zip(self.columns, self._foot(), strict=True):
            table.add_column(
                column.title,
                footer=Text(foot),
                justify="right" if column.right else "left",
                style=column.style or None,
                overflow="fold",
            )
        for texts in self.cells():
            table.add_row(*map(Text, texts))
        return table


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
