"""Numbers automatic layer names from one in every test."""

import keras
import pytest


@pytest.fixture(autouse=True)
def _fresh_names() -> None:
    """Forget the layer names of earlier tests, so that paths are predictable."""
    keras.utils.clear_session(free_memory=False)
