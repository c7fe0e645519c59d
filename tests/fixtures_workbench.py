"""Fixtures for tests that process tasks with a stand-in for the recognition engine."""

from __future__ import annotations

import pytest

from tests.workbench import Engine


@pytest.fixture
def engine() -> Engine:
    """A recognition engine that notes its calls."""
    return Engine()
