"""The command line, in this process: results, exit status, what is written."""

from __future__ import annotations

import importlib
import json
import random
import sys
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

import keras_regx
from keras_regx import cli, regularizers
from keras_regx.cli import files
from tests import zoo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return the path of a saved model."""
    made = zoo.functional()[0]
    zoo.seed_weights(made)
    made.save(tmp_path / "net.keras")
    return tmp_path / "net.keras"


def run(*arguments: Any) -> Result:
    """Run the command line."""
    return CliRunner().invoke(cli.build_app(), [str(a) for a in arguments])


def one_line(result: Result) -> str:
    """Return the one line that a failure prints to standard error."""
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("keras-regx: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
    return result.stderr


@pytest.mark.parametrize(
    "command", ["", "report", "apply", "project", "catalogue", "demo"]
)
def test_help(command: str) -> None:
    """Every command explains itself."""
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_version() -> None:
    """The version is printed."""
    assert run("--version").output == f"keras-regx {keras_regx.__version__}\n"


def test_apply_report_project(model: Path, tmp_path: Path) -> None:
    """Rules go on, are reported, and the constraints are enforced."""
    before = model.read_bytes()
    out = tmp_path / "out.keras"
    rules = ("-r", "*/kernel=L2(1e-2)", "-r", "head/*=None", "-r", "*/bias=NonNeg()")
    result = run("apply", model, *rules, "-o", out)
    assert result.exit_code == 0, result.output
    assert "body/kernel" in result.stdout
    loaded = keras_regx.load_model(out)
    assert loaded.get_layer("body").kernel.regularizer == regularizers.L2(1e-2)
    assert loaded.get_layer("head").kernel.regularizer is None
    data = json.loads(run("report", out, "--json").stdout)
    assert data["total"] == pytest.approx(float(keras_regx.total_penalty(loaded)))
    assert run("report", out, "--markdown").stdout.startswith("**functional")
    assert "body/kernel" in run("report", out).stdout
    fixed = tmp_path / "fixed.keras"
    result = run("project", out, "-o", fixed, "--json")
    assert result.exit_code == 0, result.output
    assert {row["after"] for row in json.loads(result.stdout)["rows"]} == {0.0}
    assert set(keras_regx.violations(keras_regx.load_model(fixed)).values()) == {0.0}
    assert model.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "fixed.keras", "net.keras", "out.keras",
    ]  # fmt: skip


def test_policy_file(model: Path, tmp_path: Path) -> None:
    """A policy file does the same, and rules on the command line come after it."""
    policy = tmp_path / "policy.json"
    policy.write_text('{"rules": [{"slot": "kernel", "regularizer": "L1(0.5)"}]}')
    out = tmp_path / "out.keras"
    result = run("apply", model, "--policy", policy, "-r", "head/*=None", "-o", out)
    assert result.exit_code == 0, result.output
    assert list(keras_regx.penalties(keras_regx.load_model(out))) == [
        "body/kernel/Regularizer/l1"
    ]


def test_dry_run_writes_nothing(model: Path, tmp_path: Path) -> None:
    """A dry run shows the same table, and no file appears."""
    result = run("apply", model, "-r", "*/kernel=L2(1e-2)", "--dry-run", "--json")
    assert result.exit_code == 0
    assert len(json.loads(result.stdout)["rows"]) == 2
    assert list(tmp_path.iterdir()) == [model]


def test_picture(model: Path, tmp_path: Path) -> None:
    """The picture is written, also against an earlier model."""
    picture = tmp_path / "report.png"
    result = run("report", model, "--plot", picture, "--before", model)
    assert result.exit_code == 0, result.output
    assert picture.read_bytes()[1:4] == b"PNG"
    assert "cannot draw" in one_line(
        run("report", model, "--plot", tmp_path / "r.nope")
    )
    assert run("report", model, "--before", model).exit_code == 2


@pytest.mark.parametrize(
    "rule",
    [
        "*/kernel=__import__('os').system('touch hacked')",
        "*/kernel=L2(l2=exec('1'))",
        "*/kernel=Nope(1)",
        "*/kernel=L2(-1)",
        "*/kernel",
        "re:(=L2(1.0)",
        "*/nothing=L2(1.0)",
        "*/bias=OrthogonalRegularizer()",
    ],
)
def test_bad_rule(
    rule: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad rule is one line, runs nothing and writes nothing."""
    monkeypatch.chdir(tmp_path)
    assert one_line(run("apply", model, "-r", rule, "-o", "out.keras"))
    assert list(tmp_path.iterdir()) == [model]


