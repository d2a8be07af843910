"""The folder that the demo writes to, in which only its own files are replaced."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

RECORD = "demo.json"


class DemoError(Exception):
    """Something that the person at the terminal can put right."""


def check_folder(folder: Path, names: tuple[str, ...]) -> None:
    """Raise unless every file that is in the way was written by the demo.

    The record of an earlier run holds the fingerprints of what it wrote. A file
    without one, or changed since, is somebody's own.
    """
    if folder.exists() and not folder.is_dir():
        raise DemoError(f"{folder} is not a folder. Choose another with --output.")
    known = _fingerprints(folder / RECORD)
    present = [folder / name for name in names if (folder / name).exists()]
    foreign = [path for path in present if _digest(path) != known.get(path.name)]
    if known is _NOTHING and (folder / RECORD).exists():
        foreign.append(folder / RECORD)
    if foreign:
        raise DemoError(
            f"{foreign[0]} was not written by the demo, or was changed since. "
            "Move it, or choose another folder with --output."
        )


def publish(staged: Path, folder: Path, results: dict[str, Any]) -> None:
    """Move finished files into the folder and leave the record beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    files = sorted(staged.iterdir())
    record = results | {"sha256": {path.name: _digest(path) for path in files}}
    for path in files:
        shutil.move(path, folder / path.name)
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n")


_NOTHING: dict[str, str] = {}


def _fingerprints(record: Path) -> dict[str, str]:
    try:
        return dict(json.loads(record.read_text())["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return _NOTHING


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
