"""Sessions: a user sees their own and ends one or all of them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.utils import timezone

from speechportal.accounts.models import AuditEntry, MemberSession, User
from speechportal.accounts.sign_in import sessions
from tests import factories
from tests.clients import Client

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough password"
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
WHALE = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/138.0.0.0 Whale/4.33.325.17 Safari/537.36"
)
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    " Version/18.5 Mobile/15E148 Safari/604.1"
)


@pytest.fixture
def alice() -> User:
    user = factories.make_user("alice@example.com", PASSWORD)
    factories.make_account(owner=user)
    return user


def browser(user: User, agent: str, address: str = "192.0.2.1") -> Client:
    client = Client(headers={"user-agent": agent}, REMOTE_ADDR=address)
    client.force_login(user)
    client.get("/")
    return client


def test_the_list_says_browser_and_address(alice: User) -> None:
    browser(alice, WHALE, "192.0.2.7")
    text = browser(alice, FIREFOX, "192.0.2.8").get("/profile/security/").content.decode()
    for shown in ("Whale · macOS", "192.0.2.7", "Firefox · Windows", "192.0.2.8"):
        assert shown in text
    assert text.count("this one") == 1


@pytest.mark.parametrize(
    ("agent", "label"), [(SAFARI, "Safari · iPhone"), ("curl/8.5", ""), ("Linux" * 100, "Linux")]
)
def test_no_more_of_a_browser_is_kept_than_its_kind(agent: str, label: str, alice: User) -> None:
    browser(alice, agent)
    assert MemberSession.objects.get(user=alice).browser == label


def test_one_is_ended_and_the_others_go_on(alice: User) -> None:
    here, phone, office = (browser(alice, agent) for agent in (FIREFOX, SAFARI, WHALE))
    row = MemberSession.objects.get(browser="Safari · iPhone")
    here.post("/profile/security/sessions/end/", {"session": row.handle})
    assert phone.get("/profile/").status_code == 302
    assert here.get("/profile/").status_code == office.get("/profile/").status_code == 200
    assert AuditEntry.unscoped.get(action="user.sessions_ended").actor == alice


def test_all_others_are_ended(alice: User) -> None:
    here, phone, office = (browser(alice, agent) for agent in (FIREFOX, SAFARI, WHALE))
    here.post("/profile/security/sessions/end/")
    assert here.get("/profile/").status_code == 200
    assert phone.get("/profile/").status_code == office.get("/profile/").status_code == 302


def test_nobody_ends_another_person_s(alice: User) -> None:
    bob = factories.make_user("bob@example.com")
    theirs, own = browser(alice, SAFARI, "192.0.2.55"), browser(bob, FIREFOX)
    handle = MemberSession.objects.get(user=alice).handle
    assert "192.0.2.55" not in own.get("/profile/security/").content.decode()
    own.post("/profile/security/sessions/end/", {"session": handle})
    own.post("/profile/security/sessions/end/")
    assert theirs.get("/profile/").status_code == 200


def test_the_key_is_on_no_page(alice: User) -> None:
    other = browser(alice, SAFARI).session.session_key
    here = browser(alice, FIREFOX)
    text = here.get("/profile/security/").content.decode()
    assert str(other) not in text
    assert str(here.session.session_key) not in text


def test_a_new_password_ends_the_others(alice: User) -> None:
    here, elsewhere = browser(alice, FIREFOX), browser(alice, SAFARI)
    new = "another-long-password-7"
    given = {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
    assert here.post("/profile/password/", given)["Location"] == "/profile/security/"
    assert here.get("/profile/").status_code == 200
    assert elsewhere.get("/profile/").status_code == 302
    assert MemberSession.objects.filter(user=alice).count() == 1


def test_signing_out_leaves_no_row(alice: User) -> None:
    browser(alice, FIREFOX).post("/logout/")
    assert not MemberSession.objects.filter(user=alice).exists()


def test_a_new_key_goes_on_where_the_old_one_was(alice: User) -> None:
    client = browser(alice, FIREFOX)
    since = timezone.now() - timedelta(days=3)
    MemberSession.objects.update(created_at=since)
    session = client.session
    session.cycle_key()
    session.save()
    row = MemberSession.objects.get(user=alice)
    assert (row.created_at, row.browser) == (since, "Firefox · Windows")


def test_it_is_noted_every_few_minutes_and_at_each_new_place(alice: User) -> None:
    client = browser(alice, FIREFOX)
    first = MemberSession.objects.get().seen_at
    client.get("/")
    assert MemberSession.objects.get().seen_at == first
    client.get("/", REMOTE_ADDR="192.0.2.99")
    assert MemberSession.objects.get().address == "192.0.2.99"
    MemberSession.objects.update(seen_at=timezone.now() - sessions.NOTED_EVERY)
    client.get("/", REMOTE_ADDR="192.0.2.99")
    seen = MemberSession.objects.get().seen_at
    assert seen is not None
    assert timezone.now() - seen < sessions.NOTED_EVERY


def test_old_ones_are_cleared_and_django_s_own_table_stays_empty(alice: User) -> None:
    browser(alice, FIREFOX)
    MemberSession.objects.update(expire_date=timezone.now() - timedelta(days=1))
    call_command("clearsessions")
    assert not MemberSession.objects.exists()
    assert not Session.objects.exists()
