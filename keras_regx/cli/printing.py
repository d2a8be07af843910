"""What the commands print: results to standard output, all else to standard error."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich.console import Console

from keras_regx._core.table import Table, printable


def fail(message: str) -> NoReturn:
    """Say why on standard error, in one line, and exit with status 1."""
    line = " ".join(message.split())
    typer.echo(f"keras-regx: {printable(line)}", err=True)
    raise typer.Exit(1)


def show(table: Table, *, as_json: bool = False, markdown: bool = False) -> None:
    """Print a table: JSON, Markdown, colours on a terminal, plain text elsewhere."""
    if as_json:
        typer.echo(table.to_json())
    elif markdown:
        typer.echo(table.to_markdown(), nl=False)
    elif sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        Console().print(table)
    else:
        typer.echo(str(table))


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show on a terminal that something is going on."""
    with Console(stderr=True).status(f"{what} ..."):
        yield
