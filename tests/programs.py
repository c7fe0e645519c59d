"""Programs that tests marked ``programs`` need; ``.ci/run`` installs them."""

from __future__ import annotations

import shutil

import pytest


def required(name: str) -> str:
    """Path of a program. Fails the test where it is not installed, instead of skipping it in silence."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is not installed; pass these tests by with: -m 'not programs'", pytrace=False)
    return path
