"""Invariants at the end of a run, checked in the database and directly in the bucket."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from batches.formats import FORMATS
from batches.models import Batch, Charge, Delivery, ExecutionResult, PendingFile, ResultFile, Task
from speechportal.storage.backends.base import Folder, ObjectStore
from tests.chaos.inputs import Input


@dataclass
class Verdict:
    faults: list[str] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)

    def expect(self, fact: bool, sentence: str) -> None:
        if not fact:
            self.faults.append(sentence)


def unfinished(expected: int) -> list[str]:
    """Descriptions of the remaining work; empty once everything is done."""
    tasks = Task.unscoped.all()
    waiting = {
        "inputs are not found yet": expected - tasks.count(),
        "tasks are not over": tasks.exclude(state__in=Task.FINAL).count(),
        "inputs are not moved": tasks.exclude(move_due_at=None).count(),
        "tasks are not reported": tasks.filter(state__in=Task.REPORTED, execution_result=None).count(),
        "reports are not written": ExecutionResult.unscoped.filter(written_at=None).count(),
        "files are about to settle": PendingFile.unscoped.count(),
        "messages are not sent": Delivery.unscoped.filter(ended_at=None).count(),
        "batches are in Error": Batch.unscoped.filter(status=Batch.Status.ERROR).count(),
    }
    return [f"{count} {what}" for what, count in waiting.items() if count]


def walk(store: ObjectStore, path: str = "") -> dict[str, int]:
    """Sizes of all objects below ``path``, by key."""
    found: dict[str, int] = {}
    for entry in store.list_level(path):
        if isinstance(entry, Folder):
            found |= walk(store, entry.path)
        else:
            found[entry.key] = entry.size
    return found


def judge(
    dropped: dict[Batch, list[Input]], store: ObjectStore, accepted: dict[str, int], work_dir: Path
) -> Verdict:
    verdict = Verdict()
    files = walk(store)
    explained: set[str] = set()
    for batch, inputs in dropped.items():
        for one in inputs:
            explained |= _judge_input(verdict, batch, one, store, files)
    explained |= _judge_reports(verdict, store)
    verdict.expect(Charge.unscoped.count() == verdict.counted["charges"], "there are charges for nothing")
    for key in sorted(set(files) - explained):
        verdict.faults.append(f"nobody knows of {key!r}")
    for key in sorted(explained - set(files)):
        verdict.faults.append(f"{key!r} is missing")
    workspaces = [path.name for path in work_dir.glob("tsk_*")]
    verdict.expect(len(workspaces) <= 2, f"work was left behind: {workspaces}")
    _judge_messages(verdict, accepted)
    return verdict


def _judge_input(
    verdict: Verdict, batch: Batch, one: Input, store: ObjectStore, files: dict[str, int]
) -> set[str]:
    """Check one input; returns the keys that belong to it."""
    verdict.counted["inputs"] += 1
    tasks = list(Task.unscoped.filter(batch=batch, name=one.name))
    verdict.expect(len(tasks) == 1, f"{one.name!r} has {len(tasks)} tasks: {tasks and tasks[0].state}")
    if len(tasks) != 1:
        return set()
    task = tasks[0]
    verdict.counted[f"tasks {task.state}"] += 1
    charges = Charge.unscoped.filter(task=task).count()
    verdict.counted["charges"] += charges
    verdict.counted["attempts"] += task.attempts
    moved = store.open(task.moved_key).read() if task.moved_key in files else b""
    same = hashlib.sha256(moved).digest() == hashlib.sha256(one.data).digest() and task.moved_key in files
    verdict.expect(same, f"{one.name!r} was not moved whole to {task.moved_key!r} ({task.notice})")
    verdict.expect(task.moved_at is not None, f"{one.name!r}: the move is not noted")
    explained = {task.moved_key}
    results = list(ResultFile.unscoped.filter(task=task))
    if one.error_code:
        told = (task.state, task.error_code) == (Task.State.FAILED, one.error_code)
        verdict.expect(
            told, f"{one.name!r} is {task.state} {task.error_code!r}, not failed {one.error_code!r}"
        )
        verdict.expect(
            (charges, results) == (0, []), f"{one.name!r} failed and has {charges} charges, {results}"
        )
        return explained | {f"{task.moved_key}.reason.txt"}
    told = (task.state, charges) == (Task.State.COMPLETED, 1)
    verdict.expect(told, f"{one.name!r} is {task.state} {task.error_code!r} with {charges} charges")
    formats = [result.format for result in results]
    verdict.expect(sorted(formats) == sorted(batch.formats), f"{one.name!r} has results {formats}")
    for result in results:
        explained.add(result.key)
        data = store.open(result.key).read() if result.key in files else b""
        verdict.expect(_is_valid(result, task, data), f"{result.key!r} is no valid result: {data[:80]!r}")
        verdict.counted["results"] += 1
    return explained


def _is_valid(result: ResultFile, task: Task, data: bytes) -> bool:
    if result.format not in FORMATS or len(data) != result.size:
        return False
    if result.format != "json":
        return True
    document = json.loads(data)
    return (document["result"], document["token"]) == ("COMPLETED", task.uid)


def _judge_reports(verdict: Verdict, store: ObjectStore) -> set[str]:
    rows: Counter[str] = Counter()
    keys = set()
    for result in ExecutionResult.unscoped.all():
        keys.add(result.key)
        text = store.open(result.key).read().decode("utf-8-sig")
        listed = [row["task ID"] for row in csv.DictReader(io.StringIO(text))]
        verdict.expect(len(listed) == result.task_count <= 10, f"{result.key!r} lists {len(listed)} tasks")
        rows.update(listed)
    for uid in Task.unscoped.values_list("uid", flat=True):
        verdict.expect(rows[uid] == 1, f"{uid} has {rows[uid]} rows")
    verdict.counted["CSV rows"] = sum(rows.values())
    return keys


def _judge_messages(verdict: Verdict, accepted: dict[str, int]) -> None:
    """Check that there is one event per task and report, each accepted under its own ID."""
    deliveries = Delivery.unscoped.filter(kind=Delivery.WEBHOOK)
    of_tasks = Counter(deliveries.exclude(task=None).values_list("task", flat=True))
    for task_id in Task.unscoped.values_list("pk", flat=True):
        verdict.expect(of_tasks[task_id] == 1, f"task {task_id} has {of_tasks[task_id]} events")
    known = set(deliveries.values_list("uid", flat=True))
    verdict.expect(set(accepted) <= known, "a message arrived that nobody knows of")
    missing = known - set(accepted)
    verdict.expect(not missing, f"{len(missing)} messages never arrived")
    verdict.counted["events"] = len(known)
    verdict.counted["messages accepted"] = sum(accepted.values())
