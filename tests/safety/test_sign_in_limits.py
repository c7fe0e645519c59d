"""Rate limits of the sign-in: normalised addresses, three subjects, increasing waits."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django.fixtures import Settings

from speechportal.accounts.email_addresses import normalised
from speechportal.accounts.models import AuthenticatorApp, MemberSession, SignInFailures, User
from speechportal.accounts.sign_in import fresh_password, second_factor, throttling
from tests.clients import Client
from tests.factories import make_account, make_user

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough password"


@pytest.fixture(autouse=True)
def quick(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.SIGN_IN_TRIES = 2


@pytest.fixture
def alice() -> User:
    return make_user("alice@example.com", PASSWORD)


def sign_in(email: str, password: str = "wrong", address: str = "192.0.2.1") -> int:  # noqa: S107
    client = Client(REMOTE_ADDR=address)
    return int(client.post("/login/", {"username": email, "password": password}).status_code)


SPELLINGS = ["ALICE@EXAMPLE.COM", "ａlice@example.com", " alice@example.com ", "𝐚lice@example.com"]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_that_finds_the_user_is_counted_as_theirs(spelling: str, alice: User) -> None:
    assert normalised(spelling) == alice.email
    assert sign_in(spelling) == 200
    assert sign_in("alice@example.com") == 429
    assert sign_in(spelling, PASSWORD) == 429


@pytest.mark.parametrize("other", ["alıce@example.com", "alïce@example.com", "аlice@example.com"])
def test_other_letters_are_another_address(other: str, alice: User) -> None:
    assert sign_in(other, PASSWORD) == 200
    assert not MemberSession.objects.filter(user=alice).exists()


def test_each_wait_is_twice_as_long(alice: User) -> None:
    waits = []
    for _number in range(4):
        while sign_in(alice.email) != 429:
            pass
        row = SignInFailures.objects.get(subject="pair")
        assert row.wait_until is not None
        waits.append(round((row.wait_until - row.last_at) / timedelta(minutes=1)))
        SignInFailures.objects.update(wait_until=timezone.now())
    assert waits == [15, 30, 60, 120]


def test_an_ipv6_network_is_one_place(alice: User) -> None:
    assert sign_in(alice.email, address="2001:db8::1") == 200
    assert sign_in(alice.email, address="2001:db8::ffff:2") == 429
    assert sign_in(alice.email, PASSWORD, address="2001:db8:0:0:3::3") == 429
    assert sign_in(alice.email, PASSWORD, address="2001:db8:0:1::1") == 302


def test_a_network_is_limited_over_all_addresses() -> None:
    codes = [sign_in(f"user{number}@example.com") for number in range(16)]
    assert codes[:15] == [200] * 15
    assert codes[15] == 429
    assert sign_in("another@example.com") == 429
    assert sign_in("another@example.com", address="192.0.2.2") == 200


def test_an_address_is_limited_over_all_networks_but_the_owner_s(alice: User) -> None:
    assert sign_in(alice.email, PASSWORD, "198.51.100.7") == 302
    home = Client(REMOTE_ADDR="198.51.100.7")
    home.post("/login/", {"username": alice.email, "password": PASSWORD})
    home.get("/profile/")
    for number in range(8):
        sign_in(alice.email, address=f"192.0.2.{number + 10}")
    assert sign_in(alice.email, PASSWORD, "203.0.113.5") == 429
    assert sign_in(alice.email, PASSWORD, "198.51.100.7") == 302


def test_the_owner_is_told_once(alice: User, settings: Settings) -> None:
    settings.EMAIL_HOST = "mail.example.com"
    for _number in range(4):
        sign_in(alice.email)
    told = [message for message in OrmQ.objects.all() if "sign_in_refused" in str(message.task)]
    assert len(told) == 1
    for _number in range(4):
        sign_in("nobody@example.com", address="192.0.2.77")
    assert OrmQ.objects.count() == 1


def test_asking_for_a_password_is_the_same_work_for_every_address(
    alice: User, settings: Settings, django_assert_num_queries: object
) -> None:
    """No look-up in the request: the queue finds out whether the address is known."""
    settings.EMAIL_HOST = "mail.example.com"
    answers = {}
    for email in (alice.email, "nobody@example.com"):
        OrmQ.objects.all().delete()
        answer = Client(REMOTE_ADDR="198.51.100.9").post("/password-reset/", {"email": email})
        answers[email] = (answer.status_code, OrmQ.objects.count(), OrmQ.objects.get().task["func"])
    assert answers[alice.email] == answers["nobody@example.com"]
    assert answers[alice.email][1] == 1


def test_a_secret_that_no_code_confirmed_is_discarded(alice: User) -> None:
    first = second_factor.begin(alice.pk)
    assert second_factor.begin(alice.pk).pk == first.pk
    AuthenticatorApp.objects.update(created_at=timezone.now() - timedelta(minutes=11))
    assert second_factor.begin(alice.pk).typed_secret() != first.typed_secret()
    alice.set_password("another long password")
    alice.save()
    assert not AuthenticatorApp.objects.exists()


def test_a_confirmed_app_outlives_a_password_change(alice: User) -> None:
    app = second_factor.begin(alice.pk)
    AuthenticatorApp.objects.filter(pk=app.pk).update(confirmed_at=timezone.now())
    alice.set_password("another long password")
    alice.save()
    assert second_factor.app_of(alice.pk) is not None


def test_the_secret_is_shown_after_the_password(alice: User) -> None:
    make_account(owner=alice)
    client = Client()
    client.post("/login/", {"username": alice.email, "password": PASSWORD})
    session = client.session
    session[fresh_password.SESSION_KEY] = 0  # an hour later, at an unlocked browser
    session.save()
    page = client.get("/profile/security/two-factor/").content.decode()
    assert "<svg class" not in page
    assert not AuthenticatorApp.objects.exists()
    assert client.post("/profile/security/two-factor/", {"password": "wrong"}).status_code == 200
    assert not AuthenticatorApp.objects.exists()
    answer = client.post("/profile/security/two-factor/", {"password": PASSWORD}, follow=True)
    assert AuthenticatorApp.objects.get().typed_secret() in answer.content.decode()


def test_failures_of_a_day_ago_are_forgotten(alice: User) -> None:
    sign_in(alice.email)
    SignInFailures.objects.update(last_at=timezone.now() - timedelta(days=2))
    assert sign_in(alice.email) == 200
    assert SignInFailures.objects.get(subject="pair").failures == 1


def test_the_network_of_an_address() -> None:
    assert throttling.network_named("2001:db8::1") == "2001:db8::/64"
    assert throttling.network_named("::ffff:192.0.2.1") == "192.0.2.1"
    assert throttling.network_named("") == ""
