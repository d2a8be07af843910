"""Every penalty as an object: configuration, names, equality, wrong arguments."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import keras
import pytest

from keras_regx import regularizers
from tests.cases import PENALTIES, PenaltyCase

CASES = [pytest.param(case, id=case.id) for case in PENALTIES]
WRONG = [
    pytest.param(case, arguments, named, id=f"{case.id}-{named}-{i}")
    for case in PENALTIES
    for i, (arguments, named) in enumerate(case.wrong)
]


@pytest.mark.parametrize("case", CASES)
def test_config_round_trip(case: PenaltyCase) -> None:
    """The config is JSON and rebuilds an equal object."""
    config = json.loads(json.dumps(case.penalty.get_config()))
    again = type(case.penalty).from_config(config)
    assert again == case.penalty
    assert hash(again) == hash(case.penalty)
    assert repr(again) == repr(case.penalty)
    assert type(case.penalty).__name__ in repr(case.penalty)


@pytest.mark.parametrize("case", CASES)
def test_serialized_by_keras_and_by_us(case: PenaltyCase) -> None:
    """Keras' serialization, ours, copies and pickles give equal objects."""
    config = json.loads(json.dumps(regularizers.serialize(case.penalty)))
    assert regularizers.deserialize(config) == case.penalty
    assert keras.saving.deserialize_keras_object(config) == case.penalty
    assert regularizers.get(config) == case.penalty
    assert copy.deepcopy(case.penalty) == case.penalty
    assert pickle.loads(pickle.dumps(case.penalty)) == case.penalty


@pytest.mark.parametrize("case", CASES)
def test_different_arguments_are_different(case: PenaltyCase) -> None:
    """A multiple is not equal to the penalty, and neither is anything else."""
    assert case.penalty != 2.0 * case.penalty
    assert case.penalty != repr(case.penalty)


@pytest.mark.parametrize(("case", "arguments", "named"), WRONG)
def test_wrong_argument_is_named(
    case: PenaltyCase, arguments: dict[str, Any], named: str
) -> None:
    """A wrong value is refused at construction, naming argument and value."""
    with pytest.raises(ValueError, match=f"`{named}`") as error:
        type(case.penalty)(**arguments)
    assert type(case.penalty).__name__ in str(error.value)


MATRIX_PENALTIES = {
    regularizers.DoubleSoftOrthogonality,
    regularizers.HypersphericalEnergy,
    regularizers.MutualCoherence,
    regularizers.NuclearNorm,
    regularizers.OrthogonalRegularizer,
    regularizers.SRIP,
    regularizers.SchattenNorm,
    regularizers.SoftOrthogonality,
    regularizers.SpectralNorm,
}


@pytest.mark.parametrize("case", CASES)
def test_matrix_penalties_see_a_matrix(case: PenaltyCase) -> None:
    """Penalties of the (fan_in, units) matrix say so; no others do."""
    cls = type(case.penalty)
    assert cls.sees_matrix == (cls in MATRIX_PENALTIES)


def test_every_penalty_has_a_row() -> None:
    """Each registered class has at least one row in the catalogue."""
    rows = {type(case.penalty) for case in PENALTIES}
    ours = {
        cls
        for cls in regularizers.registry.classes.values()
        if cls.__module__.startswith(
            ("keras_regx.regularizers", "keras_regx.schedules")
        )
    }
    assert {cls.__name__ for cls in ours - rows} == set()


@pytest.mark.parametrize("name", sorted({type(c.penalty).__name__ for c in PENALTIES}))
def test_every_argument_has_a_wrong_value(name: str) -> None:
    """No argument of a penalty is without a value that it must refuse."""
    rows = [case for case in PENALTIES if type(case.penalty).__name__ == name]
    named = {named for case in rows for _, named in case.wrong}
    assert set(type(rows[0].penalty).argument_names()) <= named


def test_ids_are_unique() -> None:
    """No two rows of the catalogue have the same name."""
    ids = [case.id for case in PENALTIES]
    assert len(set(ids)) == len(ids)
