"""Model and policy files: read as they are, written whole or not at all."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from keras_regx.cli.printing import fail, working
from keras_regx.models import Policy, load_model
from keras_regx.policy.text import parse_rule, rules_from_json


def read_policy(rules: list[str], path: Path | None) -> Policy:
    """Return the policy of the rules in a file and on the command line."""
    items = [] if path is None else _rules_of(path)
    try:
        items += [parse_rule(text) for text in rules]
    except Exception as error:  # noqa: BLE001  (whatever an odd argument brings)
        fail(str(error))
    if not items:
        raise typer.BadParameter("Give rules with --rule or --policy.")
    return Policy(items)


def _rules_of(path: Path) -> list[Any]:
    try:
        return rules_from_json(path.read_text("utf-8-sig"))
    except (ValueError, OSError) as error:
        return fail(f"cannot read {path}: {_reason(error)}")
    except Exception as error:  # noqa: BLE001  (whatever a malformed file brings)
        return fail(f"cannot read {path}: a rule is malformed ({_reason(error)}).")


def load(path: Path) -> Any:
    """Return the model in a file."""
    try:
        with working(f"loading {path.name}"):
            return load_model(path)
    except Exception as error:  # noqa: BLE001  (whatever a broken file brings)
        return fail(f"cannot load {path}: {_missing(error) or _reason(error)}")


def _reason(error: Exception) -> str:
    """Return the first line of an error, or its kind."""
    return str(error).strip().split("\n")[0] or type(error).__name__


_UNKNOWN = re.compile(
    r"Could not locate (class|function) '([^']+)'"
    r"|Could not interpret (\w+) identifier: \{.*?'class_name': '([^']+)'"
)


def _missing(error: Exception) -> str:
    """Return what to do where a file needs a class that is not known, or ''."""
    text = str(error)
    found = list(_UNKNOWN.finditer(text))
    if not found:
        return ""
    kind, name = filter(None, found[-1].groups())  # The last one is the cause.
    of_module = re.search(
        rf"'module': '([^']+)', 'class_name': '{re.escape(name)}'", text
    )
    module = of_module.group(1) if of_module else "MODULE"
    return (
        f"the {kind} {name!r} is not known here. Name the module that defines it: "
        f"--import {module}"
    )


def check_out(model: Path, out: Path, *, force: bool) -> None:
    """Refuse to write over the input, or over anything without `--force`."""
    if out.suffix != ".keras":
        raise typer.BadParameter(f"The output must end in '.keras'. Received: {out}")
    if out.exists() and model.exists() and out.samefile(model):
        fail(f"{out} is the input: it is never overwritten.")
    if out.exists() and not force:
        fail(f"{out} exists. Replace it with --force.")
    if not out.absolute().parent.is_dir():
        fail(f"there is no folder {out.absolute().parent}.")


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; it becomes `path` when all is written, or is removed."""
    folder = Path(tempfile.mkdtemp(prefix=".keras-regx-", dir=path.absolute().parent))
    temporary = folder / path.name
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        folder.rmdir()


def save(model: Any, out: Path) -> None:
    """Write a model file."""
    try:
        with working(f"saving {out.name}"), _replacing(out) as temporary:
            model.save(temporary)
    except OSError as error:
        fail(f"cannot write {out}: {error}")


def draw(result: Any, path: Path, before: Any) -> None:
    """Write the picture of a report."""
    try:
        with _replacing(path) as temporary:
            result.plot(temporary, before=before)
    except ImportError as error:
        fail(f"a picture needs {error.name}: pip install 'keras-regx[plot]'")
    except (ValueError, OSError) as error:
        fail(f"cannot draw {path}: {error}")
