"""kill -9 before and after each step of a task, also inside its transactions.

A forked process does the work and kills itself at the step; what its death left is then taken up as it would
be by others, and has to end as if nothing had happened. `make chaos` does the same to whole clusters.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
import os
import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django.fixtures import Settings

from batches.models import Batch, Charge, Delivery, ExecutionResult, ResultFile, Task
from batches.recognition.errors import NotMedia
from batches.reports import execution_results
from batches.tasks import lifecycle, scheduling
from batches.worker import moving
from tests.factories import make_batch
from tests.workbench import Engine, drop, files, folder, work

pytestmark = pytest.mark.django_db(transaction=True)

# Where it dies: the function, before or after its call, and at which of its calls.
Step = tuple[str, str, int]
WORK: list[Step] = [
    ("batches.tasks.scheduling._take", "before", 1),
    ("batches.tasks.scheduling._take", "after", 1),  # in the transaction
    ("batches.tasks.scheduling.claim_next", "after", 1),
    ("batches.worker.processing.fetch", "before", 1),
    ("batches.worker.processing.fetch", "after", 1),
    ("tests.workbench.Engine.transcribe", "after", 1),
    ("batches.tasks.lifecycle.checkpoint", "after", 1),
    ("tests.workbench.Engine.add_speakers", "after", 1),
    ("batches.tasks.lifecycle.checkpoint", "after", 2),
    ("batches.models.object_names.reserve", "after", 1),
    ("speechportal.storage.backends.local.LocalStore.put", "before", 1),
    ("speechportal.storage.backends.local.LocalStore.put", "after", 1),
    ("speechportal.storage.backends.local.LocalStore.put", "before", 2),
    ("speechportal.storage.backends.local.LocalStore.put", "after", 2),
    ("batches.tasks.lifecycle.finish", "before", 1),
    (
        "batches.reports.execution_results.collect",
        "after",
        1,
    ),  # in the transaction of the end, as are the next two
    ("batches.webhooks.outbox.announce_task", "after", 1),
    ("batches.tasks.lifecycle._charge", "after", 1),
    ("batches.tasks.lifecycle.finish", "after", 1),
    ("batches.worker.moving._reserve", "after", 1),
    ("speechportal.storage.backends.local.LocalStore.move", "before", 1),
    ("speechportal.storage.backends.local._link", "after", 1),  # the input has two names
    ("speechportal.storage.backends.local.LocalStore.move", "after", 1),
    ("batches.worker.moving.move_input", "after", 1),
]
REPORT: list[Step] = [
    ("batches.reports.execution_results._write", "before", 1),
    ("batches.models.object_names.reserve", "after", 3),  # the results have the first two
    ("speechportal.storage.backends.local.LocalStore.put", "after", 3),
    ("batches.webhooks.outbox.announce", "after", 1),  # in the transaction
]
REFUSED: list[Step] = [
    ("batches.tasks.lifecycle.fail", "before", 1),
    ("batches.webhooks.outbox.announce_task", "after", 1),
    ("batches.tasks.lifecycle.fail", "after", 1),
    ("speechportal.storage.backends.local.LocalStore.move", "after", 1),
    ("speechportal.storage.backends.local.LocalStore.put", "after", 1),  # the reason
]


def name_of(step: Step) -> str:
    path, when, call = step
    return f"{when}-{'.'.join(path.split('.')[-2:])}-{call}"


def die_at(step: Step) -> None:
    path, when, call = step
    owner_path, _, name = path.rpartition(".")
    try:
        owner: Any = importlib.import_module(owner_path)
    except ModuleNotFoundError:
        module, _, kind = owner_path.rpartition(".")
        owner = getattr(importlib.import_module(module), kind)
    real: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def killed(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if when == "before" and calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        outcome = real(*arguments, **options)
        if when == "after" and calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return outcome

    setattr(owner, name, killed)


def run_and_die(step: Step, job: Callable[[], None]) -> None:
    """Run a job in a separate process; fails unless the process dies at the step."""
    connection.close()
    pid = os.fork()
    if pid == 0:
        try:
            die_at(step)
            job()
        finally:
            os._exit(3)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), f"the step was not reached: status {status}"
    assert os.WTERMSIG(status) == signal.SIGKILL


def time_passes() -> None:
    """Let every lease expire and every wait end."""
    past = timezone.now() - timedelta(hours=1)
    Task.unscoped.filter(lease_expires_at__isnull=False).update(lease_expires_at=past)
    Task.unscoped.filter(move_due_at__isnull=False).update(move_due_at=past)
    Task.unscoped.filter(state=Task.State.WAITING).update(available_at=past)
    Batch.unscoped.update(last_finished_at=past, held_until=None)
    ExecutionResult.unscoped.filter(written_at=None).update(due_at=past)


def others_go_on(engine: Engine) -> None:
    """Run the work of the scheduler and the other workers."""
    time_passes()
    lifecycle.reap()
    time_passes()
    while scheduling.claimable().exists():
        work(engine)
    time_passes()
    for task_id in moving.due():
        moving.move_input(task_id)
    report()


def report() -> None:
    execution_results.collect_idle()
    time_passes()
    for result_id in execution_results.due():
        execution_results.write(result_id)


def work_and_report(engine: Engine) -> None:
    work(engine)
    time_passes()
    report()


@pytest.fixture
def batch(settings: Settings) -> Batch:
    settings.SETTLE_SECONDS = 0
    settings.IDLE_SECONDS = 60
    return make_batch(
        name="calls", speakers=True, formats=["json", "srt"], webhook_url="https://example.com/hook"
    )


def rows_of(batch: Batch) -> list[dict[str, str]]:
    rows = []
    for result in ExecutionResult.unscoped.filter(batch=batch):
        text = (folder(batch) / result.key).read_bytes().decode("utf-8-sig")
        rows += list(csv.DictReader(io.StringIO(text)))
    return rows


def judge(batch: Batch, task: Task) -> None:
    """Check for one report row, one event of task and report each, and no leftover files."""
    assert [row["task ID"] for row in rows_of(batch)] == [task.uid]
    events = list(Delivery.unscoped.order_by("pk").values_list("event", flat=True))
    assert len(events) == len(set(events)) == 2
    assert task.move_due_at is None
    assert task.moved_at is not None


@pytest.mark.parametrize("step", WORK + REPORT, ids=name_of)
def test_the_file_ends_as_if_nothing_had_happened(batch: Batch, step: Step) -> None:
    drop(batch, "통화.mp3")
    run_and_die(step, lambda: work_and_report(Engine()))
    engine = Engine()
    others_go_on(engine)
    task = Task.unscoped.get()
    assert task.state == Task.State.COMPLETED
    assert files(batch) == {
        "in/calls/통화.mp3",
        "out/통화.mp3.json",
        "out/통화.mp3.srt",
        "out/calls-execution-result-00001.csv",
    }
    assert json.loads((folder(batch) / "out/통화.mp3.json").read_text())["token"] == task.uid
    assert Charge.unscoped.get().task == task
    assert ResultFile.unscoped.filter(written_at__isnull=False).count() == 2
    judge(batch, task)
    if step[0].endswith("checkpoint"):  # What was recognised is not recognised again.
        assert engine.calls == (["add_speakers"] if step[2] == 1 else [])


@pytest.mark.parametrize("step", REFUSED, ids=name_of)
def test_a_file_that_is_no_recording_fails_once(batch: Batch, step: Step) -> None:
    def refuse() -> None:
        raise NotMedia("This is not an audio or video file.")

    engine = Engine()
    engine.during["transcribe"] = refuse
    drop(batch, "a.mp3")
    run_and_die(step, lambda: work_and_report(engine))
    others_go_on(engine)
    task = Task.unscoped.get()
    assert (task.state, task.error_code) == (Task.State.FAILED, "not_media")
    assert not Charge.unscoped.exists()
    assert files(batch) == {
        "in/calls/failed/a.mp3",
        "in/calls/failed/a.mp3.reason.txt",
        "out/calls-execution-result-00001.csv",
    }
    judge(batch, task)