def test_bad_policy_file(model: Path, tmp_path: Path) -> None:
    """A broken or missing policy file is one line."""
    (tmp_path / "p.json").write_text("{")
    result = run("apply", model, "--policy", tmp_path / "p.json", "--dry-run")
    assert "not valid JSON" in one_line(result)
    result = run("apply", model, "--policy", tmp_path / "missing.json", "--dry-run")
    assert "missing.json" in one_line(result)


def test_policy_file_with_a_byte_order_mark(model: Path, tmp_path: Path) -> None:
    """Editors of Windows put a mark before the text."""
    policy = tmp_path / "policy.json"
    text = '{"rules": [{"slot": "kernel", "regularizer": "L1(0.5)"}]}'
    policy.write_bytes(text.encode("utf-8-sig"))
    result = run("apply", model, "--policy", policy, "--dry-run")
    assert result.exit_code == 0, result.output


MALFORMED = [
    b"",
    b"null",
    b"3",
    b'"text"',
    b"[]",
    b"{}",
    b"\xff\xfe{}",
    b"\x00",
    b"[" * 100_000,
    b'{"rules": 3}',
    b'{"rules": [3]}',
    b'{"rules": [{"patern": "*"}]}',
    b'{"rules": [{"pattern": 3, "regularizer": "L2(1.0)"}]}',
    b'{"rules": [{"pattern": "re:(", "regularizer": "L2(1.0)"}]}',
    b'{"rules": [{"rank": "x", "regularizer": "L2(1.0)"}]}',
    b'{"rules": [{"slot": NaN, "regularizer": "L2(1.0)"}]}',
    b'{"rules": [{"regularizer": 3}]}',
    b'{"rules": [{"regularizer": [[[]]]}]}',
    b'{"rules": [{"regularizer": {"class_name": 3}}]}',
    b'{"rules": [{"regularizer": {"class_name": "L2", "config": 3}}]}',
    b'{"rules": [{"regularizer": {"class_name": "L2", "module": 5, "config": {}}}]}',
    b'{"rules": [{"regularizer": {"class_name": "L2", "config": {"l1": 1}}}]}',
    b'{"rules": [{"regularizer": {"class_name": "system", "module": "os"}}]}',
    b'{"rules": [{"constraint": "L2(1.0)"}]}',
    b'{"rules": [{"regularizer": "L2(1' + b"0" * 400 + b')"}]}',
    b'{"rules": [' + b'{"regularizer":' * 3000 + b"1" + b"}" * 3000 + b"]}",
]


