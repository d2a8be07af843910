"""The command line: `keras-regx report | apply | project | catalogue | demo`."""

import sys
from typing import Any

_MISSING = (
    "keras-regx: this command needs {module}. Install it with\n"
    "    pip install 'keras-regx[{extra}]'"
)


def _missing(error: ImportError, extra: str) -> None:
    print(_MISSING.format(module=error.name, extra=extra), file=sys.stderr)
    raise SystemExit(1)


def build_app() -> Any:
    """Return the typer application."""
    import typer  # noqa: PLC0415  (an extra: the error of `main` names it)

    app = typer.Typer(
        help="Penalties and constraints for whole Keras models.",
        no_args_is_help=True,
        pretty_exceptions_show_locals=False,
    )

    @app.callback()
    def root() -> None:
        """Penalties and constraints for whole Keras models."""

    @app.command()
    def demo(
        out: str = typer.Option("keras_regx_demo", help="Folder for the results."),
    ) -> None:
        """Train, look and prune on a small data set, in about a minute."""
        try:
            from keras_regx.demo import run  # noqa: PLC0415
        except ImportError as error:
            _missing(error, "demo")
        run(out)

    return app


def main() -> None:
    """Run the command line; exit with its status."""
    try:
        app = build_app()
    except ImportError as error:
        _missing(error, "cli")
    app()
