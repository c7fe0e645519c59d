"""A member's own e-mail address: shown as not verified, verified by a mailed link while signed in."""

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
from speechportal.accounts.models import User
from speechportal.accounts.sign_in import address_verification
from tests.accounts.queued import work_off
from tests.clients import Client
from tests.factories import make_account, make_user

pytestmark = pytest.mark.django_db
SEND = "/profile/address/"
BANNER = "Nobody has shown yet that your e-mail address is yours."


@pytest.fixture
def alice(settings: Settings) -> User:
    settings.EMAIL_HOST = "mail.example.com"
    user = make_user("alice@example.com")
    make_account(owner=user)
    OrmQ.objects.all().delete()
    return user


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def link_in_mail() -> str:
    [message] = mail.outbox
    found = re.search(rf"{re.escape(portal.PUBLIC_URL)}(/verify-address/\S+)", str(message.body))
    assert found
    return found[1]


def page_of(client: Client, path: str) -> str:
    return str(client.get(path, follow=True).content.decode())


def test_the_member_sees_it_and_verifies_by_the_link(alice: User) -> None:
    browser = signed_in(alice)
    assert BANNER in page_of(browser, "/domains/")
    profile = page_of(browser, "/profile/")
    assert "Not verified yet" in profile
    assert "support staff cannot make you a member" in profile
    assert f'action="{SEND}"' in profile
    sent = browser.post(SEND, follow=True).content.decode()
    assert "A mail with a link is on its way to alice@example.com." in sent
    work_off()
    assert mail.outbox[0].to == ["alice@example.com"]
    link = link_in_mail()
    assert "Is that your address?" in page_of(browser, link)
    unverified = User.objects.filter(pk=alice.pk, email_verified_at=None)
    assert unverified.exists(), "opening the link is not enough: scanners of mail do it, too"
    assert "Your e-mail address is verified." in browser.post(link, follow=True).content.decode()
    assert not unverified.exists()
    assert AuditEntry.unscoped.filter(action="user.address_verified", target_id=str(alice.pk)).count() == 1
    assert BANNER not in page_of(browser, "/domains/")
    assert "Not verified yet" not in page_of(browser, "/profile/")
    browser.post(link)
    assert AuditEntry.unscoped.filter(action="user.address_verified").count() == 1
    assert "is verified already" in browser.post(SEND, follow=True).content.decode()


def test_no_more_than_three_mails_an_hour(alice: User) -> None:
    browser = signed_in(alice)
    for _ in range(3):
        assert "on its way" in browser.post(SEND, follow=True).content.decode()
    assert "Several mails were sent" in browser.post(SEND, follow=True).content.decode()
    work_off()
    assert [message.to for message in mail.outbox] == [[alice.email]] * 3
    with mock.patch.object(timezone, "now", return_value=timezone.now() + timedelta(hours=2)):
        assert address_verification.ask(alice)


def test_the_link_verifies_nobody_else_and_no_other_address(alice: User) -> None:
    """Eve registers Zoe's address and has a mail sent to it: Zoe's click must not verify Eve's user."""
    eve = make_user("zoe@example.com")
    signed_in(eve).post(SEND)
    work_off()
    link = link_in_mail()
    opened = Client().get(link)
    assert opened.status_code == 302
    assert opened["Location"].startswith("/login/")
    for answer in (signed_in(alice).get(link), signed_in(alice).post(link)):
        assert answer.status_code == 404
        assert "no longer works" in answer.content.decode()
    User.objects.filter(pk=eve.pk).update(email="other@example.com")
    assert signed_in(eve).post(link).status_code == 404
    assert not User.objects.exclude(email_verified_at=None).exists()


@pytest.mark.parametrize("change", ["expired", "altered"])
def test_a_link_that_does_not_count(alice: User, change: str) -> None:
    token = address_verification.token_for(alice)
    later = timedelta(days=4) if change == "expired" else timedelta(0)
    token = token if change == "expired" else token[:-1] + ("A" if token[-1] != "A" else "B")
    with mock.patch("django.core.signing.time.time", return_value=(timezone.now() + later).timestamp()):
        assert not address_verification.is_of(token, alice)
    assert address_verification.is_of(address_verification.token_for(alice), alice)


def test_without_a_mail_server_the_profile_says_whom_to_ask(alice: User, settings: Settings) -> None:
    settings.EMAIL_HOST = ""
    browser = signed_in(alice)
    assert BANNER not in page_of(browser, "/domains/")
    profile = page_of(browser, "/profile/")
    assert "Ask its support staff to confirm your address." in profile
    assert f'action="{SEND}"' not in profile
    assert "sends no mail" in browser.post(SEND, follow=True).content.decode()
    assert not OrmQ.objects.exists()


def test_the_mail_is_in_the_person_s_language(alice: User) -> None:
    User.objects.update(language="ko")
    address_verification.ask(alice)
    work_off()
    assert mail.outbox[0].subject == "Speech Portal 이메일 주소 확인"
