"""What the tests of recognition share: models take seconds to load."""

import pytest

from batches.recognition.runtime.engine import Engine


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The real engine with the real models. It keeps nothing of a file."""
    return Engine()
