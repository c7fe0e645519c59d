"""The setting "channels as speakers", from the form to the engine and the result."""

from __future__ import annotations

import json

import pytest
from django.db import connection
from django.urls import reverse
from pytest_django.fixtures import Settings

from batches.models import Batch, StoredTranscript, Task
from batches.recognition.errors import EngineDied
from batches.services import batches as batch_services
from batches.services import tasks as task_services
from tests.clients import Client
from tests.factories import make_account, make_batch, make_user
from tests.workbench import Engine, drop, folder, work

pytestmark = pytest.mark.django_db


@pytest.fixture
def batch(settings: Settings) -> Batch:
    settings.SETTLE_SECONDS = 0
    return make_batch(name="calls", formats=["json"], channels_as_speakers=True)


def channels_of(task: Task) -> bool:
    assert task.settings is not None
    return task.settings.recognition.channels_as_speakers


def test_the_engine_is_told_and_the_result_says_that_speakers_were_asked_for(batch: Batch) -> None:
    engine = Engine()
    drop(batch)
    work(engine)
    assert engine.channels == [True]
    result = json.loads((folder(batch) / "out/a.mp3.json").read_text())
    assert result["params"]["diarization"]["enable"] is True


def test_a_task_keeps_the_setting_it_started_with(batch: Batch) -> None:
    engine = Engine()
    engine.during["transcribe"] = lambda: _edit(batch, channels=False)
    drop(batch)
    assert channels_of(work(engine)) is True
    engine.during.clear()
    drop(batch, "b.mp3")
    assert channels_of(work(engine)) is False
    assert engine.channels == [True, False]


def _edit(batch: Batch, *, channels: bool) -> None:
    batch_services.update_batch(batch=batch, recognition={"channels_as_speakers": channels})


@pytest.mark.parametrize("channels", [False, True])
def test_what_an_older_release_recognised_is_kept_unless_channels_are_speakers_now(
    batch: Batch, settings: Settings, channels: bool
) -> None:
    settings.MAX_ATTEMPTS = 1
    batch_services.update_batch(batch=batch, recognition={"speakers": True, "channels_as_speakers": False})
    engine = Engine()

    def die() -> None:
        raise EngineDied("It ran out of memory.")

    engine.during["add_speakers"] = die
    drop(batch)
    task = work(engine)
    with connection.cursor() as cursor:
        cursor.execute("SELECT settings FROM batches_task WHERE id = %s", [task.pk])
        stored = json.loads(cursor.fetchone()[0])
        del stored["recognition"]["channels_as_speakers"]
        cursor.execute("UPDATE batches_task SET settings = %s WHERE id = %s", [json.dumps(stored), task.pk])
    _edit(batch, channels=channels)
    task_services.retry_task(task=Task.unscoped.get(pk=task.pk))
    assert StoredTranscript.unscoped.exists() is not channels


def test_the_form_has_it_among_the_advanced_settings_and_the_batch_shows_it() -> None:
    alice = make_user()
    batch = make_batch(make_account(owner=alice))
    client = Client()
    client.force_login(alice)
    address = reverse("batches:settings", args=[batch.uid])
    assert '<details class="advanced">' in client.get(address).content.decode()
    form = client.get(address).context["form"]
    unchecked = (None, False)
    given = {
        name: value for name, value in form.initial.items() if not any(value is each for each in unchecked)
    }
    answer = client.post(address, {**given, "channels_as_speakers": "on"}, follow=True)
    assert Batch.unscoped.get().recognition.channels_as_speakers is True
    assert "Channels as speakers" in answer.content.decode()
    assert '<details class="advanced" open>' in client.get(address).content.decode()
    copy = client.get(reverse("batches:create"), {"from": batch.uid}).context["form"]
    assert copy.initial["channels_as_speakers"] is True
