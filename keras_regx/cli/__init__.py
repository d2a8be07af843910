"""The command line: `keras-regx report | apply | project | catalogue | demo`."""

import os
import subprocess
import sys
from importlib.util import find_spec
from typing import Annotated, Any, NoReturn

import keras

__all__ = ["build_app", "main"]

BACKENDS = ("jax", "tensorflow", "torch")

_MISSING = "keras-regx: this command needs {module}: pip install 'keras-regx[{extra}]'"


def _missing(error: ImportError, extra: str) -> NoReturn:
    print(_MISSING.format(module=error.name, extra=extra), file=sys.stderr)
    raise SystemExit(1)


def _restart_with(backend: str) -> None:
    """Run this command again under another backend, if it is not the current one.

    The backend is chosen when Keras is imported, which importing this package did.
    """
    if backend == keras.config.backend():
        return
    if backend not in BACKENDS:
        known = ", ".join(BACKENDS)
        print(
            f"keras-regx: unknown backend {backend!r}. Choose {known}.", file=sys.stderr
        )
        raise SystemExit(2)
    if find_spec(backend) is None:
        print(_MISSING.format(module=backend, extra=backend), file=sys.stderr)
        raise SystemExit(1)
    command = [sys.executable, "-m", "keras_regx", *sys.argv[1:]]
    env = os.environ | {"KERAS_BACKEND": backend}
    done = subprocess.run(command, env=env, check=False)  # noqa: S603  (ourselves)
    raise SystemExit(done.returncode)


def build_app() -> Any:
    """Return the typer application."""
    import typer  # noqa: PLC0415  (an extra: the error of `main` names it)

    from keras_regx.cli import commands  # noqa: PLC0415  (imports typer)
    from keras_regx.cli.imports import importing  # noqa: PLC0415  (as above)

    app = typer.Typer(
        help="Penalties and constraints for whole Keras models.",
        no_args_is_help=True,
        pretty_exceptions_show_locals=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    commands.add_to(app)

    @app.command()
    @importing
    def demo(
        *,
        output: Annotated[
            str, typer.Option(help="Folder for the results.")
        ] = "keras_regx_demo",
        backend: Annotated[
            str | None, typer.Option(help="jax, tensorflow or torch.")
        ] = None,
        dataset: Annotated[
            str, typer.Option(help="digits (offline) or mnist (downloaded).")
        ] = "digits",
        quick: Annotated[bool, typer.Option("--quick", help="Fewer epochs.")] = False,
        as_json: Annotated[
            bool, typer.Option("--json", help="Print nothing but JSON to stdout.")
        ] = False,
        seed: Annotated[int, typer.Option(help="Seed of weights and batches.")] = 0,
    ) -> None:
        """Compare four L2 factors on real data; save the best network, and load it."""
        if backend is not None:
            _restart_with(backend)
        try:
            from keras_regx.cli.demo import DemoError, run  # noqa: PLC0415
        except ModuleNotFoundError as error:
            _missing(error, "demo")
        try:
            results = run(
                output, dataset=dataset, quick=quick, seed=seed, as_json=as_json
            )
        except DemoError as error:
            print(f"keras-regx: {error}", file=sys.stderr)
            raise SystemExit(2) from None
        if not results["ok"]:
            raise SystemExit(1)

    return app


def main() -> None:
    """Run the command line; exit with its status."""
    try:
        app = build_app()
    except ImportError as error:
        _missing(error, "cli")
    app()
