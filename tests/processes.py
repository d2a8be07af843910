"""Scripts that run in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras

ROOT = Path(__file__).parents[1]


def told(script: str, *arguments: str, env: dict[str, str] | None = None) -> Any:
    """Run a script in a fresh process; return what it prints as JSON, last.

    Args:
        script: Python source.
        arguments: What it finds in `sys.argv[1:]`.
        env: The environment; that of this process, on its backend, by default.
    """
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        env=env or {**os.environ, "KERAS_BACKEND": keras.backend.backend()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
