"""Passkeys: as a second factor, and for sign-in without a password."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.core import mail
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings

from speechportal.accounts.models import AuditEntry, Passkey, RecoveryCode, SignInFailures, User
from speechportal.accounts.sign_in import fresh_password, passkeys, second_factor
from tests import factories
from tests.accounts.queued import work_off
from tests.clients import Client
from tests.safety.authenticators import code
from tests.safety.passkey_device import Device
from tests.safety.test_members_two_factor import codes_of

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough password"
ADD, OPTIONS = "/profile/security/passkeys/add/", "/profile/security/passkeys/add/options/"
SIGN_IN, CHALLENGE = "/login/passkey/", "/login/passkey/options/"


@pytest.fixture(autouse=True)
def here(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.EMAIL_HOST = "mail.example.com"


@pytest.fixture
def bob() -> User:
    user = factories.make_user("bob@example.com", PASSWORD)
    factories.make_account("Bob’s", user)
    return user


def browser() -> Client:
    return Client(SERVER_NAME="localhost")


def with_password(email: str = "bob@example.com") -> Client:
    client = browser()
    assert client.post("/login/", {"username": email, "password": PASSWORD}).status_code == 302
    return client


def registered(client: Client, device: Device, name: str = "Phone") -> Any:
    asked = client.post(OPTIONS)
    assert asked.status_code == 200, asked.content
    return client.post(ADD, {"name": name, "credential": device.create(asked.json())})


def shown(client: Client, device: Device, **fields: str) -> Any:
    """Answer the challenge with the device's signature."""
    options = client.post(CHALLENGE).json()
    return client.post(SIGN_IN, {"credential": device.get(options), **fields})


def is_in(client: Client) -> bool:
    page = client.get("/batches/", follow=True)
    return page.status_code == 200 and page.request["PATH_INFO"].startswith("/a/")


def test_a_passkey_signs_in_without_a_password(bob: User) -> None:
    device = Device()
    page = registered(with_password(), device)
    assert len(codes_of(page.content.decode())) == 10
    assert RecoveryCode.objects.filter(user=bob).count() == 10
    stranger = browser()
    answer = shown(stranger, device, next="/usage/")
    assert (answer.status_code, answer["Location"]) == (302, "/usage/")
    assert stranger.get("/usage/", follow=True).status_code == 200
    assert stranger.session["_auth_user_id"] == str(bob.pk)
    assert AuditEntry.unscoped.filter(action="user.passkey_sign_in", actor=bob).exists()
    assert AuditEntry.unscoped.filter(action="passkey.created", actor=bob).exists()
    row = Passkey.objects.get()
    assert row.sign_count == device.counter
    assert row.last_used_at is not None
    work_off()
    assert any("passkey was added" in each.subject for each in mail.outbox)


def test_from_then_on_a_password_alone_opens_nothing(bob: User) -> None:
    device = Device()
    registered(with_password(), device)
    client = with_password()
    assert client.get("/batches/")["Location"].startswith("/two-factor/")
    page = client.get("/two-factor/").content.decode()
    assert 'data-passkey="get"' in page
    assert client.post(OPTIONS)["Location"].startswith("/two-factor/")
    assert client.get(ADD)["Location"].startswith("/two-factor/")
    assert shown(client, device, next="/usage/")["Location"] == "/usage/"
    assert is_in(client)


def test_a_key_without_a_pin_is_a_second_factor_but_no_sign_in(bob: User) -> None:
    device = Device(verifies=False)
    registered(with_password(), device)
    assert shown(browser(), device)["Location"] == "/login/"
    client = with_password()
    shown(client, device)
    assert is_in(client)


@pytest.mark.parametrize(
    "changes",
    [
        {"origin": "https://elsewhere.example"},
        {"origin": "http://localhost:8000"},
        {"rp_id": "elsewhere.example"},
        {"credential_id": b"another"},
        {"handle": "dXNlci05OTk"},
        {"handle": ""},
    ],
)
def test_what_is_signed_for_another_place_or_person_is_refused(bob: User, changes: dict[str, Any]) -> None:
    device = Device()
    registered(with_password(), device)
    for name, value in changes.items():
        setattr(device, name, value)
    client = browser()
    assert shown(client, device)["Location"] == "/login/"
    assert "_auth_user_id" not in client.session


