"""The demonstration: its numbers, its files, its command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_regx import cli
from keras_regx.cli import demo
from keras_regx.cli.demo import experiment, folder, picture
from tests.backends import BACKEND


def run_cli(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `python -m keras_regx` in a fresh process."""
    paths = [str(Path.cwd()), os.environ.get("PYTHONPATH")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-m", "keras_regx", *args]
    return subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Run `keras-regx demo --quick --json`; return its folder and its numbers."""
    here = tmp_path_factory.mktemp("demo")
    args = ("--quick", "--json", "--backend", BACKEND, "--output", "out")
    done = run_cli("demo", *args, cwd=here)
    assert done.returncode == 0, done.stderr
    return here / "out", json.loads(done.stdout)


@pytest.mark.parametrize("index", range(6))
def test_documented_number(index: int) -> None:
    """Every documented number is computed, and is what is documented."""
    rows = experiment.documented_numbers()
    expected = [0.25, 5.0, 5.25, 50.0, 12.5, 0.25]
    assert len(rows) == len(expected)
    assert rows[index]["expected"] == expected[index]
    assert rows[index]["value"] == pytest.approx(expected[index], rel=1e-6)
    assert rows[index]["ok"]


@pytest.mark.slow
def test_listing_names_variables_and_terms() -> None:
    """The listing has the nine names, shapes and sizes of a 784-pixel network."""
    listing = experiment.listing(experiment.easy_net((28, 28), 0.1))
    sizes = {row["name"]: row["size"] for row in listing["variables"]}
    assert sizes == {
        "EasyNet/fully_connected/kernel": 156800,
        "EasyNet/fully_connected/bias": 200,
        "EasyNet/fully_connected_1/kernel": 40000,
        "EasyNet/fully_connected_1/bias": 200,
        "EasyNet/fully_connected_2/kernel": 2000,
        "EasyNet/fully_connected_2/bias": 10,
    }
    terms = [(row["name"], row["shape"]) for row in listing["penalty_terms"]]
    assert terms == [
        (f"EasyNet/fully_connected{suffix}/kernel/Regularizer/l2", [])
        for suffix in ("", "_1", "_2")
    ]


def test_penalty_is_half_the_sum_of_squares() -> None:
    """The factor has TensorFlow 1's meaning."""
    model = experiment.easy_net((8, 8), 0.1)
    weights = experiment.all_kernels(model).astype("float64")
    terms = experiment.listing(model)["penalty_terms"]
    total = sum(row["value"] for row in terms)
    assert total == pytest.approx(0.05 * np.sum(weights**2), rel=1e-5)


def test_initial_weights_do_not_depend_on_the_factor() -> None:
    """Factors are compared from the same start, and the seed decides on it."""
    weights = [
        experiment.all_kernels(experiment.easy_net((8, 8), factor, seed))
        for factor, seed in ((0.0, 0), (1.0, 0), (1.0, 1))
    ]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[1], weights[2])


def test_data_is_split_once_and_scaled() -> None:
    """The digits lie in [0, 1] and come back the same each time."""
    data, again = experiment.load_data("digits"), experiment.load_data("digits")
    assert data.x_train.shape == (1347, 8, 8)
    assert data.x_test.shape == (450, 8, 8)
    assert data.x_train.min() == 0
    assert data.x_train.max() == 1
    np.testing.assert_array_equal(data.x_test, again.x_test)


@pytest.mark.slow
def test_run_writes_three_files(finished: tuple[Path, dict[str, Any]]) -> None:
    """A run leaves the model, the picture and the numbers that it printed."""
    output, results = finished
    assert {p.name for p in output.iterdir()} == {
        "model.keras",
        "demo.png",
        "demo.json",
    }
    record = json.loads((output / "demo.json").read_text())
    assert record["runs"] == results["runs"]
    assert results["ok"]


@pytest.mark.slow
def test_run_may_replace_what_it_wrote(finished: tuple[Path, dict[str, Any]]) -> None:
    """The folder of an earlier run is the demo's own."""
    folder.check_folder(finished[0], ("model.keras", "demo.png"))


@pytest.mark.slow
def test_run_shows_what_the_factor_does(finished: tuple[Path, dict[str, Any]]) -> None:
    """A small factor does no harm, a large one leaves nothing; backend as asked for."""
    results = finished[1]
    assert results["backend"] == BACKEND
    assert [row["factor"] for row in results["runs"]] == [0, 1e-4, 1e-2, 1]
    accuracies = [row["test_accuracy"] for row in results["runs"]]
    assert accuracies[1] > 0.9
    assert accuracies[3] < 0.2


@pytest.mark.slow
def test_reloaded_model_has_the_same_accuracy(
    finished: tuple[Path, dict[str, Any]],
) -> None:
    """The accuracy of the fresh process is that of the best row."""
    best = finished[1]["best"]
    accuracies = [row["test_accuracy"] for row in finished[1]["runs"]]
    assert best["reloaded_accuracy"] == best["test_accuracy"] == max(accuracies)


