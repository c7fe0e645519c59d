"""Throttling of passwords: guessing is slow, and does not lock the owner out elsewhere."""

from __future__ import annotations

import pytest
from django.conf import settings as configured
from pytest_django.fixtures import Settings

from tests import factories
from tests.clients import Client

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough password"
HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture(autouse=True)
def quick_hashes(settings: Settings) -> None:
    """Use a fast password hasher: these tests try dozens of passwords."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def sign_in(password: str, address: str, email: str = "alice@example.com") -> int:
    client = Client(REMOTE_ADDR=address)
    return int(client.post("/login/", {"username": email, "password": password}).status_code)


def test_after_too_many_wrong_passwords_the_right_one_waits_too() -> None:
    factories.make_user("alice@example.com", PASSWORD)
    for _ in range(configured.SIGN_IN_TRIES - 1):
        assert sign_in("wrong", HERE) == 200
    assert sign_in("wrong", HERE) == 429
    assert sign_in(PASSWORD, HERE) == 429
    assert sign_in(PASSWORD.upper(), HERE, "Alice@Example.com") == 429
    # Its owner, at another place, gets in.
    assert sign_in(PASSWORD, ELSEWHERE) == 302


def test_the_refusal_says_what_to_do() -> None:
    factories.make_user("alice@example.com", PASSWORD)
    client = Client(REMOTE_ADDR=HERE)
    for _ in range(configured.SIGN_IN_TRIES):
        response = client.post("/login/", {"username": "alice@example.com", "password": "wrong"})
    assert "Try again in 15 minutes" in response.content.decode()
    assert response["Retry-After"] == "900"


def test_a_right_password_forgets_the_wrong_ones() -> None:
    factories.make_user("alice@example.com", PASSWORD)
    for _ in range(3):
        for _ in range(configured.SIGN_IN_TRIES - 1):
            assert sign_in("wrong", HERE) == 200
        assert sign_in(PASSWORD, HERE) == 302
