"""Fixtures and order of all tests."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest
from django.core.servers.basehttp import WSGIRequestHandler
from django.db import connections
from django.utils import timezone, translation
from pytest_django.fixtures import Settings

from speechportal.accounts import addresses
from tests.clients import Client

pytest_plugins = ["tests.fixtures_storage", "tests.fixtures_remote", "tests.fixtures_workbench"]
TESTS = Path(__file__).parent
BROWSER_TESTS = TESTS / "portal"
# Several processes take the tests file by file. A long one that is taken last keeps the others waiting.
LONGEST_FIRST = [
    TESTS / path
    for path in ("api/test_schemathesis.py", "chaos", "hosts", "system", "queue", "recognition", "portal")
]

# The same examples at every run, so that what passed here passes there; HYPOTHESIS_PROFILE=explore looks for
# new ones, and `quick`, of `make check`, takes a fifth of them.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.register_profile("quick", derandomize=True, deadline=None, max_examples=20)
hypothesis.settings.register_profile("explore", deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

# The live server writes head and body apart: without this, each answer waits 40 ms for an acknowledgement.
WSGIRequestHandler.disable_nagle_algorithm = True


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None]:
    """Mark browser tests before ``-m`` selects; put long files first after pytest-randomly's shuffle."""
    for item in items:
        if item.path.is_relative_to(BROWSER_TESTS):
            item.add_marker(pytest.mark.browser)
    yield
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    turns = (turn for turn, path in enumerate(LONGEST_FIRST) if item.path.is_relative_to(path))
    return next(turns, len(LONGEST_FIRST))


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Give each run its own SQLite file, so that two runs can go on at once."""
    database = connections["default"].settings_dict
    if connections["default"].vendor == "sqlite":
        database["TEST"]["NAME"] = str(tmp_path_factory.mktemp("database") / "test.sqlite3")


@pytest.fixture(autouse=True)
def account_of_addresses() -> Iterator[None]:
    """A sign-in decides the account of ``reverse`` for the rest of its test, and no longer."""
    end = addresses.bind(lambda: None)
    yield
    end()


@pytest.fixture(autouse=True)
def default_language() -> None:
    """Start each test in the installation's language and time zone: a request leaves its own activated."""
    translation.deactivate()
    timezone.deactivate()


@pytest.fixture
def client() -> Client:
    """Client that adds the user's account to URLs, in place of Django's."""
    return Client()


@pytest.fixture(autouse=True)
def own_folders(settings: Settings, tmp_path: Path) -> None:
    """Keep tests from writing into the installation's folders; models are read from there."""
    settings.WORK_DIR = tmp_path / "work"
    settings.STORAGE_LOCAL_ROOTS = [tmp_path / "storage"]
    (tmp_path / "storage").mkdir()
