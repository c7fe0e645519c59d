"""The pages of deliveries: what members see of their receiver, and what managers can do."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from batches.models import Batch, Delivery, DeliveryAttempt, Webhook
from speechportal.accounts.models import Membership, User
from tests.clients import Client
from tests.factories import add_member, make_account, make_batch, make_user
from tests.webhooks.makers import make_delivery, make_hooked_batch

STATE = re.compile(r'class="state\s+(?:waiting|cancelling)\s*">\s*(\w+)')
pytestmark = pytest.mark.django_db


def as_user(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def batch() -> Batch:
    return make_hooked_batch("http://127.0.0.1:9/hook?key=1", account=make_account(owner=make_user()))


@pytest.fixture
def alice(batch: Batch) -> Client:
    """Owner of the account."""
    return as_user(batch.account.members.get())


@pytest.fixture
def bob(batch: Batch) -> Client:
    """Viewer of the account."""
    user = make_user()
    add_member(batch.account, user, Membership.Role.VIEWER)
    return as_user(user)


@pytest.fixture
def charlie() -> Client:
    """Owner of another account."""
    user = make_user()
    make_account(owner=user)
    return as_user(user)


def attempted(batch: Batch) -> Delivery:
    delivery = make_delivery(batch)
    DeliveryAttempt.unscoped.create(
        delivery=delivery,
        number=1,
        started_at=timezone.now(),
        duration=1234,
        status=500,
        error_code="refused",
        error="The receiver answered 500.",
        answer="<b>secret trace</b>",
    )
    Delivery.unscoped.update(state="failed", ended_at=timezone.now(), attempts=1, last_status=500)
    return delivery


def path(name: str, batch: Batch, *more: str) -> str:
    return reverse(f"batches:{name}", args=[batch.uid, *more])


def test_a_manager_sees_answers_and_a_viewer_does_not(batch: Batch, alice: Client, bob: Client) -> None:
    delivery = attempted(batch)
    address = path("delivery", batch, delivery.uid)
    page = alice.get(address).content.decode()
    assert "&lt;b&gt;secret trace&lt;/b&gt;" in page
    assert "1234 ms" in page
    assert path("redeliver", batch, delivery.uid) in page
    page = bob.get(address).content.decode()
    assert "secret trace" not in page
    assert "1234 ms" in page
    assert path("redeliver", batch, delivery.uid) not in page


def test_what_waits_for_another_attempt_says_so(batch: Batch, bob: Client) -> None:
    delivery = attempted(batch)

    def states() -> list[str]:
        pages = [bob.get(path("deliveries", batch)), bob.get(path("delivery", batch, delivery.uid))]
        return [STATE.findall(page.content.decode())[0] for page in pages]

    Delivery.unscoped.update(state="waiting", ended_at=None, tries=1)
    assert states() == ["Retrying", "Retrying"]
    Delivery.unscoped.update(tries=0)  # A member has it sent again, from the start of the schedule.
    assert states() == ["Waiting", "Waiting"]


def test_a_viewer_sees_the_receivers_host_alone(batch: Batch, alice: Client, bob: Client) -> None:
    assert "127.0.0.1:9/hook?key=1" in alice.get(path("deliveries", batch)).content.decode()
    page = bob.get(path("deliveries", batch)).content.decode()
    assert "http://127.0.0.1:9/…" in page
    assert "key=1" not in page


def test_the_list_can_be_narrowed_and_paged(batch: Batch, bob: Client) -> None:
    failed = attempted(batch)
    waiting = [make_delivery(batch) for _ in range(55)]
    page = bob.get(path("deliveries", batch), {"state": "failed"}).content.decode()
    assert failed.uid in page
    assert waiting[-1].uid not in page
    first = bob.get(path("deliveries", batch))
    assert waiting[-1].uid in first.content.decode()
    assert failed.uid not in first.content.decode()
    older = first.context["older"]
    assert failed.uid in bob.get(path("deliveries", batch), {"before": older}).content.decode()
    assert (
        "No delivery matches" in bob.get(path("deliveries", batch), {"event": "batch.error"}).content.decode()
    )


def test_the_list_asks_the_database_as_often_for_many_as_for_few(
    batch: Batch, bob: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(40):
        make_delivery(batch)
    with django_assert_max_num_queries(20):
        bob.get(path("deliveries", batch))


def test_a_stranger_finds_nothing(batch: Batch, charlie: Client) -> None:
    delivery = attempted(batch)
    for name in ("deliveries", "webhook_rotate", "redeliver_since"):
        assert charlie.get(path(name, batch)).status_code == 404
    for name in ("webhook_test", "webhook_resume", "webhook_secret", "webhook_rotate", "redeliver_since"):
        assert charlie.post(path(name, batch)).status_code == 404
    assert charlie.get(path("delivery", batch, delivery.uid)).status_code == 404
    assert charlie.post(path("redeliver", batch, delivery.uid)).status_code == 404
    other = make_batch(batch.account)
    alice = as_user(batch.account.members.first() or make_user())
    assert alice.get(path("delivery", other, delivery.uid)).status_code == 404


def test_a_viewer_changes_nothing(batch: Batch, bob: Client) -> None:
    delivery = attempted(batch)
    for name in ("webhook_test", "webhook_resume", "webhook_secret", "webhook_rotate", "redeliver_since"):
        assert bob.post(path(name, batch)).status_code == 403
    assert bob.post(path("redeliver", batch, delivery.uid)).status_code == 403
    delivery.refresh_from_db()
    assert delivery.state == "failed"


def test_the_secret_is_shown_once_and_again_after_it_was_rotated(batch: Batch, alice: Client) -> None:
    shown = alice.post(path("webhook_secret", batch))
    assert "no-store" in shown["Cache-Control"]
    secret = shown.context["secret"]
    assert secret.startswith("whsec_")
    assert secret in shown.content.decode()
    again = alice.post(path("webhook_secret", batch), follow=True).content.decode()
    assert secret not in again
    assert "was shown already" in again
    assert alice.get(path("webhook_secret", batch)).status_code == 405
    assert "24 hours" in alice.get(path("webhook_rotate", batch)).content.decode()
    page = alice.post(path("webhook_rotate", batch), follow=True).content.decode()
    assert path("webhook_secret", batch) in page
    assert alice.post(path("webhook_secret", batch)).context["secret"] != secret


def test_one_or_many_are_sent_again_and_a_test_is_sent(batch: Batch, alice: Client) -> None:
    delivery = attempted(batch)
    alice.post(path("redeliver", batch, delivery.uid))
    delivery.refresh_from_db()
    assert delivery.state == "waiting"
    Delivery.unscoped.update(state="failed", ended_at=timezone.now())
    form = alice.get(path("redeliver_since", batch)).content.decode()
    assert 'type="datetime-local"' in form
    wrong = alice.post(path("redeliver_since", batch), {"since": "when?"})
    assert wrong.status_code == 200
    assert Delivery.unscoped.get().state == "failed"
    page = alice.post(path("redeliver_since", batch), {"since": "2020-01-01T00:00"}, follow=True)
    assert "1 delivery is sent again." in page.content.decode()
    alice.post(path("webhook_test", batch))
    assert Delivery.unscoped.filter(event="webhook.test", state="waiting").count() == 2


def test_the_batch_says_why_nothing_is_sent_and_a_manager_resumes(
    batch: Batch, alice: Client, bob: Client
) -> None:
    Webhook.unscoped.update(state="gone", stopped_at=timezone.now())
    for name in ("detail", "results", "deliveries"):
        page = bob.get(path(name, batch)).content.decode()
        assert "410 Gone" in page
        assert path("webhook_resume", batch) not in page
    assert path("webhook_resume", batch) in alice.get(path("deliveries", batch)).content.decode()
    refused = alice.post(path("webhook_test", batch), follow=True).content.decode()
    assert "Resume it first" in refused
    page = alice.post(path("webhook_resume", batch), follow=True).content.decode()
    assert "410 Gone" not in page


def test_a_receiver_that_asked_for_time_is_shown_to_be_waited_for(batch: Batch, bob: Client) -> None:
    sentence = "The receiver asked to wait until"
    Webhook.unscoped.update(held_until=timezone.now() + timedelta(hours=1))
    assert sentence in bob.get(path("deliveries", batch)).content.decode()
    Webhook.unscoped.update(held_until=timezone.now())
    assert sentence not in bob.get(path("deliveries", batch)).content.decode()


def test_a_batch_without_a_webhook_says_how_to_get_one(alice: Client, batch: Batch) -> None:
    plain = make_batch(batch.account)
    page = alice.get(path("deliveries", plain)).content.decode()
    assert "has no webhook" in page
    assert path("settings", plain) in page


def test_the_form_of_a_batch_takes_the_url_and_says_what_is_wrong_with_it(
    batch: Batch, alice: Client
) -> None:
    page = alice.get(path("settings", batch)).content.decode()
    assert "http://127.0.0.1:9/hook?key=1" in page
    fields = {
        "name": batch.name,
        "domain": batch.domain_id,
        "connection": batch.connection_id,
        "input_path": batch.input_path,
        "result_path": batch.result_path,
        "formats": ["json"],
        "language": "en-US",
        "priority": 0,
    }
    refused = alice.post(path("settings", batch), {**fields, "webhook_url": "https://10.0.0.1/"})
    assert refused.status_code == 200
    assert "not on the public internet" in refused.content.decode()
    saved = alice.post(path("settings", batch), {**fields, "webhook_url": "https://127.0.0.1/new"})
    assert saved.status_code == 302, saved.context["form"].errors
    batch.refresh_from_db()
    assert batch.webhook_url == "https://127.0.0.1/new"
