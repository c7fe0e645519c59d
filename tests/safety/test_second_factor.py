"""Staff's second factor: no page opens before it, and each code works once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django.fixtures import Settings

from speechportal.accounts.models import AuditEntry, AuthenticatorApp, User
from speechportal.accounts.sign_in import second_factor
from tests import factories
from tests.clients import Client
from tests.safety.authenticators import authenticator, code, wrong

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough password"


@pytest.fixture(autouse=True)
def enforced(settings: Settings) -> None:
    settings.STAFF_TWO_FACTOR = True


@pytest.fixture
def staff() -> User:
    return User.objects.create_superuser("root@example.com", PASSWORD)


def test_the_arithmetic_is_rfc_6238_s() -> None:
    totp = authenticator(b"12345678901234567890", 8)
    vectors = {59: "94287082", 1111111109: "07081804", 1234567890: "89005924", 20000000000: "65353130"}
    assert {moment: totp.generate(moment).decode() for moment in vectors} == vectors


def test_the_password_alone_opens_nothing(client: Client, staff: User) -> None:
    factories.make_account(owner=staff)
    response = client.post("/login/", {"username": staff.email, "password": PASSWORD})
    assert response.status_code == 302
    for page in ("/admin/", "/admin/accounts/account/", "/batches/", "/profile/", "/account/activity/"):
        response = client.get(page)
        assert response.status_code == 302, page
        assert response["Location"].startswith(("/two-factor/", "/admin/login/")), page
    assert client.post("/account/switch/", {"account": "x"})["Location"] == "/two-factor/"


def test_an_app_is_set_up_and_then_asked_for(client: Client, staff: User) -> None:
    client.force_login(staff)
    page = client.get("/two-factor/?next=/admin/")
    app = AuthenticatorApp.objects.get(user=staff)
    assert app.typed_secret() in page.content.decode()
    assert "<svg" in page.content.decode()
    assert client.get("/two-factor/").context["typed_secret"] == app.typed_secret()
    response = client.post("/two-factor/", {"code": code(app), "next": "/admin/"})
    assert response["Location"] == "/admin/"
    assert client.get("/admin/").status_code == 200
    again = Client()
    again.force_login(staff)
    page = again.get("/two-factor/")
    assert app.typed_secret() not in page.content.decode()
    assert again.get("/admin/").status_code == 302
    again.post("/two-factor/", {"code": code(app, 1)})
    assert again.get("/admin/").status_code == 200


def test_a_code_counts_once(staff: User) -> None:
    app = second_factor.begin(staff.pk)
    shown = code(app)
    assert second_factor.verify(app, f"{shown[:3]} {shown[3:]}")
    assert not second_factor.verify(app, shown)


def test_codes_of_other_times_and_other_shapes_are_wrong(staff: User) -> None:
    app = second_factor.begin(staff.pk)
    for each in (code(app, 5), code(app, -5), "", "12345", "abcdef", "１２３４５６", "0" * 12):
        AuthenticatorApp.objects.filter(pk=app.pk).update(wait_until=None, failures=0)
        assert not second_factor.verify(app, each), each
    assert second_factor.app_of(staff.pk) is None


def test_guessing_has_to_wait_longer_each_time(staff: User) -> None:
    app = second_factor.begin(staff.pk)
    for _ in range(second_factor.FREE_FAILURES):
        assert not second_factor.verify(app, wrong(app))
    app.refresh_from_db()
    assert second_factor.seconds_to_wait(app) >= 1
    assert not second_factor.verify(app, code(app))  # The right one too.
    AuthenticatorApp.objects.filter(pk=app.pk).update(wait_until=timezone.now() - timedelta(seconds=1))
    second_factor.verify(app, wrong(app))
    app.refresh_from_db()
    assert second_factor.seconds_to_wait(app) >= 2


def test_a_session_ends_with_the_app_it_was_shown_with(client: Client, staff: User) -> None:
    client.force_login(staff)
    app = second_factor.begin(staff.pk)
    client.post("/two-factor/", {"code": code(app)})
    assert client.get("/admin/").status_code == 200
    second_factor.remove_all(staff.pk)
    assert client.get("/admin/").status_code == 302


def test_the_secret_is_encrypted_and_bound_to_its_user(staff: User) -> None:
    app = second_factor.begin(staff.pk)
    other = second_factor.begin(factories.make_user(is_staff=True).pk)
    assert app.typed_secret().replace(" ", "") not in app.encrypted_secret
    other.encrypted_secret = app.encrypted_secret
    with pytest.raises(Exception, match="belongs to another row"):
        _ = other.secret


def test_members_are_not_asked(client: Client) -> None:
    alice = factories.make_user("alice@example.com")
    factories.make_account(owner=alice)
    client.force_login(alice)
    assert client.get("/account/activity/").status_code == 200


def test_the_way_on_leads_nowhere_else(client: Client, staff: User) -> None:
    client.force_login(staff)
    app = second_factor.begin(staff.pk)
    response = client.post("/two-factor/", {"code": code(app), "next": "https://elsewhere.example/"})
    assert response["Location"] == "/"


def test_a_lost_app_is_taken_away_on_the_machine(staff: User) -> None:
    with pytest.raises(CommandError, match="no second factor"):
        call_command("reset_two_factor", staff.email, "--reason", "Lost phone.")
    second_factor.verify(app := second_factor.begin(staff.pk), code(app))
    call_command("reset_two_factor", staff.email.upper(), "--reason", "Lost phone.")
    assert second_factor.app_of(staff.pk) is None
    entry = AuditEntry.unscoped.get(action="authenticatorapp.deleted")
    assert (entry.reason, entry.actor_kind) == ("Lost phone.", "system")
