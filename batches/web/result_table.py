"""Content of an execution result as a table for people: headings in their language, times in their zone."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from batches.models import ExecutionResult, Task
from batches.models.batch import CSV_COLUMN_TITLES, CSV_COLUMNS
from batches.reports import execution_results
from batches.status.failures import failure_of_task

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

HEADINGS: dict[str, _StrOrPromise] = {
    "task order": _("Order"),
    "input file name": _("Input file name"),
    "result file name": _("Result file name"),
    "recognition duration": _("Recognition (s)"),
    "start time": _("Started"),
    "completion time": _("Finished"),
    "execution result": _("Result"),
    "cause": _("Cause"),
    "media duration": _("Media (s)"),
    "task ID": _("Task ID"),
    "confidence": _("Confidence"),
    "no-speech share": _("Share without speech"),
    "mean log-probability": _("Mean log-probability"),
    "flags": _("Remarks"),
    **{CSV_COLUMN_TITLES[name]: label for name, label in CSV_COLUMNS},
}
ENDS = {"Completed": Task.State.COMPLETED, "Failed": Task.State.FAILED}


def _time(value: str) -> datetime | str:
    return datetime.fromisoformat(value) if value else ""


def _end(value: str) -> str:
    return str(ENDS[value].label) if value in ENDS else value


READERS: dict[str, Callable[[str], datetime | str]] = {
    "start time": _time,
    "completion time": _time,
    "execution result": _end,
}


def table(result: ExecutionResult) -> tuple[list[str], list[list[datetime | str]]]:
    """Headings and rows of the result's CSV file, which itself stays the same in every language."""
    text = execution_results.render(result).decode("utf-8-sig")
    header, *rows = csv.reader(io.StringIO(text))
    headings = [str(HEADINGS.get(name, gettext(name))) for name in header]
    failures = {task.uid: failure_of_task(task) for task in result.tasks.filter(state=Task.State.FAILED)}
    found = []
    for row in rows:
        values = dict(zip(header, row, strict=True))
        if failure := failures.get(values["task ID"]):
            values["cause"] = failure.sentence
        found.append([READERS.get(name, str)(value) for name, value in values.items()])
    return headings, found