def test_another_key_under_a_known_name_is_refused(bob: User) -> None:
    registered(with_password(), Device())
    other = Device(handle=Device().handle, counter=50)
    client = browser()
    assert shown(client, other)["Location"] == "/login/"
    assert SignInFailures.objects.filter(email=bob.email).exists()


def test_a_challenge_counts_once_and_not_for_long(bob: User, monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device()
    registered(with_password(), device)
    client = browser()
    options = client.post(CHALLENGE).json()
    signed = device.get(options)
    assert client.post(SIGN_IN, {"credential": signed})["Location"].startswith("/a/")
    client.post("/logout/")
    assert client.post(SIGN_IN, {"credential": signed})["Location"] == "/login/"
    # Another browser's challenge, and one that is old.
    assert browser().post(SIGN_IN, {"credential": device.get(options)})["Location"] == "/login/"
    options, now = client.post(CHALLENGE).json(), time.time()
    monkeypatch.setattr(time, "time", lambda: now + passkeys.CHALLENGE_SECONDS + 1)
    assert client.post(SIGN_IN, {"credential": device.get(options)})["Location"] == "/login/"


def test_a_copied_key_is_refused_and_its_owner_told(bob: User) -> None:
    device = Device()
    registered(with_password(), device)
    shown(browser(), device)
    device.counter -= 1
    client = browser()
    assert shown(client, device)["Location"] == "/login/"
    work_off()
    assert any("copied" in each.subject for each in mail.outbox)


def test_a_key_that_does_not_count_goes_on_to_work(bob: User) -> None:
    device = Device(counter=0)
    registered(with_password(), device)
    for _ in range(2):
        client = browser()
        shown(client, device)
        assert is_in(client)


def test_of_another_member_it_is_no_second_factor(bob: User) -> None:
    eve_device, device = Device(credential_id=b"of eve"), Device()
    factories.make_account("Eve’s", factories.make_user("eve@example.com", PASSWORD))
    registered(with_password("eve@example.com"), eve_device)
    registered(with_password(), device)
    client = with_password()
    options = client.post(CHALLENGE).json()
    assert client.post(SIGN_IN, {"credential": eve_device.get(options)})["Location"] == "/two-factor/"
    assert not is_in(client)


def test_guessing_has_to_wait(bob: User, settings: Settings) -> None:
    registered(with_password(), device := Device())
    bad = Device(handle=device.handle)
    for _ in range(settings.SIGN_IN_TRIES):
        shown(browser(), bad)
    assert (
        browser().post(SIGN_IN, {"credential": device.get(browser().post(CHALLENGE).json())}).status_code
        == 429
    )


@pytest.mark.parametrize(
    "response",
    [
        "",
        "x",
        "[]",
        "{}",
        '{"id": 1}',
        '{"rawId": "eHg", "response": {}}',
        "{" * 5000,
        "1" * 30_000,
        '{"rawId": []}',
    ],
)
def test_nonsense_is_refused(bob: User, response: str) -> None:
    client = browser()
    client.post(CHALLENGE)
    assert client.post(SIGN_IN, {"credential": response}).status_code == 302
    member = with_password()
    member.post(OPTIONS)
    assert member.post(ADD, {"name": "x", "credential": response}).status_code == 200
    assert not Passkey.objects.exists()


def test_a_passkey_is_added_after_the_password_alone(bob: User) -> None:
    client = with_password()
    session = client.session
    session[fresh_password.SESSION_KEY] -= fresh_password.SECONDS
    session.save()
    assert client.post(OPTIONS).status_code == 403
    assert "password" in client.get(ADD).content.decode()
    client.post(ADD, {"password": PASSWORD})
    assert registered(client, Device()).status_code == 200
    assert Passkey.objects.filter(user=bob).exists()
    assert registered(client, Device()).content.decode().count("registered already") == 1


def test_renaming_and_removing(bob: User) -> None:
    client = with_password()
    registered(client, device := Device())
    passkey, other = Passkey.objects.get(), browser()
    shown(other, device)
    client.post(f"/profile/security/passkeys/{passkey.pk}/rename/", {"name": "Blue key"})
    assert "Blue key" in client.get("/profile/security/").content.decode()
    client.post(f"/profile/security/passkeys/{passkey.pk}/remove/", {"sure": "yes"})
    assert not Passkey.objects.exists()
    assert not RecoveryCode.objects.exists()
    assert is_in(client)
    assert not is_in(other)
    assert shown(browser(), device)["Location"] == "/login/"
    work_off()
    assert any("passkey was removed" in each.subject for each in mail.outbox)


def test_of_others_nothing_is_renamed_or_removed(bob: User) -> None:
    registered(with_password(), Device())
    passkey = Passkey.objects.get()
    factories.make_account("Eve’s", factories.make_user("eve@example.com", PASSWORD))
    eve = with_password("eve@example.com")
    for action in ("rename", "remove"):
        path = f"/profile/security/passkeys/{passkey.pk}/{action}/"
        assert eve.post(path, {"name": "mine", "sure": "yes"}).status_code == 404
    assert Passkey.objects.get().name == "Phone"


def test_a_recovery_code_opens_once_in_place_of_a_lost_passkey(bob: User) -> None:
    recovery = codes_of(registered(with_password(), Device()).content.decode())[0]
    client = with_password()
    assert client.post("/two-factor/?recovery=1", {"code": "0000-0000-0000-0000"}).status_code == 200
    client.post("/two-factor/?recovery=1", {"code": recovery})
    assert is_in(client)
    again = with_password()
    assert again.post("/two-factor/?recovery=1", {"code": recovery}).status_code == 200
    assert not is_in(again)


def test_the_app_may_go_and_the_passkey_stays(bob: User) -> None:
    client = with_password()
    registered(client, device := Device())
    client.get("/profile/security/two-factor/")
    app = second_factor.begin(bob.pk)
    client.post("/profile/security/two-factor/", {"password": PASSWORD, "code": code(app, -1)})
    client.post("/profile/security/two-factor/off/", {"password": PASSWORD, "code": code(app)})
    assert second_factor.app_of(bob.pk) is None
    assert second_factor.is_set_up(bob.pk)
    assert RecoveryCode.objects.filter(user=bob).exists()
    assert is_in(client)
    asked = with_password()
    assert not is_in(asked)
    shown(asked, device)
    assert is_in(asked)


def test_staff_sign_in_to_the_admin_with_a_passkey(settings: Settings) -> None:
    settings.STAFF_TWO_FACTOR = True
    User.objects.create_superuser("root@example.com", PASSWORD)
    client = with_password("root@example.com")
    assert "passkeys/add/" in client.get("/two-factor/?next=/admin/").content.decode()
    assert client.get("/admin/").status_code == 302
    registered(client, device := Device())
    assert client.get("/admin/").status_code == 200
    direct = browser()
    assert shown(direct, device, next="/admin/")["Location"] == "/admin/"
    assert direct.get("/admin/").status_code == 200
    call_command("reset_two_factor", "root@example.com", "--reason", "Lost key.")
    assert not Passkey.objects.exists()
    assert direct.get("/admin/").status_code == 302


def test_at_an_address_without_a_name_none_is_offered(bob: User) -> None:
    assert b"data-passkey" not in Client(SERVER_NAME="127.0.0.1").get("/login/").content
    assert b'data-passkey="get"' in browser().get("/login/").content
    assert Client(SERVER_NAME="127.0.0.1").post(CHALLENGE).status_code == 400


def test_a_page_asks_the_database_no_more_than_before(bob: User) -> None:
    client = with_password()
    with CaptureQueriesContext(
        connection,
    ) as before:
        client.get("/profile/")
    registered(client, Device())
    with CaptureQueriesContext(connection) as after:
        client.get("/profile/")
    assert len(after) <= len(before)
