"""The page of an account's own audit trail."""

from __future__ import annotations

import pytest

from speechportal.accounts.audit.trail import record
from speechportal.accounts.models import Membership
from speechportal.accounts.privacy.views import PAGE_SIZE
from tests import factories
from tests.clients import Client

pytestmark = pytest.mark.django_db


def test_members_see_their_account_s_entries_and_nobody_else_s(client: Client) -> None:
    alice, charlie = factories.make_user("alice@example.com"), factories.make_user("charlie@example.com")
    ours, theirs = factories.make_account(owner=alice), factories.make_account(owner=charlie)
    viewer = factories.make_user("bob@example.com")
    factories.add_member(ours, viewer, Membership.Role.VIEWER)
    factories.make_domain(ours, name="Our calls")
    factories.make_domain(theirs, name="Their calls")
    for user in (alice, viewer):
        client.force_login(user)
        page = client.get("/account/activity/").content.decode()
        assert "Our calls" in page
        assert "Their calls" not in page


def test_the_trail_goes_on_over_the_pages(client: Client) -> None:
    alice = factories.make_user("alice@example.com")
    account = factories.make_account(owner=alice)
    for number in range(PAGE_SIZE + 5):
        record("account.exported", account, reason=f"reason-{number:03}")
    client.force_login(alice)
    first = client.get("/account/activity/")
    assert b"reason-054" in first.content
    assert b"reason-000" not in first.content
    second = client.get("/account/activity/", {"before": first.context["older"]})
    assert b"reason-000" in second.content
    assert b"reason-054" not in second.content


def test_an_entry_of_another_account_is_no_page_mark(client: Client) -> None:
    alice = factories.make_user("alice@example.com")
    factories.make_account(owner=alice)
    strange = record("account.exported", factories.make_account())
    client.force_login(alice)
    assert client.get("/account/activity/", {"before": strange.uid}).context["is_first"]


def test_what_has_no_value_is_not_shown_as_one(client: Client) -> None:
    alice = factories.make_user("alice@example.com", language="ko")
    account = factories.make_account(owner=alice)
    factories.make_batch(account, domain=factories.make_domain(account, name="Calls"))
    client.force_login(alice)
    page = client.get("/account/activity/", follow=True).content.decode()
    assert "None" not in page
    assert "금칙어:" not in page  # Neither before nor after.
    assert "Whisper 모델: 포털의 기본 모델" in " ".join(page.split())
