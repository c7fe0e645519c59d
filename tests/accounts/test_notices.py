"""Security notices: a user gets an e-mail when one of their sign-in methods changes."""

from __future__ import annotations

import pytest
from django.core import mail
from django.core.management import call_command
from django_q.models import OrmQ
from pytest_django.fixtures import Settings

from speechportal.accounts.models import User
from speechportal.accounts.sign_in import second_factor
from tests.accounts.queued import work_off
from tests.clients import Client
from tests.factories import make_account, make_user
from tests.safety.authenticators import code

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


@pytest.fixture
def alice(settings: Settings) -> User:
    settings.EMAIL_HOST = "mail.example.com"
    user = make_user("alice@example.com")
    make_account(owner=user)
    user.time_zone = "Asia/Seoul"
    user.set_password(PASSWORD)
    user.save()
    OrmQ.objects.all().delete()
    return user


def subjects() -> list[str]:
    mail.outbox.clear()
    work_off()
    assert all(message.to == ["alice@example.com"] for message in mail.outbox)
    return [message.subject.removeprefix("Speech Portal: ") for message in mail.outbox]


def test_a_changed_password(alice: User) -> None:
    client = Client()
    client.force_login(alice)
    form = {"old_password": PASSWORD, "new_password1": "another phrase", "new_password2": "another phrase"}
    assert client.post("/profile/password/", form, REMOTE_ADDR="203.0.113.7").status_code == 302
    assert subjects() == ["Your password was changed"]
    body = str(mail.outbox[0].body)
    assert "From: 203.0.113.7" in body
    assert "KST" in body
    assert "By:" not in body
    assert "/password-reset/" in body
    assert "another phrase" not in body


def test_a_password_that_is_only_hashed_anew_is_the_same(alice: User, settings: Settings) -> None:
    sha1 = "django.contrib.auth.hashers.PBKDF2SHA1PasswordHasher"
    settings.PASSWORD_HASHERS = [sha1, *settings.PASSWORD_HASHERS]
    before = alice.password
    assert alice.check_password(PASSWORD)
    alice.refresh_from_db()
    assert alice.password != before
    assert subjects() == []


def test_two_factor_sign_in(alice: User) -> None:
    client = Client()
    client.force_login(alice)
    client.get("/profile/security/two-factor/")
    app = second_factor.begin(alice.pk)
    form = {"password": PASSWORD, "code": code(app)}
    page = client.post("/profile/security/two-factor/", form)
    assert page.status_code == 200
    assert subjects() == ["Two-factor sign-in was turned on"]
    recovery = {"password": PASSWORD, "code": page.context["codes"][0]}
    assert client.post("/profile/security/recovery-codes/", recovery).status_code == 200
    assert subjects() == [
        "A recovery code was used in place of the authenticator app",
        "New recovery codes were made; the earlier ones no longer work",
    ]
    call_command("reset_two_factor", alice.email, "--reason", "lost phone")
    assert subjects() == ["Two-factor sign-in was turned off"]
    assert "By: System" in str(mail.outbox[0].body)


def test_nothing_is_queued_where_no_mail_is_sent(alice: User, settings: Settings) -> None:
    settings.EMAIL_HOST = ""
    alice.set_password("another phrase")
    alice.save()
    assert not OrmQ.objects.exists()
