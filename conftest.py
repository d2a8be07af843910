"""Seeds every test, and collects the examples of docstrings, docs and README."""

import os
import tempfile
from collections.abc import Iterator
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent
# JAX compiles each eager operation once per shape: kept from run to run.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
# Tests compile more than they compute: in a hurry, but for steps whose compiled form
# is what a test is about (see `optimized` in `tests/conftest.py`).
in_a_hurry = os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1") == "1"
os.environ.setdefault("MPLBACKEND", "agg")  # No window, even with a display.

import keras
import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser
from sybil.parsers.rest import DocTestParser

import keras_regx  # noqa: F401  (registers its classes, as documentation assumes)

is_jax = keras.backend.backend() == "jax"
if in_a_hurry and is_jax and version("jax").startswith("0.10."):
    # Only for this version: XLA ends the process at a flag that it does not know.
    flags = "--xla_cpu_use_fusion_emitters=false --xla_cpu_use_xnnpack=false"
    os.environ.setdefault("XLA_FLAGS", flags)

SEED = 20240605
FLAGS = ELLIPSIS | NORMALIZE_WHITESPACE


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Share the whole suite among the cores; what is named runs in one process."""
    option = config.option
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    if named or option.collectonly or hasattr(config, "workerinput"):
        return
    if getattr(option, "cov_source", None):
        return  # Coverage has already settled on one process.
    if getattr(option, "numprocesses", 0) is None:  # Neither `-n` nor without xdist.
        option.numprocesses, option.maxprocesses = "auto", 4
        option.dist = "loadfile"  # A document's examples share their names.
        option.loadscopereorder = False  # See below.


# The files that take longest, in this order. Processes take whole files: one that
# starts last would leave the others without work.
LONGEST = (
    "test_models_real",
    "test_matrix",
    "test_constraints_training",
    "test_constraints",
    "test_penalties",
    "test_ops",
    "test_penalties_layers",
    "test_models_saving",
    "test_penalties_prox",
    "test_defects",
    "test_core",
    "test_path",
    "test_intersections",
    "test_demo",
    "test_models_units",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first, the tests of each in their order."""
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@pytest.fixture(autouse=True)
def _isolated() -> Iterator[None]:
    """Seed Python, NumPy and the backend, and put Keras' global state back."""
    keras.utils.set_random_seed(SEED)
    floatx = keras.config.floatx()
    policy = keras.config.dtype_policy()
    image_data_format = keras.config.image_data_format()
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)
    keras.config.set_image_data_format(image_data_format)


def _enter_folder(namespace: dict[str, Any]) -> None:
    """Run a document's examples in a folder of their own: they may save files."""
    keras.utils.clear_session(free_memory=False)
    namespace["_folder"] = tempfile.TemporaryDirectory()
    namespace["_origin"] = Path.cwd()
    os.chdir(namespace["_folder"].name)


def _leave_folder(namespace: dict[str, Any]) -> None:
    os.chdir(namespace.pop("_origin"))
    namespace.pop("_folder").cleanup()


docstrings = Sybil(
    parsers=[DocTestParser(optionflags=FLAGS)],
    patterns=["keras_regx/*.py", "keras_regx/**/*.py"],
    setup=_enter_folder,
    teardown=_leave_folder,
)
pages = Sybil(
    parsers=[PythonCodeBlockParser(doctest_optionflags=FLAGS), SkipParser()],
    patterns=["README.md", "docs/*.md", "docs/**/*.md"],
    setup=_enter_folder,
    teardown=_leave_folder,
)

pytest_collect_file = (docstrings + pages).pytest()
