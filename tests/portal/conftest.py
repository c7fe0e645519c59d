"""A running portal, and a browser to open it with.

A server and the database serve all tests of a file, and a browser all files; each test has an account of its
own, so that none sees another's. What the tests of a file leave is cleared after the last of them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from pytest_django import DjangoDbBlocker
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from speechportal.accounts.models import User
from tests.clients import Client
from tests.portal.scene import World, make_world

# Playwright's loop runs in this thread, and Django would take it for an asynchronous view.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--autoplay-policy=no-user-gesture-required",
]

PATIENCE = 90_000  # ms: how long a page may take on a machine that has other things to do
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def database(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield
        call_command("flush", verbosity=0, interactive=False, inhibit_post_migrate=False)


@pytest.fixture
def _django_db_helper(database: None) -> None:
    """In place of pytest-django's, which would empty the database after each test: see above."""


@pytest.fixture(scope="module")
def server(database: None) -> Iterator[LiveServer]:
    running = LiveServer("127.0.0.1")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def world(server: LiveServer, settings: Settings) -> World:
    settings.PUBLIC_URL = server.url
    return make_world(server.url)


@pytest.fixture
def new_context(browser: Browser, world: World) -> Iterator[Callable[..., BrowserContext]]:
    """Open separate browser contexts; any error in their pages fails the test."""
    opened: list[BrowserContext] = []

    def open_context(user: User | None = None, **options: Any) -> BrowserContext:
        context = browser.new_context(
            **{"viewport": {"width": 1440, "height": 900}, "locale": "en", **options}
        )
        context.set_default_timeout(PATIENCE)
        context.on("weberror", lambda error: world.problems.append(f"JavaScript: {error.error}"))
        context.on("console", lambda line: _note_console(world, line.type, line.text))
        context.on("response", lambda answer: _note_status(world, answer.status, answer.url))
        if user is not None:
            sign_in(context, world, user)
        opened.append(context)
        return context

    yield open_context
    for context in opened:
        context.close()
    assert world.problems == []


# Noted by the status of their response; a request may also end because a test takes the connection away.
REQUEST_ERRORS = ("Failed to load resource", "htmx:sendError", "htmx:afterRequest", "htmx:responseError")


def _note_console(world: World, kind: str, text: str) -> None:
    if kind == "error" and not any(each in text for each in REQUEST_ERRORS):
        world.problems.append(f"console: {text}")


def _note_status(world: World, status: int, url: str) -> None:
    if status >= 500:
        world.problems.append(f"{status}: {url}")


def sign_in(context: BrowserContext, world: World, user: User) -> None:
    client = Client()
    client.force_login(user)
    cookie = client.cookies[django_settings.SESSION_COOKIE_NAME]
    context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": world.server}])


@pytest.fixture
def page(new_context: Callable[..., BrowserContext], world: World) -> Page:
    """Alice's browser."""
    return new_context(world.alice).new_page()
