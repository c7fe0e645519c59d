"""Dry run of a webhook URL from the form, before it is saved."""

from __future__ import annotations

import pytest
import standardwebhooks
from pytest_django.fixtures import Settings

from batches.models import Delivery
from batches.webhooks import endpoint
from speechportal.accounts.models import Membership, User
from tests.clients import Client
from tests.factories import add_member, make_account, make_user
from tests.webhooks.makers import make_hooked_batch
from tests.webhooks.receiver import receiving, status

pytestmark = pytest.mark.django_db
TRY = "/batches/try-webhook/"


@pytest.fixture
def alice() -> User:
    user = make_user()
    make_account(owner=user)
    return user


def as_user(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_the_answer_is_told_and_nothing_is_kept(alice: User) -> None:
    with receiving() as receiver:
        page = as_user(alice).post(TRY, {"webhook_url": receiver.url}).content.decode()
    assert "The test arrived" in page
    assert "The receiver answered 204." in page
    assert "was not signed" in page
    (message,) = receiver.received
    assert message.json["type"] == "webhook.test"
    assert message.json["data"]["account"]["id"] == alice.memberships.get().account.uid
    assert "webhook-signature" not in message.headers
    assert not Delivery.unscoped.exists()


def test_for_a_batch_it_is_signed_with_its_secret(alice: User) -> None:
    account = alice.memberships.get().account
    with receiving() as receiver:
        batch = make_hooked_batch(receiver.url, account=account)
        page = as_user(alice).post(f"{TRY}?batch={batch.uid}", {"webhook_url": receiver.url})
    assert "was not signed" not in page.content.decode()
    (message,) = receiver.received
    secret = endpoint.show_secret_once(batch=batch)
    assert standardwebhooks.Webhook(secret).verify(message.body, message.headers)


def test_a_refusal_is_shown_as_it_was_given(alice: User) -> None:
    with receiving(status(401, b"<no> key!")) as receiver:
        page = as_user(alice).post(TRY, {"webhook_url": receiver.url}).content.decode()
    assert "The test did not arrive" in page
    assert "The receiver answered 401." in page
    assert "&lt;no&gt; key!" in page


def test_what_may_not_be_reached_is_not_asked(alice: User, settings: Settings) -> None:
    settings.OUTBOUND_NETWORKS = []
    with receiving() as receiver:
        page = as_user(alice).post(TRY, {"webhook_url": receiver.url}).content.decode()
    assert "The test did not arrive" in page
    assert receiver.received == []
    assert "Enter a webhook URL first" in as_user(alice).post(TRY).content.decode()


def test_a_stranger_s_batch_signs_nothing(alice: User) -> None:
    with receiving() as receiver:
        foreign = make_hooked_batch(receiver.url)
        as_user(alice).post(f"{TRY}?batch={foreign.uid}", {"webhook_url": receiver.url})
    assert "webhook-signature" not in receiver.received[0].headers
    assert foreign.uid not in receiver.received[0].body.decode()


def test_it_takes_a_manager_and_a_form(alice: User) -> None:
    bob = make_user()
    add_member(alice.memberships.get().account, bob, Membership.Role.VIEWER)
    assert as_user(bob).post(TRY, {"webhook_url": "http://127.0.0.1:9/"}).status_code == 403
    assert as_user(alice).get(TRY).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    assert strict.post(TRY, {"webhook_url": "http://127.0.0.1:9/"}).status_code == 403
