"""The test matrix: one environment per backend, with only that backend in it.

nox                       the default sessions: three backends, lint, types
nox -s "tests(jax)"       one backend; everything after `--` goes to pytest
nox -s docs bench         the opt-in sessions
"""

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests", "lint", "types"]

KERAS = "keras==3.15.1"
KERAS_HUB = "keras-hub==0.32.0"
BACKENDS = ["jax", "tensorflow", "torch"]
GROUPS = nox.project.load_toml("pyproject.toml")["dependency-groups"]


def install(session: nox.Session, *groups: str, keras: str = KERAS) -> None:
    """Install the pinned Keras, dependency groups and the package itself."""
    names = [name for group in groups for name in GROUPS[group]]
    session.install(keras, *names)
    session.install("--no-deps", "-e", ".")


# Everything, in two processes or more; a document's examples share their names. The
# root's `conftest.py` puts the files that take longest first.
EVERYTHING = [
    *("-m", "", "--numprocesses=auto", "--maxprocesses=4"),
    *("--dist=loadfile", "--no-loadscope-reorder"),
]


def environment(session: nox.Session, backend: str) -> dict[str, str]:
    """Return variables that keep a run away from the user's own settings."""
    return {
        "KERAS_BACKEND": backend,
        "KERAS_HOME": session.create_tmp(),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
        "MPLBACKEND": "agg",
        "JAX_COMPILATION_CACHE_DIR": str(session.cache_dir / "jax"),
        # Several processes share the cores; small tensors gain nothing from threads.
        "OMP_NUM_THREADS": "1",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
    }


@nox.session
@nox.parametrize("backend", BACKENDS, ids=BACKENDS)
def tests(session: nox.Session, backend: str) -> None:
    """Run the whole suite, docstrings, docs and README included, on one backend."""
    oracles = ["oracles"] if backend == "jax" else []
    install(session, backend, "test", "hub", *oracles)
    session.install("--no-deps", KERAS_HUB)  # It would bring TensorFlow along.
    args = [*EVERYTHING, *session.posargs]
    session.run("pytest", *args, env=environment(session, backend))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install(*GROUPS["lint"])
    session.run("ruff", "check", *session.posargs, ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    install(session, "types", "jax", "test")
    session.run("mypy", *session.posargs)


@nox.session
@nox.parametrize("backend", BACKENDS, ids=BACKENDS)
def minimum(session: nox.Session, backend: str) -> None:
    """Run the suite with the oldest Keras that is supported."""
    install(session, backend, "test", keras="keras==3.15.0")
    args = [*EVERYTHING, *session.posargs]
    session.run("pytest", *args, env=environment(session, backend))


@nox.session
def numpy_backend(session: nox.Session) -> None:
    """Run the forward checks on the NumPy backend, which cannot train."""
    install(session, "jax", "test")
    args = session.posargs or ["-m", "forward"]
    session.run("pytest", *args, env=environment(session, "numpy"))


@nox.session
def docs(session: nox.Session) -> None:
    """Generate the catalogue page and build the site; warnings are errors."""
    install(session, "docs", "jax", "test")
    env = environment(session, "jax")
    session.run("python", "docs/generate.py", env=env)
    session.run("mkdocs", "build", "--strict", *session.posargs, env=env)


@nox.session
@nox.parametrize("backend", BACKENDS, ids=BACKENDS)
def bench(session: nox.Session, backend: str) -> None:
    """Time every drop-in class beside Keras' own."""
    install(session, backend, "test", "bench")
    env = environment(session, backend)
    session.run("python", "-m", "benchmarks", *session.posargs, env=env)


@nox.session
def coverage(session: nox.Session) -> None:
    """Measure which lines the suite reaches on JAX."""
    install(session, "jax", "test", "oracles", "coverage")
    report = ["--cov", "--cov-report=term-missing:skip-covered"]
    args = [*EVERYTHING, *report, *session.posargs]
    session.run("pytest", *args, env=environment(session, "jax"))
