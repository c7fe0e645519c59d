"""Password reset by a mailed link."""

from __future__ import annotations

import re
from datetime import timedelta
from unittest import mock

import pytest
from django.conf import settings as portal
from django.core import mail
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django.fixtures import Settings

from speechportal.accounts.audit.trail import AuditEntry
from speechportal.accounts.models import SignInFailures, User
from tests.accounts.queued import work_off
from tests.clients import Client
from tests.factories import make_account, make_user

pytestmark = pytest.mark.django_db
ASK = "/password-reset/"
NEW = {"new_password1": "another pass phrase", "new_password2": "another pass phrase"}


@pytest.fixture
def alice(settings: Settings) -> User:
    settings.EMAIL_HOST = "mail.example.com"
    user = make_user("alice@example.com")
    user.set_password("the first pass phrase")
    user.save()
    make_account(owner=user)
    OrmQ.objects.all().delete()
    return user


def link_in_mail() -> str:
    [message] = mail.outbox
    found = re.search(rf"{re.escape(portal.PUBLIC_URL)}(/password-reset/\S+)", str(message.body))
    assert found
    return found[1]


def test_the_link_sets_a_new_password_once(alice: User) -> None:
    elsewhere = Client()
    elsewhere.force_login(alice)
    page = Client().post(ASK, {"email": "Alice@example.com"}, follow=True)
    assert "If Alice@example.com is known here" in page.content.decode()
    assert mail.outbox == []  # By the queue, so that the answer takes no longer for those who are known.
    work_off()
    assert mail.outbox[0].to == ["alice@example.com"]
    link = link_in_mail()
    mail.outbox.clear()

    guest = Client()
    form = guest.get(link, follow=True)
    assert "New password" in form.content.decode()
    assert "token" not in form.redirect_chain[-1][0].split("/")  # The address of the form tells no secret.
    weak = guest.post(form.redirect_chain[-1][0], {"new_password1": "1234", "new_password2": "1234"})
    assert "too short" in weak.content.decode()
    done = guest.post(form.redirect_chain[-1][0], NEW, follow=True)
    assert "Your password was changed" in done.content.decode()
    assert "_auth_user_id" not in guest.session  # The sign-in asks for all that it always asks for.
    alice.refresh_from_db()
    assert alice.check_password("another pass phrase")
    assert elsewhere.get("/").status_code == 302
    assert "no longer works" in Client().get(link, follow=True).content.decode()
    work_off()
    assert [message.subject for message in mail.outbox] == ["Speech Portal: Your password was changed"]


def test_a_stranger_gets_the_same_answer_and_nobody_a_mail(alice: User) -> None:
    known = Client().post(ASK, {"email": "alice@example.com"}, follow=True).content.decode()
    OrmQ.objects.all().delete()
    stranger = Client().post(ASK, {"email": "zoe@example.com"}, follow=True).content.decode()
    User.objects.update(is_active=False)
    inactive = Client().post(ASK, {"email": "alice@example.com"}, follow=True).content.decode()
    pattern = r'name="csrfmiddlewaretoken" value="\w+"|nonce-\S+'
    plain = [re.sub(pattern, "", page) for page in (known, stranger.replace("zoe", "alice"), inactive)]
    assert plain[0] == plain[1] == plain[2]
    work_off()
    assert mail.outbox == []
    assert not AuditEntry.unscoped.filter(action="user.password_reset_asked").exists()


def test_no_more_than_three_mails_an_hour(alice: User) -> None:
    for _ in range(5):
        assert Client().post(ASK, {"email": alice.email}).status_code == 302
    work_off()
    assert [message.to for message in mail.outbox] == [[alice.email]] * 3
    assert AuditEntry.unscoped.filter(action="user.password_reset_asked").count() == 3
    with mock.patch.object(timezone, "now", return_value=timezone.now() + timedelta(hours=2)):
        Client().post(ASK, {"email": alice.email})
        work_off()
    assert len(mail.outbox) == 4


def test_a_link_ends_after_an_hour_or_with_a_sign_in(alice: User) -> None:
    Client().post(ASK, {"email": alice.email})
    work_off()
    link = link_in_mail()
    assert "New password" in Client().get(link, follow=True).content.decode()
    with mock.patch("django.contrib.auth.tokens.PasswordResetTokenGenerator._now") as now:
        now.return_value = timezone.now().replace(tzinfo=None) + timedelta(minutes=61)
        assert "no longer works" in Client().get(link, follow=True).content.decode()
    alice.last_login = timezone.now()
    alice.save()
    assert "no longer works" in Client().get(link, follow=True).content.decode()


def test_wrong_passwords_before_are_forgotten(alice: User) -> None:
    for _ in range(portal.SIGN_IN_TRIES + 1):
        answer = Client().post("/login/", {"username": alice.email, "password": "wrong"})
    assert answer.status_code == 429
    work_off()
    mail.outbox.clear()
    Client().post(ASK, {"email": alice.email})
    work_off()
    guest = Client()
    address = guest.get(link_in_mail(), follow=True).redirect_chain[-1][0]
    guest.post(address, NEW)
    [left] = SignInFailures.objects.all()
    assert left.subject == "network"  # Other addresses may have been tried from there.
    signed_in = guest.post("/login/", {"username": alice.email, "password": NEW["new_password1"]})
    assert signed_in.status_code == 302


def test_without_a_mail_server_the_page_says_so(alice: User, settings: Settings) -> None:
    settings.EMAIL_HOST = ""
    assert "sends no mail" in Client().get(ASK).content.decode()
    assert "sends no mail" in Client().post(ASK, {"email": alice.email}).content.decode()
    assert not OrmQ.objects.exists()
    assert ASK in Client().get("/login/").content.decode()


def test_the_mail_is_in_the_person_s_language(alice: User) -> None:
    User.objects.update(language="ko")
    Client().post(ASK, {"email": alice.email})
    work_off()
    assert mail.outbox[0].subject == "Speech Portal의 새 비밀번호"
