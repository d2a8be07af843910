"""`keras-regx demo`: what an L2 factor does to a small network, on real data.

Trains a 200-200-10 tanh network with four factors, saves the best network, loads
it in a fresh process, and draws one picture. Needs the `demo` extra.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from keras_regx.cli.demo import experiment
from keras_regx.cli.demo.folder import RECORD, DemoError, check_folder, publish
from keras_regx.cli.demo.picture import draw
from keras_regx.cli.demo.printing import Report
from keras_regx.version import __version__

__all__ = ["DemoError", "accuracy_in_fresh_process", "run"]

MODEL, PICTURE = "model.keras", "demo.png"


def run(
    output: str | Path = "keras_regx_demo",
    *,
    dataset: str = "digits",
    quick: bool = False,
    seed: int = 0,
    as_json: bool = False,
    epochs: int | None = None,
) -> dict[str, Any]:
    """Run the demonstration; write a model, a picture and a record of the numbers.

    Args:
        output: Folder to write to. A file in it that the demo did not write is
            never replaced.
        dataset: `"digits"` (comes with scikit-learn) or `"mnist"` (downloaded).
        quick: Boolean. Fewer epochs.
        seed: Integer. The same seed gives the same numbers on one backend.
        as_json: Boolean. Print the numbers as JSON, and nothing else, to stdout.
        epochs: Integer, or `None` for what suits the data set.

    Returns:
        The numbers, as in the JSON. `"ok"` says whether every documented number
        and the accuracy of the reloaded model came out as expected.

    Raises:
        DemoError: If the data set is unknown, the folder holds somebody's own
            files, or the saved model does not load.
    """
    start = time.perf_counter()
    output = Path(output)
    if dataset not in experiment.SETUPS:
        known = " or ".join(experiment.SETUPS)
        raise DemoError(f"unknown data set {dataset!r}. Choose {known}.")
    check_folder(output, (MODEL, PICTURE))
    setup = experiment.SETUPS[dataset]
    epochs = epochs or (setup.quick_epochs if quick else setup.epochs)
    data = experiment.load_data(dataset)

    report = Report(Console(stderr=as_json, highlight=False))
    report.header(__version__, keras.__version__, keras.config.backend())
    documented = experiment.documented_numbers()
    report.documented(documented)
    image_shape = data.x_train.shape[1:]
    listing = experiment.listing(
        experiment.easy_net(image_shape, experiment.FACTORS[1], seed)
    )
    report.listing(listing)

    models = {}
    with report.progress(experiment.FACTORS, epochs) as on_epoch_end:
        for factor in experiment.FACTORS:
            models[factor] = experiment.train(
                data, factor, setup, epochs, seed, on_epoch_end=on_epoch_end[factor]
            )
    runs = [experiment.measure(model, factor, data) for factor, model in models.items()]
    best = max(runs, key=lambda row: (row["test_accuracy"], row["factor"]))
    report.runs(runs, dataset)

    with tempfile.TemporaryDirectory() as folder:
        staged = Path(folder)
        models[best["factor"]].save(staged / MODEL)
        reloaded = accuracy_in_fresh_process(staged / MODEL, dataset)
        kernels = {f: experiment.all_kernels(model) for f, model in models.items()}
        draw(staged / PICTURE, runs, kernels, dataset)
        same = reloaded == best["test_accuracy"]
        results = {
            "keras_regx": __version__,
            "keras": keras.__version__,
            "backend": keras.config.backend(),
            "dataset": dataset,
            "epochs": epochs,
            "seed": seed,
            "documented": documented,
            **listing,
            "runs": runs,
            "best": {**best, "reloaded_accuracy": reloaded, "ok": same},
            "files": [str(output / name) for name in (MODEL, PICTURE, RECORD)],
            "seconds": round(time.perf_counter() - start, 1),
            "ok": same and all(row["ok"] for row in documented),
        }
        publish(staged, output, results)
    report.end(results)
    if as_json:
        print(json.dumps(results, indent=2))
    return results


_LOAD = """
import sys
import keras
import keras_regx
from keras_regx.cli.demo import experiment

model = keras.models.load_model(sys.argv[1])
print(repr(experiment.accuracy(model, experiment.load_data(sys.argv[2]))))
"""


def accuracy_in_fresh_process(path: Path, dataset: str) -> float:
    """Return the test accuracy of a saved model, loaded by a new interpreter."""
    root = str(Path(__file__).parents[3])  # Where this package was imported from.
    search = [root, os.environ.get("PYTHONPATH")]
    env = os.environ | {
        "KERAS_BACKEND": keras.config.backend(),
        "PYTHONPATH": os.pathsep.join(filter(None, search)),
    }
    command = [sys.executable, "-c", _LOAD, str(path), dataset]
    done = subprocess.run(  # noqa: S603  (our own interpreter and script)
        command, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DemoError(f"the saved model does not load:\n{done.stderr}")
    return float(done.stdout.split()[-1])
