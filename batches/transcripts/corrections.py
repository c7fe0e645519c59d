"""Corrections of a transcript: edits of lines and speakers, and rewriting of the result files.

The recognised transcript never changes: a :class:`~batches.models.Correction` stores the differences, and
every format is rendered from both. A change locks the row and is rejected if another person has changed the
same line in the meantime (optimistic locking), so that no edit is lost.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from batches.formats import FORMATS, render
from batches.formats.characters import one_line
from batches.models import Correction, ResultFile, StoredTranscript, Task
from batches.postprocessing.transcript import redacted_texts
from batches.recognition.transcript import Transcript
from batches.transcripts import history, proposals, search
from batches.transcripts.drafts import Draft
from batches.worker import result_files
from speechportal.accounts.audit import trail
from speechportal.accounts.models import User
from speechportal.storage.errors import StorageError


def transcript_of(task: Task) -> Transcript:
    """Transcript as recognised. Raises ``ValidationError`` if there is none yet."""
    stored = StoredTranscript.unscoped.filter(task=task).first()
    if stored is None:
        raise ValidationError(_("There is no transcript to correct."), code="no_transcript")
    return stored.published()


def draft_of(task: Task, transcript: Transcript, correction: Correction | None = None) -> Draft:
    """Draft with the current lines and speaker names, to read or to edit."""
    correction = correction or Correction.unscoped.filter(task=task).first() or Correction(task=task)
    return Draft(transcript, copy.deepcopy(correction.lines), dict(correction.speaker_names))


def change(*, task: Task, edit: Callable[[Draft], object], by: User | None) -> Correction:
    """Apply ``edit`` to the draft and, if it changed, save it with its author, time and undo entry.

    Exceptions from ``edit`` propagate; nothing is saved then.
    """
    transcript = transcript_of(task)
    with transaction.atomic():
        correction = _locked(task)
        before = draft_of(task, transcript, correction)
        draft = draft_of(task, transcript, correction)
        edit(draft)
        redact(draft, redacted_kinds(task))
        if (draft.edits, draft.names) != (before.edits, before.names):
            number, now = correction.version + 1, timezone.now()
            is_new = history.record(correction.history, before, draft, number, by.pk if by else None, now)
            _save(correction, draft, by)
            _note_words(task, before, draft)
            if is_new:
                trail.record("task.corrected", task)  # Without the text: staff reads the audit trail.
    return correction


def undo(*, task: Task, by: User | None) -> Correction:
    """Undo the person's own latest change. Raises ``ValidationError`` if that is not possible."""
    return _turn(task, by, history.undo)


def redo(*, task: Task, by: User | None) -> Correction:
    """Redo the change that the person undid last."""
    return _turn(task, by, history.redo)


def correct_text(*, task: Task, index: int, text: str, by: User | None, tag: str | None = None) -> Correction:
    """Set the text of line ``index``, an index into ``segments`` of the result.

    Raises ``ValidationError`` for a line that does not exist or a text that is too long, and ``Conflict`` if
    ``tag`` is not the line's current tag.
    """

    def edit(draft: Draft) -> None:
        lines = draft.lines
        if not 0 <= index < len(lines):
            raise ValidationError(_("The transcript has no such line."), code="no_segment")
        draft.set_text(lines[index].uid, text, tag)

    return change(task=task, edit=edit, by=by)


def redacted_kinds(task: Task) -> Mapping[str, str]:
    """Kinds of sensitive data to redact in members' corrections as well, with the action for each."""
    return task.settings.redaction.kinds if task.settings else {}


def redact(draft: Draft, kinds: Mapping[str, str]) -> None:
    """Redact a draft in place: its lines, in the context of the whole transcript, and the speaker names."""
    if not kinds:
        return
    lines = draft.lines
    texts = [one_line(draft.text_of(line)).strip() for line in lines]
    for line, text, redacted in zip(lines, texts, redacted_texts(texts, kinds), strict=True):
        if redacted != text:
            draft.set_text(line.uid, redacted)
    for label, name in draft.names.items():
        draft.names[label] = redacted_texts([name], kinds)[0]


def _note_words(task: Task, before: Draft, after: Draft) -> None:
    """Record word corrections for proposals, from lines that correspond to one recognised segment."""
    segments = len(after.transcript.segments)
    for uid in {*before.edits, *after.edits}:
        if before.edits.get(uid, "") == after.edits.get(uid, "") or int(uid) >= segments:
            continue
        is_gone = uid in after.edits and after.edits[uid] is None
        proposals.note(task, int(uid), after.transcript, None if is_gone else after.line(uid).text)


def name_speakers(*, task: Task, names: dict[str, str], by: User | None) -> Correction:
    """Set the names of speakers by label, for all formats at once. An empty name restores the letter.

    Raises ``ValidationError`` for an unknown label or a name that is too long.
    """
    return change(task=task, edit=lambda draft: draft.name(names), by=by)


def publish(*, task: Task) -> int:
    """Rewrite the task's result files with the corrections, under the same names. Returns how many.

    Raises ``ValidationError`` if there are no files to rewrite, or with the storage's error.
    """
    if task.connection is None or task.state != Task.State.COMPLETED:
        raise ValidationError(
            _("Only the results of a completed task can be published."), code="not_completed"
        )
    began_at = timezone.now()
    try:
        written = write_result_files(task)
    except StorageError as error:
        raise ValidationError(str(error), code=error.code) from error
    Correction.unscoped.filter(task=task).update(published_at=began_at)
    trail.record("task.published", task)
    return written


def write_result_files(task: Task) -> int:
    """Rewrite the task's result files from the current transcript, under the same names. Returns how many.

    Raises ``StorageError``, and ``ValidationError`` if there is no transcript.
    """
    if task.connection is None:
        return 0
    transcript, context = transcript_of(task), result_files.result_context(task)
    store, written = task.connection.store(), 0
    for file in ResultFile.unscoped.filter(task=task, written_at__isnull=False, format__in=FORMATS):
        data = render(file.format, transcript, context)
        stored = store.put(file.key, data, content_type=FORMATS[file.format].content_type)
        ResultFile.unscoped.filter(pk=file.pk).update(
            written_at=timezone.now(), size=stored.size, version=stored.version
        )
        written += 1
    return written


Turn = Callable[[list[history.Entry], Draft, int, int | None], None]


def _turn(task: Task, by: User | None, turn: Turn) -> Correction:
    transcript = transcript_of(task)
    with transaction.atomic():
        correction = _locked(task)
        draft = draft_of(task, transcript, correction)
        before = draft_of(task, transcript, correction)
        turn(correction.history, draft, correction.version + 1, by.pk if by else None)
        redact(draft, redacted_kinds(task))
        _save(correction, draft, by)
        _note_words(task, before, draft)
        trail.record("task.corrected", task)
    return correction


def _locked(task: Task) -> Correction:
    Correction.unscoped.get_or_create(task=task)
    return Correction.unscoped.select_for_update().get(task=task)


def _save(correction: Correction, draft: Draft, by: User | None) -> None:
    correction.lines, correction.speaker_names = draft.edits, draft.names
    correction.version += 1
    correction.changed_by, correction.changed_at = by, timezone.now()
    correction.save()
    search.index(correction.task, draft.transcript, correction)
