"""Reprocessing: applies a domain's current text rules to its existing transcripts, without recognition.

A request sets a due time on each transcript; a job of the scheduler processes a few at a time and rewrites
their result files. Redacted data stays redacted, even if the domain redacts less now.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from batches.formats.lines import words_of
from batches.models import CorrectedWord, Correction, ResultFile, StoredTranscript, Task
from batches.models.stored_transcript import PreparedTranscript
from batches.models.task_settings import TaskSettings
from batches.postprocessing.transcript import redacted_texts
from batches.recognition.transcript import Transcript
from batches.transcripts import corrections, search
from batches.worker import muted_copy
from domains.models import Domain
from speechportal.accounts.audit import trail
from speechportal.platform import queue
from speechportal.storage.errors import StorageError

logger = logging.getLogger(__name__)
AT_ONCE = 50
RETRY = timedelta(minutes=15)
JOB = "batches.operations.jobs.reprocess_transcripts"


def transcripts_of(domain: Domain) -> QuerySet[StoredTranscript]:
    """Completed transcripts of the batch that uses the domain."""
    return StoredTranscript.unscoped.filter(task__batch__domain=domain, task__state=Task.State.COMPLETED)


def request(*, domain: Domain) -> int:
    """Schedule the reprocessing of the domain's transcripts. Returns how many there are."""
    with transaction.atomic():
        count = transcripts_of(domain).update(reprocess_due_at=timezone.now())
        trail.record("domain.reprocessed", domain, changes={"transcripts": [None, count]})
        if count:
            queue.enqueue(JOB)
    return count


def delete_originals(*, domain: Domain) -> int:
    """Delete the unredacted originals of the domain's transcripts. Returns how many there were."""
    kept = transcripts_of(domain).exclude(original="").select_related("task__account")
    count = 0
    for row in kept.iterator(chunk_size=100):
        count += _delete_original(row)
    trail.record("domain.originals_deleted", domain, changes={"transcripts": [count, None]})
    return count


def delete_original(*, task: Task) -> bool:
    """Delete the unredacted original of one transcript; the published transcript does not change."""
    row = (
        StoredTranscript.unscoped.select_related("task__account")
        .filter(task=task)
        .exclude(original="")
        .first()
    )
    if row is None or not _delete_original(row):
        return False
    trail.record("task.originals_deleted", task)
    return True


def _delete_original(row: StoredTranscript) -> bool:
    """Delete the original: replacements can still be reprocessed, redacted data can no longer be shown."""
    chosen = row.task.settings or TaskSettings()
    if not chosen.redaction:
        return False
    settings = dataclasses.replace(
        chosen, redaction=dataclasses.replace(chosen.redaction, keep_original=False)
    )
    stored = PreparedTranscript.of(row.task, row.recognised(), settings, final=True)
    with transaction.atomic():
        StoredTranscript.unscoped.filter(pk=row.pk, original=row.original).update(original=stored.original)
        Task.unscoped.filter(pk=row.task_id).update(settings=settings)
    return True


def due() -> list[int]:
    rows = StoredTranscript.unscoped.filter(reprocess_due_at__lte=timezone.now()).order_by("reprocess_due_at")
    return list(rows.values_list("pk", flat=True)[:AT_ONCE])


def reprocess(transcript_id: int) -> None:
    """Apply the rules to one transcript and rewrite its result files. Idempotent."""
    again_at = timezone.now() + RETRY
    mine = StoredTranscript.unscoped.filter(pk=transcript_id, reprocess_due_at__lte=timezone.now())
    if not mine.update(reprocess_due_at=again_at):
        return
    task = apply(transcript_id)
    try:
        if task is not None and ResultFile.unscoped.filter(task=task, written_at__isnull=False).exists():
            corrections.write_result_files(task)
            muted_copy.renew(task)
    except (StorageError, ValidationError) as error:
        name = type(error).__name__
        logger.warning("transcript %s: the result files could not be rewritten yet: %s", transcript_id, name)
        return
    StoredTranscript.unscoped.filter(pk=transcript_id, reprocess_due_at=again_at).update(
        reprocess_due_at=None
    )


def apply(transcript_id: int) -> Task | None:
    """Apply the domain's current rules to a transcript, its corrections and its search text."""
    with transaction.atomic():
        row = (
            StoredTranscript.unscoped.select_for_update(of=("self",))
            .select_related("task__account", "task__batch__domain", "task__connection")
            .filter(pk=transcript_id)
            .first()
        )
        if row is None or row.task.batch.domain is None:
            return None
        task, domain = row.task, row.task.batch.domain
        chosen = task.settings or TaskSettings()
        today = task.current_settings()
        chosen = dataclasses.replace(
            chosen,
            replacements=domain.replacements,
            forbidden=today.forbidden,
            forbidden_action=today.forbidden_action,
            redaction=domain.redaction.at_least(chosen.redaction),
        )
        before = row.published()
        stored = PreparedTranscript.of(task, row.recognised(), chosen, final=True)
        Task.unscoped.filter(pk=task.pk).update(settings=chosen)
        values = {"document": stored.document, "original": stored.original}
        StoredTranscript.unscoped.filter(pk=row.pk).update(**values)
        task.settings = chosen
        correction = Correction.unscoped.select_for_update().filter(task=task).first()
        if correction is not None:
            _apply_to_corrections(correction, before, stored.published, chosen.redaction.kinds)
        search.index(task, stored.published, correction)
    return task


def _apply_to_corrections(
    correction: Correction, before: Transcript, after: Transcript, kinds: Mapping[str, str]
) -> None:
    """Adapt corrections to a reprocessed transcript.

    The undo history is deleted, since earlier states of lines may contain data that is redacted now.
    """
    task = correction.task
    correction.lines = moved_lines(correction.lines, before, after)
    draft = corrections.draft_of(task, after, correction)
    corrections.redact(draft, kinds)
    correction.lines, correction.speaker_names, correction.history = draft.edits, draft.names, []
    correction.save(update_fields=["lines", "speaker_names", "history"])
    noted = list(CorrectedWord.unscoped.filter(task=task))
    heard = [f"{word.heard} {word.written}" for word in noted]
    gone = [
        word.pk
        for word, text, redacted in zip(noted, heard, redacted_texts(heard, kinds), strict=True)
        if text != redacted
    ]
    CorrectedWord.unscoped.filter(pk__in=gone).delete()


def moved_lines(lines: Mapping[str, Any], before: Transcript, after: Transcript) -> dict[str, Any]:
    """Corrected lines with their spans converted from word indices of ``before`` to those of ``after``."""
    moved: dict[str, Any] = {}
    for uid, line in lines.items():
        if line is not None:
            spans = [
                [at, _moved(before, after, at, first), _moved(before, after, at, stop)]
                for at, first, stop in line["spans"]
            ]
            line = {**line, "spans": spans}
        moved[uid] = line
    return moved


def _moved(before: Transcript, after: Transcript, segment: int, place: int) -> int:
    """Convert a word index of a segment in ``before`` to the index in ``after`` with the same start time."""
    old, new = words_of(before.segments[segment]), words_of(after.segments[segment])
    if place >= len(old):
        return len(new)
    return sum(word.start < old[place].start for word in new)