@pytest.mark.parametrize("content", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_policy_is_one_line(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever stands in a policy file, the answer is one line with its name."""
    (tmp_path / "p.json").write_bytes(content)
    with pytest.raises(typer.Exit):
        files.read_policy([], tmp_path / "p.json")
    error = capsys.readouterr().err
    assert error.startswith("keras-regx: cannot read ")
    assert "p.json" in error
    assert error.count("\n") == 1


def test_random_policies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Random values in random fields are rules, or one line of refusal."""
    rng = random.Random(0)  # noqa: S311  (no secret)
    config = {"class_name": "L2", "config": {"l2": 0.1}}
    values = [None, True, 0, -1, 1.5, "", "*/kernel", "L2(0.1)", "NonNeg()", [], {}]
    values += [[1], ["a"], {"a": 1}, [[[]]], config, {**config, "config": [config]}]
    values += [{"class_name": "Sum", "config": {"regularizers": v}} for v in values]
    fields = [*keras_regx.Rule.argument_names(), "other"]
    outcomes = set()
    for _ in range(500):
        rule = {name: rng.choice(values) for name in rng.sample(fields, 2)}
        (tmp_path / "p.json").write_text(json.dumps({"rules": [rule]}))
        try:
            files.read_policy([], tmp_path / "p.json")
            outcomes.add("read")
        except typer.Exit:
            outcomes.add("refused")
            assert capsys.readouterr().err.count("\n") == 1
    assert outcomes == {"read", "refused"}


MINE = """
import keras
from keras_regx.regularizers import Regularizer, register

class PlainDense(keras.layers.Dense):
    pass

@keras.saving.register_keras_serializable("mine")
class KnownDense(keras.layers.Dense):
    pass

@register
class Fourth(Regularizer):
    def __init__(self, factor=0.5):
        self.factor = factor

    def _value(self, x):
        return self.factor * keras.ops.sum(x ** 4)

def twice(x):
    return 2 * x
"""


@pytest.fixture
def mine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., str]]:
    """Write a module and a model with its objects; return who saves such models.

    Afterwards the module is forgotten, as in a process that has not imported it.
    """
    (tmp_path / "my_objects.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    custom = keras.saving.get_custom_objects()
    before, path = dict(custom), list(sys.path)
    classes, names = regularizers.registry.classes, regularizers.registry._by_name
    known, aliases = dict(classes), dict(names)

    def forget() -> None:
        sys.modules.pop("my_objects", None)
        for now, then in ((custom, before), (classes, known), (names, aliases)):
            now.clear()
            now.update(then)
        sys.path[:] = path

    def save(make: Callable[[Any], Any]) -> str:
        monkeypatch.syspath_prepend(tmp_path)
        module = importlib.import_module("my_objects")
        inputs = keras.Input((2,))
        keras.Model(inputs, make(module)(inputs)).save("mine.keras")
        forget()
        return "mine.keras"

    yield save
    forget()


OBJECTS = {
    "PlainDense": lambda m: m.PlainDense(1),
    "KnownDense": lambda m: m.KnownDense(1),
    "Fourth": lambda m: keras.layers.Dense(1, kernel_regularizer=m.Fourth()),
    "twice": lambda m: keras.layers.Dense(1, activation=m.twice),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_missing_class_is_named(name: str, mine: Callable[..., str]) -> None:
    """A class or function that a file needs is named, with what to do."""
    error = one_line(run("report", mine(OBJECTS[name])))
    assert name in error
    assert "--import" in error


@pytest.mark.parametrize("module", ["my_objects", "my_objects.py"])
@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("name", OBJECTS)
def test_import(name: str, place: str, module: str, mine: Callable[..., str]) -> None:
    """The user's own classes are found, whatever they are, on either side."""
    option, path = ("--import", module), mine(OBJECTS[name])
    command = ("report", path, "--json")
    result = run(*option, *command) if place == "before" else run(*command, *option)
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["rows"]) == 2


def test_rule_with_a_class_of_ones_own(
    model: Path, mine: Callable[..., str], tmp_path: Path
) -> None:
    """A penalty that a module registers can be named in rules, written and read."""
    assert mine
    rule = ("-r", "*/kernel=Fourth(0.25)")
    out = tmp_path / "out.keras"
    assert "Fourth" in one_line(run("apply", model, *rule, "-o", out))
    result = run("apply", model, *rule, "-o", out, "--import", "my_objects")
    assert result.exit_code == 0, result.output
    assert "Fourth" in run("report", out, "--import", "my_objects").stdout


@pytest.mark.parametrize(
    ("module", "content", "words"),
    [
        ("no_such_module", None, "no_such_module"),
        ("folder/missing.py", None, "missing.py"),
        ("broken", "raise RuntimeError('first\\nsecond')", "first second"),
        ("broken.py", "def", "invalid syntax"),
        ("", None, "cannot import"),
    ],
)
@pytest.mark.usefixtures("mine")
def test_module_that_cannot_be_imported(
    module: str, content: str | None, words: str, tmp_path: Path
) -> None:
    """A missing or broken module is one line."""
    if content is not None:
        (tmp_path / "broken.py").write_text(content)
    try:
        for arguments in (
            ("--import", module, "catalogue"),
            ("catalogue", "--import", module),
        ):
            assert words in one_line(run(*arguments))
    finally:
        sys.modules.pop("broken", None)


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    """Neither in results nor in errors."""
    inputs = keras.Input((2,))
    layer = keras.layers.Dense(1, name="a\x1b[2Jb")
    keras.Model(inputs, layer(inputs)).save(tmp_path / "m.keras")
    assert "\x1b" not in run("report", tmp_path / "m.keras").output
    assert "\x1b" not in one_line(run("report", tmp_path / "n\x1b[2J.keras"))


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("*/kernel=GroupLaso()", "nearest are GroupLasso"),
        ("*/kernel=L2(factor=1.0)", "its arguments are l2"),
        ("*/kernal=L2(1.0)", "'body/kernel'"),
        ("*/kernal=L2(1.0)", "--allow-unmatched"),
    ],
)
def test_typo(rule: str, words: str, model: Path) -> None:
    """A typo names the nearest class, argument or path, in a dry run too."""
    assert words in one_line(run("apply", model, "-r", rule, "--dry-run"))


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 broken", b"text"])
def test_bad_model_file(content: bytes | None, tmp_path: Path) -> None:
    """A broken or missing model file is one line."""
    path = tmp_path / "bad.keras"
    if content is not None:
        path.write_bytes(content)
    assert "bad.keras" in one_line(run("report", path))


