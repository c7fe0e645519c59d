"""Several batches are paused and resumed at once, each action after a confirmation page."""

from __future__ import annotations

import pytest
from django.urls import reverse
from django.utils import timezone

from batches.models import Batch
from speechportal.accounts.models import Membership
from tests.clients import Client
from tests.factories import add_member, make_account, make_batch, make_task, make_user

pytestmark = pytest.mark.django_db


def test_the_chosen_ones_and_no_others() -> None:
    alice = make_user()
    account = make_account(owner=alice)
    first, second, third = (make_batch(account) for _ in range(3))
    foreign = make_batch()
    make_task(first)
    client = Client()
    client.force_login(alice)
    given = {"batch": [first.uid, second.uid, foreign.uid]}
    for word, paused in (("Pause these 2 batches?", True), ("Resume these 2 batches?", False)):
        path = "/batches/pause/" if paused else "/batches/resume/"
        asked = client.get(path, given).content.decode()
        assert word in asked
        assert foreign.name not in asked
        assert client.post(path, given)["Location"] == reverse("batches:list")
        paused_now = set(Batch.unscoped.filter(paused_at__isnull=False))
        assert paused_now == ({first, second} if paused else set())
    assert "1 task is waiting." in asked
    assert third.name not in asked


def test_nothing_chosen_says_so() -> None:
    alice = make_user()
    make_account(owner=alice)
    client = Client()
    client.force_login(alice)
    assert "Select the batches to resume" in client.get("/batches/resume/").content.decode()


def test_a_viewer_resumes_nothing() -> None:
    batch = make_batch(paused_at=timezone.now())
    bob = make_user()
    add_member(batch.account, bob, Membership.Role.VIEWER)
    client = Client()
    client.force_login(bob)
    assert client.get("/batches/resume/", {"batch": batch.uid}).status_code == 403
    assert client.post("/batches/resume/", {"batch": batch.uid}).status_code == 403
    batch.refresh_from_db()
    assert batch.is_paused
