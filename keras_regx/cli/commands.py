"""The commands on model files: report, apply, project, catalogue.

Exit status: 0 success, 1 failure (with one line that says why), 2 wrong usage.
Results go to standard output, everything else to standard error.
"""

import difflib
import inspect
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_regx import constraints, regularizers
from keras_regx._core.config import parameters_of
from keras_regx._core.table import Column, Table
from keras_regx.cli.files import check_out, draw, load, read_policy, save
from keras_regx.cli.imports import Imports, import_all, importing
from keras_regx.cli.printing import fail, show, working
from keras_regx.models import feasibility
from keras_regx.report import report as measure
from keras_regx.version import __version__

ModelFile = Annotated[
    Path,
    typer.Argument(metavar="MODEL", help="Model file, .keras.", show_default=False),
]
OutFile = Annotated[
    Path, typer.Option("--out", "-o", help="Model file to write.", show_default=False)
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add_to(app: Any) -> None:
    """Add the commands to a typer application."""
    app.callback()(root)
    for command in (report, apply, project, catalogue):
        app.command()(importing(command))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"keras-regx {__version__}")
        raise typer.Exit


def root(
    *,
    version: Annotated[  # noqa: ARG001  (its callback prints it)
        bool, typer.Option("--version", help="Print the version.", callback=_version)
    ] = False,
    imports: Imports = None,
) -> None:
    """Penalties and constraints for whole Keras models.

    Start with the demo; look at a model with `keras-regx report MODEL.keras`; see
    what there is with `keras-regx catalogue`. The environment variable
    KERAS_BACKEND chooses the backend. Classes of your own are found in the modules
    that you name with --import.
    """
    import_all(imports)


def report(
    model: ModelFile,
    *,
    as_json: AsJson = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Save a picture, such as report.png.")
    ] = None,
    before: Annotated[
        Path | None, typer.Option(help="Earlier model file, for the picture.")
    ] = None,
) -> None:
    """Show what each penalty costs, and what the weights look like.

    Example: keras-regx report net.keras --plot net.png
    """
    if before is not None and plot is None:
        raise typer.BadParameter("--before needs --plot.")
    loaded = load(model)
    with working("measuring"):
        result = measure(loaded)
    if plot is not None:
        earlier = None if before is None else measure(load(before))
        with working("drawing"):
            draw(result, plot, earlier)
    show(result, as_json=as_json, markdown=markdown)


def apply(
    model: ModelFile,
    *,
    rule: Annotated[
        list[str] | None,
        typer.Option("--rule", "-r", metavar="RULE", help="May be repeated."),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="Policy file, JSON; its rules come first.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Model file to write.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would change.")
    ] = False,
    allow_unmatched: Annotated[
        bool, typer.Option("--allow-unmatched", help="Permit rules without a match.")
    ] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Put penalties and constraints on a model, and save it.

    A RULE is a glob on the paths of weights (or re: and a regular expression), an
    equals sign, and a penalty, a constraint or None. The last rule that matches
    wins. Rules are read, never evaluated.

    Examples:

    keras-regx apply net.keras -r '*/kernel=L2(1e-4)' -r '*/head/*=None' -o out.keras

    keras-regx apply net.keras -r '*/kernel=MaxNorm(3, axis="units")' --dry-run
    """
    if out is None and not dry_run:
        raise typer.BadParameter("Give the file to write with --out, or --dry-run.")
    if out is not None:
        check_out(model, out, force=force)
    chosen = read_policy(rule or [], policy)
    loaded = load(model)
    try:
        preview = chosen.preview(loaded)
        chosen.apply(loaded, allow_unmatched=allow_unmatched)
    except ValueError as error:
        python = "apply(model, allow_unmatched=True)"
        fail(str(error).replace(python, "--allow-unmatched"))
    if out is not None and not dry_run:
        save(loaded, out)
    show(preview, as_json=as_json)


def project(
    model: ModelFile, *, out: OutFile, force: Force = False, as_json: AsJson = False
) -> None:
    """Move all constrained weights into their sets, and save the model.

    Keras projects after training steps only: averaged, loaded and initial weights
    may violate their constraints.
    """
    check_out(model, out, force=force)
    loaded = load(model)
    old = feasibility.violations(loaded)
    if not old:
        fail(f"{model} has no constraints: nothing to do.")
    new = feasibility.violations(feasibility.project(loaded))
    save(loaded, out)
    rows = [{"path": path, "before": old[path], "after": new[path]} for path in old]
    moved = sum(new[path] < old[path] for path in old)
    columns = (
        Column("path", "weight", style="cyan"),
        Column("before", "distance before", "{:.4g}".format, right=True),
        Column("after", "after", "{:.4g}".format, right=True, style="bold"),
    )
    title = f"{loaded.name}: {moved} of {len(rows)} constrained weights moved"
    show(Table(title, columns, rows), as_json=as_json)


def catalogue(
    name: Annotated[
        str | None, typer.Argument(help="Explain one.", show_default=False)
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List all penalties and constraints, or explain one."""
    kinds = (("penalty", regularizers.registry), ("constraint", constraints.registry))
    found: dict[str, tuple[str, type]] = {}
    for kind, registry in kinds:
        found |= {key: (kind, cls) for key, cls in registry.classes.items()}
    if name is not None:
        if name not in found:
            near = difflib.get_close_matches(name, found)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            fail(f"there is no {name!r} in the catalogue.{hint}")
        cls = found[name][1]
        typer.echo(f"{name}{_signature(cls)}\n\n{inspect.getdoc(cls)}")
        return
    rows = [
        {
            "name": key,
            "kind": kind,
            "arguments": _signature(cls),
            "about": (cls.__doc__ or "").strip().split("\n")[0],
        }
        for key, (kind, cls) in sorted(found.items(), key=lambda i: (i[1][0], i[0]))
    ]
    columns = (
        Column("kind", "kind", style="magenta"),
        Column("name", "name", style="bold cyan"),
        Column("arguments", "arguments", style="dim"),
        Column("about", "what it is"),
    )
    title = f"{len(rows)} penalties and constraints"
    notes = ("keras-regx catalogue NAME explains one.",)
    show(Table(title, columns, rows, notes=notes), as_json=as_json)


def _signature(cls: type) -> str:
    parameters = parameters_of(cls).values()
    shown = [
        p.name if p.default is p.empty else f"{p.name}={p.default!r}"
        for p in parameters
    ]
    return f"({', '.join(shown)})"