@pytest.mark.slow
def test_same_seed_gives_the_same_weights() -> None:
    """Training twice with one seed gives bitwise equal weights."""
    data = experiment.load_data("digits")
    setup = experiment.SETUPS["digits"]
    weights = [
        experiment.all_kernels(
            experiment.train(data, 1e-2, setup, 1, 0, on_epoch_end=lambda *_: None)
        )
        for _ in range(2)
    ]
    np.testing.assert_array_equal(weights[0], weights[1])


@pytest.mark.skipif(BACKEND != "torch", reason="about PyTorch's threads")
def test_training_takes_one_thread() -> None:
    """Threads of PyTorch that wait for each other made this ten times as slow."""
    torch = sys.modules["torch"]
    before, during = torch.get_num_threads(), []
    setup = experiment.Setup(1e-3, batch_size=64, epochs=1, quick_epochs=1)
    data = experiment.load_data("digits")
    few = experiment.Data(
        data.x_train[:64], data.y_train[:64], data.x_test, data.y_test
    )
    experiment.train(
        few,
        0.0,
        setup,
        1,
        0,
        on_epoch_end=lambda *_: during.append(torch.get_num_threads()),
    )
    assert during == [1]
    assert torch.get_num_threads() == before


def test_foreign_file_is_not_replaced(tmp_path: Path) -> None:
    """A file that the demo did not write stops it before anything happens."""
    (tmp_path / "model.keras").write_text("mine")
    with pytest.raises(demo.DemoError, match="was not written by the demo"):
        demo.run(tmp_path)
    assert (tmp_path / "model.keras").read_text() == "mine"


def test_changed_file_is_not_replaced(tmp_path: Path) -> None:
    """A file that was changed after the demo wrote it counts as somebody's own."""
    staged = tmp_path / "staged"
    staged.mkdir()
    (staged / "model.keras").write_text("written")
    folder.publish(staged, tmp_path / "out", {})
    folder.check_folder(tmp_path / "out", ("model.keras",))
    (tmp_path / "out" / "model.keras").write_text("changed")
    with pytest.raises(demo.DemoError, match=r"model\.keras was not written"):
        folder.check_folder(tmp_path / "out", ("model.keras",))


def test_foreign_record_is_not_replaced(tmp_path: Path) -> None:
    """A demo.json of another program stops the demo."""
    (tmp_path / "demo.json").write_text("{}")
    with pytest.raises(demo.DemoError, match=r"demo\.json was not written"):
        folder.check_folder(tmp_path, ("model.keras",))


def test_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """A file in the place of the folder is named in the error."""
    (tmp_path / "out").write_text("")
    with pytest.raises(demo.DemoError, match="is not a folder"):
        demo.run(tmp_path / "out")


def test_unknown_data_set_is_refused(tmp_path: Path) -> None:
    """An unknown data set is named, with those that are known."""
    with pytest.raises(demo.DemoError, match=r"'cifar'\. Choose digits or mnist"):
        demo.run(tmp_path, dataset="cifar")


@pytest.mark.parametrize("dataset", ["digits", "mnist"])
def test_picture_is_drawn(tmp_path: Path, dataset: str) -> None:
    """The picture is a PNG of the stated size, also where all weights are zero."""
    rng = np.random.default_rng(0)
    runs = [
        {"factor": f, "test_accuracy": 0.9, "penalty": f, "mnist_accuracy": 0.9}
        for f in experiment.FACTORS
    ]
    kernels = {f: rng.normal(size=500) * (f < 1) for f in experiment.FACTORS}
    picture.draw(tmp_path / "demo.png", runs, kernels, dataset)
    header = (tmp_path / "demo.png").read_bytes()[:24]
    assert header[1:4] == b"PNG"
    assert int.from_bytes(header[16:20], "big") == 1800


def test_wrong_documented_number_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A number that differs becomes a non-zero exit status."""
    monkeypatch.setattr(demo, "run", lambda *args, **kwargs: {"ok": False})
    monkeypatch.setattr(sys, "argv", ["keras-regx", "demo", "--output", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1


def test_unknown_backend_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown backend is refused with the names of the known ones."""
    monkeypatch.setattr(sys, "argv", ["keras-regx", "demo", "--backend", "theano"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error == (
        "keras-regx: unknown backend 'theano'. Choose jax, tensorflow, torch.\n"
    )


@pytest.mark.parametrize("module", ["sklearn", "matplotlib"])
def test_missing_extra_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], module: str
) -> None:
    """A missing extra is answered by the command that installs it."""
    for name in list(sys.modules):
        if name == module or name.startswith((f"{module}.", "keras_regx.cli.demo")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delattr("keras_regx.cli.demo", raising=False)
    monkeypatch.setattr(sys, "argv", ["keras-regx", "demo"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    error = capsys.readouterr().err
    assert "pip install 'keras-regx[demo]'" in error
    assert module in error
    assert error.count("\n") == 1
