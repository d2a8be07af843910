"""What the demo prints: tables and progress bars."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

EpochEnd = Callable[[int, dict[str, float]], None]


class Report:
    """The demo's output to a person.

    Args:
        console: Where to print.
    """

    def __init__(self, console: Console) -> None:
        self.console = console

    def header(self, version: str, keras_version: str, backend: str) -> None:
        """Print what is running."""
        self.console.print(
            f"\n[bold]keras_regx {version}[/] on Keras {keras_version}, {backend}\n"
        )

    def documented(self, rows: list[dict[str, Any]]) -> None:
        """Print the documented numbers beside those computed now."""
        table = _table("The documented numbers, computed now")
        table.add_column("penalty")
        for name in ("documented", "computed"):
            table.add_column(name, justify="right")
        table.add_column("")
        for row in rows:
            expected, value = f"{row['expected']:g}", f"{row['value']:.6g}"
            table.add_row(row["name"], expected, value, _mark(row["ok"]))
        self._show(table)

    def listing(self, names: dict[str, list[dict[str, Any]]]) -> None:
        """Print the variables and the penalty terms, one line each."""
        self.console.print(Text("Variables and penalty terms", style="bold"))
        for row in names["variables"]:
            self._line(f"- {row['name']} shape:{row['shape']} size:{row['size']}")
        for row in names["penalty_terms"]:
            value = f"{row['value']:.4g}"
            self._line(f"- {row['name']} shape:{row['shape']} value:{value}")
        self.console.print()

    @contextmanager
    def progress(
        self, factors: tuple[float, ...], epochs: int
    ) -> Iterator[dict[float, EpochEnd]]:
        """Show one bar per factor; yield what to call at the end of its epochs."""
        columns = (
            TextColumn("L2 factor {task.description}"),
            BarColumn(complete_style="blue", finished_style="blue"),
            MofNCompleteColumn(),
            TextColumn("epochs  {task.fields[accuracy]}"),
        )
        with Progress(*columns, console=self.console) as bars:
            yield {
                factor: _advance(
                    bars, bars.add_task(f"{factor:<6g}", total=epochs, accuracy="")
                )
                for factor in factors
            }
        self.console.print()

    def runs(self, rows: list[dict[str, float]], dataset: str) -> None:
        """Print the table of factors, beside the accuracies published for MNIST."""
        table = _table("What the factor does")
        table.add_column("L2 factor", justify="right")
        names = ("train loss", "penalty", f"test accuracy\n({dataset})")
        for name in (*names, "published\n(MNIST)"):
            table.add_column(name, justify="right")
        best = max(row["test_accuracy"] for row in rows)
        for row in rows:
            style = "bold" if row["test_accuracy"] == best else ""
            table.add_row(
                f"{row['factor']:g}",
                f"{row['train_loss']:.4f}",
                f"{row['penalty']:.3g}",
                f"{row['test_accuracy']:.4f}",
                f"{row['mnist_accuracy']:.4f}",
                style=style,
            )
        self._show(table)
        self._line(
            "train loss: cross-entropy without the penalty. "
            "penalty: factor x half the kernels' sum of squares, as in TensorFlow 1."
        )
        if dataset != "mnist":
            self._line(
                "The last column was published for MNIST, not for these images; where "
                "MNIST can be downloaded,\n"
                "keras-regx demo --dataset mnist trains the same network on it."
            )
        self.console.print()

    def end(self, results: dict[str, Any]) -> None:
        """Print the saved model's accuracy, the files, and the verdict."""
        best = results["best"]
        line = Text.assemble(
            ("The best model", "bold"),
            f" (factor {best['factor']:g}) has test accuracy ",
            f"{best['test_accuracy']:.4f}; loaded in a fresh process ",
            f"{best['reloaded_accuracy']:.4f} ",
            _mark(best["ok"]),
        )
        self.console.print(line, soft_wrap=True)
        for path in results["files"]:
            self._line(f"- {path}")
        verdict = "All numbers agree." if results["ok"] else "SOME NUMBERS DIFFER."
        self.console.print(f"\n{verdict} {results['seconds']:.0f} s.")

    def _line(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)

    def _show(self, table: Table) -> None:
        self.console.print(table)
        self.console.print()


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=None)


def _mark(ok: bool) -> Text:
    return Text("ok", style="green") if ok else Text("DIFFERS", style="bold red")


def _advance(bars: Progress, task: Any) -> EpochEnd:
    def on_epoch_end(epoch: int, logs: dict[str, float]) -> None:
        accuracy = f"training accuracy {logs['accuracy']:.4f}"
        bars.update(task, completed=epoch + 1, accuracy=accuracy)

    return on_epoch_end
