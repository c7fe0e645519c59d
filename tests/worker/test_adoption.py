"""Adoption: results in the storage, newer than a restored database, are adopted once."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import transaction
from django.urls import reverse
from pytest_django.fixtures import Settings

from batches.formats import Context, clova_json, clova_json_reading
from batches.models import Batch, Charge, ExecutionResult, ResultFile, Task
from batches.status.failures import CATALOGUE
from batches.worker import adoption
from speechportal.accounts.audit.trail import AuditEntry
from tests import factories
from tests.admin.staff import signed_in
from tests.formats.samples import interview
from tests.workbench import Engine, drop, files, folder, work

pytestmark = pytest.mark.django_db


def restored(batch: Batch, name: str = "a.mp3") -> Task:
    """A finished task that the database again knows as waiting, as a backup from before its start does."""
    drop(batch, name)
    backup = transaction.savepoint()
    assert work(Engine()).state == "completed"
    transaction.savepoint_rollback(backup)
    return work(Engine())


@pytest.fixture
def batch(settings: Settings) -> Batch:
    settings.SETTLE_SECONDS = 0
    return factories.make_batch(
        factories.make_account(price_per_file="0.10"), formats=["json", "srt"], speakers=True
    )


def test_the_cause_is_that_the_result_lies_in_the_storage(batch: Batch) -> None:
    task = restored(batch)
    assert (task.state, task.error_code) == ("failed", "result_in_storage")
    assert CATALOGUE["result_in_storage"].advice
    assert Charge.unscoped.count() == 0


def test_an_adopted_task_is_as_if_it_had_never_been_lost(batch: Batch) -> None:
    before = {"out/a.mp3.json", "out/a.mp3.srt", f"{batch.folder}a.mp3"}
    task = restored(batch)
    adoption.adopt(task)
    task.refresh_from_db()
    assert (task.state, task.error_code, task.moved_key) == ("completed", "", f"{batch.folder}a.mp3")
    assert task.moved_at is not None
    assert set(ResultFile.unscoped.filter(task=task).values_list("format", "key")) == {
        ("json", "out/a.mp3.json"),
        ("srt", "out/a.mp3.srt"),
    }
    transcript = task.transcript.published()
    assert transcript.text == "Good morning"
    assert [word.text for word in transcript.segments[0].words] == ["Good", " morning"]
    assert transcript.speakers == ["1"]
    (charge,) = Charge.unscoped.all()
    assert (str(charge.amount), charge.input_name) == ("0.1000", "a.mp3")
    assert before <= files(batch)
    assert AuditEntry.unscoped.filter(action="task.result_adopted", target_uid=task.uid).count() == 1
    with pytest.raises(ValidationError):
        adoption.adopt(task)
    assert Charge.unscoped.count() == 1


def test_a_task_that_was_charged_before_is_not_charged_again(batch: Batch) -> None:
    task = restored(batch)
    factories.make_charge(task)
    adoption.adopt(task)
    assert Charge.unscoped.filter(task=task).count() == 1


def test_a_result_of_another_task_is_not_adopted(batch: Batch) -> None:
    task = restored(batch)
    path = folder(batch) / "out" / "a.mp3.json"
    document = json.loads(path.read_text())
    for content in (json.dumps({**document, "token": "tsk_of_somebody"}), "{", "[]", "null"):
        path.write_text(content)
        with pytest.raises(ValidationError, match="No result file"):
            adoption.adopt(task)
    task.refresh_from_db()
    assert (task.state, Charge.unscoped.count()) == ("failed", 0)


def test_an_input_that_its_owner_removed_is_missing_as_before(batch: Batch) -> None:
    task = drop(batch)
    (folder(batch) / "in" / "a.mp3").unlink()
    task = work(Engine())
    assert (task.state, task.error_code) == ("failed", "input_missing")


def test_a_failure_that_is_still_to_be_reported_waits(batch: Batch) -> None:
    task = restored(batch)
    report = ExecutionResult.unscoped.create(account=batch.account, batch=batch, number=1, task_count=1)
    Task.unscoped.filter(pk=task.pk).update(execution_result=report)
    task.refresh_from_db()
    with pytest.raises(ValidationError, match="still to be reported"):
        adoption.adopt(task)
    assert ResultFile.unscoped.count() == 0


def test_the_command_adopts_all_and_says_what_it_left(batch: Batch) -> None:
    found, lost = restored(batch), restored(batch, "b.mp3")
    (folder(batch) / "out" / "b.mp3.json").unlink()
    output = StringIO()
    call_command("adopt_results", "--dry-run", stdout=output)
    assert "1 results would be adopted; 1 tasks left" in output.getvalue()
    with pytest.raises(CommandError, match="reason"):
        call_command("adopt_results")
    call_command("adopt_results", "--reason", "restored", "--batch", batch.uid, stdout=output)
    assert f"{lost.uid} b.mp3: No result file" in output.getvalue()
    found.refresh_from_db()
    assert found.state == "completed"
    assert AuditEntry.unscoped.get(action="task.result_adopted").reason == "restored"


def test_support_adopts_on_the_page_of_the_task(batch: Batch) -> None:
    task, staff = restored(batch), signed_in("support")
    page = staff.get(reverse("admin:batches_task_change", args=[task.pk])).content.decode()
    address = reverse("admin:batches_task_do", args=["adopt_result"]) + f"?ids={task.pk}"
    assert address in page
    assert signed_in("viewer").post(address, {"reason": "restored"}).status_code == 403
    staff.post(address, {"reason": "restored"})
    task.refresh_from_db()
    assert task.state == "completed"


def test_a_result_file_reads_back_as_it_was_written() -> None:
    context = Context(task_id="tsk_1", diarization=True, word_confidence=True)
    written = clova_json.document(interview(), context)
    uid, transcript = clova_json_reading.read(json.dumps(written).encode())
    assert uid == "tsk_1"
    again = clova_json.document(transcript, context)
    for document in (written, again):
        document.pop("quality")  # Of the whole: the length of the recording is not in the file.
    assert again == written