def test_model_file_with_code(tmp_path: Path) -> None:
    """A model that carries code is refused, and the code does not run."""
    inputs = keras.Input((2,))
    made = keras.Model(inputs, keras.layers.Lambda(lambda x: x + 1)(inputs))
    made.save(tmp_path / "code.keras")
    assert "lambda" in one_line(run("report", tmp_path / "code.keras")).lower()


def test_output_is_safe(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The input is never overwritten, others only by force, and never in part."""
    rule = ("-r", "*/kernel=L2(1e-2)")
    before = model.read_bytes()
    assert "never overwritten" in one_line(run("apply", model, *rule, "-o", model))
    link = tmp_path / "link.keras"
    link.symlink_to(model)
    result = run("apply", model, *rule, "-o", link, "--force")
    assert "never overwritten" in one_line(result)
    link.unlink()
    out = tmp_path / "out.keras"
    out.write_bytes(b"mine")
    assert "--force" in one_line(run("apply", model, *rule, "-o", out))
    assert run("apply", model, *rule, "-o", tmp_path / "out.h5").exit_code == 2
    assert run("apply", model, *rule).exit_code == 2
    assert run("apply", model, "-o", tmp_path / "new.keras").exit_code == 2
    assert "no folder" in one_line(
        run("apply", model, *rule, "-o", tmp_path / "a/b.keras")
    )

    def broken(self: Any, path: Any, **_: Any) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "save", broken)
        result = run("apply", model, *rule, "-o", out, "--force")
    assert "disk full" in one_line(result)
    assert out.read_bytes() == b"mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.keras", "out.keras"]
    assert run("apply", model, *rule, "-o", out, "--force").exit_code == 0
    assert model.read_bytes() == before


def test_project_without_constraints(model: Path, tmp_path: Path) -> None:
    """There is nothing to project: one line, and no file."""
    result = run("project", model, "-o", tmp_path / "out.keras")
    assert "no constraints" in one_line(result)
    assert list(tmp_path.iterdir()) == [model]


def test_catalogue() -> None:
    """All names are listed with one line each, and each is explained."""
    rows = json.loads(run("catalogue", "--json").stdout)["rows"]
    names = {row["name"] for row in rows}
    assert {"L2", "MaxNorm", "Sum"} <= names
    assert all(row["about"] for row in rows)
    assert "Hoerl" in run("catalogue", "L2").stdout
    assert "Did you mean" in one_line(run("catalogue", "L22"))
    assert "MaxNorm" in run("catalogue").stdout


def test_missing_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without typer the command says how to install it."""

    def missing() -> None:
        raise ModuleNotFoundError("No module named 'typer'", name="typer")

    monkeypatch.setattr(cli, "build_app", missing)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    assert "pip install 'keras-regx[cli]'" in capsys.readouterr().err


def test_rows_are_numbers(model: Path) -> None:
    """JSON holds numbers, not texts."""
    (row, *_) = json.loads(run("report", model, "--json").stdout)["rows"]
    assert np.isfinite(row["norm"])
    assert row["shape"] == [4, 5]
