"""Keyword statistics: counts the keywords of a finished task for its domain."""

from __future__ import annotations

import logging

from django.db import DatabaseError

from batches.models import Task
from batches.postprocessing.keyword_counts import keyword_counts
from batches.recognition.transcript import Transcript
from domains import keyword_use
from domains.keyword_use import Counts

logger = logging.getLogger(__name__)


def note(task: Task, transcript: Transcript) -> None:
    """Add the task's keywords to its domain's counts. After a database error only the counts are lost."""
    domain = task.batch.domain
    if domain is None or task.settings is None or not task.settings.keywords:
        return
    counts = {
        keyword: Counts(heard=times)
        for keyword, times in keyword_counts(transcript.text, task.settings.keywords).items()
    }
    for outcome in transcript.keywords:
        own = counts.setdefault(outcome.text, Counts())
        own.accepted, own.refused = outcome.accepted, outcome.refused
    try:
        keyword_use.note(domain, counts)
    except DatabaseError as error:
        logger.warning("task %s: keywords not counted: %s", task.uid, error)
