"""Deleted batches stay readable in a list of their own for as long as their transcripts are kept."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from batches.models import Batch, StoredTranscript, Task
from batches.operations.privacy import retention
from batches.recognition.transcript import Segment, Transcript
from batches.services import batches as batch_services
from batches.services import selectors
from speechportal.accounts.models import Account, Membership, User
from tests.clients import Client
from tests.factories import add_member, make_account, make_batch, make_task, make_user

pytestmark = pytest.mark.django_db
PAGE = "/batches/deleted/"


def deleted(account: Account, name: str) -> Task:
    """A completed task with a transcript, of a batch that was deleted afterwards."""
    batch = make_batch(account, name=name)
    task = make_task(batch, "talk.wav", state="completed")
    document = Transcript("en", 1.0, 1500, [Segment(0, 1500, "Good morning.")])
    StoredTranscript.unscoped.create(task=task, stage="words", document=document.to_dict())
    batch_services.delete_batch(batch=batch)
    return task


@pytest.fixture
def viewer() -> User:
    return make_user()


@pytest.fixture
def account(viewer: User) -> Account:
    account = make_account(owner=make_user(), transcript_days=30)
    add_member(account, viewer, Membership.Role.VIEWER)
    return account


@pytest.fixture
def client(viewer: User, account: Account) -> Client:
    client = Client()
    client.force_login(viewer)
    return client


def test_the_list_leads_to_the_batch_its_task_and_its_transcript(account: Account, client: Client) -> None:
    task = deleted(account, "old calls")
    live = make_batch(account, name="new calls")
    assert f'{PAGE}"' in client.get("/batches/").content.decode()
    text = client.get(PAGE).content.decode()
    assert "old calls" in text
    assert live.name not in text
    for path in ("", f"tasks/{task.uid}/", "execution-results/", "activity/", "results.zip"):
        assert client.get(f"/batches/{task.batch.uid}/{path}").status_code == 200, path
    page = client.get(f"/batches/{task.batch.uid}/").content.decode()
    assert "This batch was deleted on" in page
    assert f'{PAGE}"' in page
    lines = client.get(f"/batches/{task.batch.uid}/tasks/{task.uid}/lines/")
    assert "Good morning." in lines.content.decode()
    assert f"/batches/{task.batch.uid}/settings/" not in page


def test_there_is_no_link_before_anything_was_deleted(account: Account, client: Client) -> None:
    make_batch(account)
    assert PAGE not in client.get("/batches/").content.decode()
    assert "No deleted batches" in client.get(PAGE).content.decode()


def test_a_batch_leaves_the_list_with_its_last_transcript(account: Account, client: Client) -> None:
    task = deleted(account, "old calls")
    make_task(Batch.unscoped.get(pk=task.batch_id), "failed.wav", state="failed")
    assert list(selectors.list_deleted_batches(account)) == [task.batch]
    Task.unscoped.filter(pk=task.pk).update(finished_at=timezone.now() - timedelta(days=31))
    assert retention.enforce()["transcripts"] == 1
    assert list(selectors.list_deleted_batches(account)) == []
    assert "old calls" not in client.get(PAGE).content.decode()


def test_a_deleted_batch_is_found_by_its_name_or_id(account: Account, client: Client) -> None:
    one, two = deleted(account, "one"), deleted(account, "two")
    assert list(selectors.list_deleted_batches(account)) == [two.batch, one.batch]
    assert list(selectors.list_deleted_batches(account, "ON")) == [one.batch]
    assert list(selectors.list_deleted_batches(account, two.batch.uid)) == [two.batch]
    assert "No batch matches" in client.get(PAGE, {"q": "three"}).content.decode()


def test_strangers_see_none(account: Account) -> None:
    task = deleted(account, "a secret name")
    stranger = make_user()
    make_account(owner=stranger)
    client = Client()
    client.force_login(stranger)
    assert "a secret name" not in client.get(PAGE).content.decode()
    assert client.get(f"/batches/{task.batch.uid}/").status_code == 404
