"""Members' two-factor sign-in: turning it on and off, the prompt, and recovery codes."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.conf import settings as configured
from django.core.management import call_command
from django.utils import timezone
from pytest_django.fixtures import Settings

from speechportal.accounts.models import AuditEntry, AuthenticatorApp, Membership, RecoveryCode, User
from speechportal.accounts.sign_in import recovery_codes, second_factor
from tests import factories
from tests.clients import Client
from tests.safety.authenticators import code, wrong

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough password"
ON, OFF, CODES = (
    "/profile/security/two-factor/",
    "/profile/security/two-factor/off/",
    "/profile/security/recovery-codes/",
)


@pytest.fixture(autouse=True)
def quick_hashes(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def bob() -> User:
    user = factories.make_user("bob@example.com", PASSWORD)
    factories.add_member(factories.make_account(), user, Membership.Role.VIEWER)
    return user


def sign_in() -> Client:
    client = Client()
    response = client.post("/login/", {"username": "bob@example.com", "password": PASSWORD})
    assert response.status_code == 302
    return client


def codes_of(text: str) -> list[str]:
    return re.findall(r"<li>((?:[0-9a-z]{4}-){3}[0-9a-z]{4})</li>", text)


def turn_on(client: Client, user: User) -> list[str]:
    """Turn on two-factor sign-in; returns the recovery codes."""
    client.get(ON)
    app = AuthenticatorApp.objects.get(user=user)
    for _attempt in range(3):  # The code's minute may end before it is checked.
        page = client.post(ON, {"password": PASSWORD, "code": code(app, -1)})
        if second_factor.is_set_up(user.pk):
            break
    assert second_factor.is_set_up(user.pk)
    assert page.status_code == 200
    return codes_of(page.content.decode())


def test_from_then_on_the_code_is_asked_for(bob: User) -> None:
    client = sign_in()
    shown = client.get(ON).content.decode()
    app = AuthenticatorApp.objects.get(user=bob)
    assert app.typed_secret() in shown
    assert "<svg" in shown
    assert len(turn_on(client, bob)) == recovery_codes.COUNT
    assert client.get("/batches/").status_code == 200  # This browser has just shown it.
    other = sign_in()
    for page in ("/", "/batches/", "/profile/", "/profile/security/", OFF, CODES):
        assert other.get(page)["Location"].startswith("/two-factor/"), page
    assert other.post("/profile/security/sessions/end/")["Location"] == "/two-factor/"
    assert other.post("/two-factor/", {"code": code(app), "next": "/usage/"})["Location"] == "/usage/"
    assert other.get("/usage/").status_code == 200


def test_browsers_that_gave_only_the_password_are_asked_too(bob: User) -> None:
    earlier = sign_in()
    assert earlier.get("/batches/").status_code == 200
    turn_on(sign_in(), bob)
    assert earlier.get("/batches/")["Location"].startswith("/two-factor/")


def test_it_is_not_on_before_the_first_code(bob: User) -> None:
    client = sign_in()
    client.get(ON)
    app = AuthenticatorApp.objects.get(user=bob)
    for given in (
        {"password": PASSWORD, "code": wrong(app)},
        {"password": "wrong", "code": code(app)},
        {"code": code(app)},
    ):
        assert client.post(ON, given).status_code == 200
    assert second_factor.app_of(bob.pk) is None
    assert sign_in().get("/batches/").status_code == 200
    # The code that came with a wrong password is not used up.
    assert codes_of(client.post(ON, {"password": PASSWORD, "code": code(app)}).content.decode())


def test_a_recovery_code_lets_in_once(bob: User) -> None:
    first, second, *_ = turn_on(sign_in(), bob)
    client = sign_in()
    assert "Recovery code" in client.get("/two-factor/?recovery=1").content.decode()
    client.post("/two-factor/?recovery=1", {"code": first.upper()})
    assert client.get("/batches/").status_code == 200
    again = sign_in()
    assert again.post("/two-factor/?recovery=1", {"code": first}).status_code == 200
    assert again.get("/batches/").status_code == 302
    assert again.post("/two-factor/?recovery=1", {"code": second.replace("-", " ")}).status_code == 302
    used = AuditEntry.unscoped.filter(action="user.recovery_code_used", target_id=str(bob.pk))
    assert [entry.actor_id for entry in used] == [bob.pk, bob.pk]


def test_recovery_codes_are_kept_as_digests_and_belong_to_one_app(bob: User) -> None:
    shown = turn_on(sign_in(), bob)
    kept = " ".join(RecoveryCode.objects.values_list("digest", flat=True))
    assert not any(part in kept for each in shown for part in (each, each.replace("-", "")))
    charlie = factories.make_user("charlie@example.com")
    theirs = second_factor.begin(charlie.pk)
    assert not second_factor.verify(theirs, shown[0])
    assert recovery_codes.left(bob.pk) == recovery_codes.COUNT


def test_new_recovery_codes_end_the_old_ones(bob: User) -> None:
    client = sign_in()
    old = turn_on(client, bob)
    app = AuthenticatorApp.objects.get(user=bob)
    page = client.post(CODES, {"password": PASSWORD, "code": code(app)})
    new = codes_of(page.content.decode())
    assert len(set(new) - set(old)) == recovery_codes.COUNT
    assert "no-store" in page["Cache-Control"]
    assert not second_factor.verify(app, old[0])
    assert second_factor.verify(app, new[0])


def test_turning_it_off_takes_password_and_code(bob: User) -> None:
    client = sign_in()
    shown = turn_on(client, bob)
    app = AuthenticatorApp.objects.get(user=bob)
    assert client.post(OFF, {"password": "wrong", "code": code(app)}).status_code == 200
    assert client.post(OFF, {"password": PASSWORD, "code": wrong(app)}).status_code == 200
    assert client.post(OFF, {"password": PASSWORD}).status_code == 200
    assert second_factor.app_of(bob.pk) == app
    assert client.post(OFF, {"password": PASSWORD, "code": shown[3]})["Location"] == "/profile/security/"
    assert second_factor.app_of(bob.pk) is None
    assert not RecoveryCode.objects.exists()
    assert sign_in().get("/batches/").status_code == 200


def test_every_step_is_in_the_audit_trail_without_a_secret(bob: User) -> None:
    client = sign_in()
    shown = turn_on(client, bob)
    secret = AuthenticatorApp.objects.get(user=bob).typed_secret().replace(" ", "")
    client.post(OFF, {"password": PASSWORD, "code": shown[0]})
    entries = AuditEntry.unscoped.filter(actor=bob).order_by("pk")
    assert [entry.action for entry in entries] == [
        "authenticatorapp.created",
        "authenticatorapp.changed",
        "user.recovery_codes_made",
        "user.recovery_code_used",
        "authenticatorapp.deleted",
    ]
    assert not any(text in str(entry.changes) for entry in entries for text in (secret, *shown))


def test_wrong_codes_count_toward_the_refusal_of_wrong_passwords(bob: User) -> None:
    turn_on(sign_in(), bob)
    app, client = AuthenticatorApp.objects.get(user=bob), sign_in()
    for _ in range(configured.SIGN_IN_TRIES):
        AuthenticatorApp.objects.update(wait_until=timezone.now() - timedelta(seconds=1))
        response = client.post("/two-factor/", {"code": wrong(app)})
    assert response.status_code == 429
    AuthenticatorApp.objects.update(wait_until=None)
    assert client.post("/two-factor/", {"code": code(app)}).status_code == 429
    response = Client().post("/login/", {"username": bob.email, "password": PASSWORD})
    assert response.status_code == 429


def test_wrong_recovery_codes_make_it_wait_as_wrong_codes_do(bob: User) -> None:
    shown = turn_on(sign_in(), bob)
    app = AuthenticatorApp.objects.get(user=bob)
    for _ in range(second_factor.FREE_FAILURES):
        assert not second_factor.verify(app, "0000-0000-0000-0000")
    assert not second_factor.verify(app, shown[0])
    assert recovery_codes.left(app.user_id) == recovery_codes.COUNT


def test_an_owner_cannot_get_round_it(bob: User) -> None:
    alice = factories.make_user("alice@example.com", PASSWORD)
    factories.add_member(bob.memberships.get().account, alice, Membership.Role.OWNER)
    turn_on(sign_in(), bob)
    owner = Client()
    owner.force_login(alice)
    for path in (OFF, CODES):
        owner.post(path, {"password": PASSWORD, "code": "000000", "user": bob.pk})
    assert second_factor.app_of(bob.pk) is not None
    assert second_factor.app_of(alice.pk) is None


def test_a_lost_phone_is_reset_on_the_machine(bob: User) -> None:
    client = sign_in()
    turn_on(client, bob)
    half_in = sign_in()  # Somebody who knows the password, and waits.
    call_command("reset_two_factor", bob.email, "--reason", "Lost phone.")
    for each in (client, half_in):
        assert each.get("/batches/")["Location"].startswith("/login/")
    assert sign_in().get("/batches/").status_code == 200


def test_two_browsers_cannot_use_one_recovery_code(bob: User) -> None:
    shown = turn_on(sign_in(), bob)
    app = AuthenticatorApp.objects.get(user=bob)
    assert [recovery_codes.use(app.user, shown[0]) for _ in range(2)] == [True, False]
