"""Shared fixtures of the recognition tests: loading the models takes seconds."""

import pytest

from batches.recognition.runtime.engine import Engine


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The real engine with the real models. It keeps nothing of a file."""
    return Engine()
