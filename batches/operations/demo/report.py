"""Output of the demo, and the check that everything it should have produced is there."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import TextIO

from batches.models import Charge, ExecutionResult, Task
from batches.operations.demo.recordings import RECORDINGS, Recording
from batches.operations.demo.scene import Scene
from batches.worker.moving import REASON_ENDING

MARKS = {Task.State.COMPLETED: "✓", Task.State.FAILED: "✗", Task.State.IN_PROGRESS: "…"}


class LiveProgress:
    """Prints one line per change of a task, for terminals and logs alike."""

    def __init__(self, scene: Scene, out: TextIO) -> None:
        self.scene = scene
        self.out = out
        self._seen: dict[int, tuple[str, str, int]] = {}

    def show(self) -> bool:
        """Print what changed. Returns whether the run is over, results, moves and reports included."""
        tasks = self.scene.tasks()
        for task in tasks:
            state = (task.state, task.stage, task.progress // 25)
            if self._seen.get(task.pk) != state:
                self._seen[task.pk] = state
                self._line(task, tasks)
        return is_over(self.scene, tasks)

    def _line(self, task: Task, tasks: list[Task]) -> None:
        done = sum(other.is_final for other in tasks)
        what = task.get_state_display()
        if task.state == Task.State.IN_PROGRESS:
            what = f"{task.get_stage_display()} {task.progress} %"
        if task.state == Task.State.FAILED:
            what = f"{what}: {task.error_message}"
        mark = MARKS.get(Task.State(task.state), "·")
        print(f"  [{done:2}/{len(RECORDINGS)}] {mark} {task.name:<28} {what}", file=self.out, flush=True)


def is_over(scene: Scene, tasks: list[Task]) -> bool:
    return (
        len(tasks) >= len(RECORDINGS)
        and all(task.is_final and task.move_due_at is None for task in tasks)
        and all(task.execution_result_id for task in tasks)
        and not ExecutionResult.unscoped.filter(batch=scene.batch, written_at=None).exists()
    )


def problems(scene: Scene) -> Iterator[str]:
    """Problems at the end of the run, one sentence each."""
    tasks = {task.name: task for task in scene.tasks()}
    for recording in RECORDINGS:
        task = tasks.pop(recording.name, None)
        found = _problems_of(task, recording, scene) if task else iter(["no task"])
        yield from (f"{recording.name}: {problem}" for problem in found)
    yield from (f"{name}: an unexpected task" for name in tasks)
    charged = Charge.unscoped.filter(batch=scene.batch, task__task_order__gt=scene.run.after_order).count()
    if charged != sum(recording.is_media for recording in RECORDINGS):
        yield f"{charged} charges"


def _problems_of(task: Task, recording: Recording, scene: Scene) -> Iterator[str]:
    store = scene.store
    expected = Task.State.COMPLETED if recording.is_media else Task.State.FAILED
    if task.state != expected:
        yield f"{task.state} instead of {expected} {task.error_message}"
    if store.stat(task.input_key) is not None or store.stat(task.moved_key) is None:
        yield "not moved"
    if not recording.is_media:
        if store.stat(f"{task.moved_key}{REASON_ENDING}") is None:
            yield "no reason beside the failed file"
        return
    files = list(task.result_files.all())
    if len(files) != len(scene.batch.formats):
        yield f"{len(files)} result files"
    yield from (f"no result {file.key}" for file in files if store.stat(file.key) is None)


def print_report(scene: Scene, out: TextIO) -> None:
    tasks = scene.tasks()
    heading("Transcripts", out)
    for task in tasks:
        file = next((file for file in task.result_files.all() if file.format == "txt"), None)
        if file is not None:
            with scene.store.open(file.key) as stream:
                text = stream.read().decode().strip()
            print(f"\n--- {task.name}\n{text or '(no speech)'}", file=out)
    heading("Execution results", out)
    results = ExecutionResult.unscoped.filter(tasks__in=tasks).distinct().order_by("number")
    for result in results:
        with scene.store.open(result.key) as stream:
            rows = list(csv.reader(io.TextIOWrapper(stream, "utf-8-sig")))
        print(f"\n{result.key}", file=out)
        for row in rows:
            print("  " + " | ".join(row[:8]), file=out)
    heading("Charges", out)
    charges = Charge.unscoped.filter(task__in=tasks).order_by("pk")
    for charge in charges:
        print(
            f"  {charge.uid}  {charge.amount} {charge.currency}"
            f"  {charge.media_duration / 1000:6.1f} s  {charge.input_name}",
            file=out,
        )
    print(f"  {len(charges)} files, {sum(charge.amount for charge in charges)} in all", file=out)


def heading(title: str, out: TextIO) -> None:
    print(f"\n== {title} {'=' * max(60 - len(title), 0)}", file=out)
