"""Correcting a transcript: its lines, its speakers, and writing the corrected result files again.

The recognised transcript never changes: a :class:`~batches.models.Correction` keeps what differs, and every
format is made from both. A change takes the row's lock and is refused where it was made on a line that
somebody else has changed meanwhile, so that two people lose nothing of each other's.
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
    """The transcript as recognised. Raises ``ValidationError`` where there is none yet."""
    stored = StoredTranscript.unscoped.filter(task=task).first()
    if stored is None:
        raise ValidationError(_("There is no transcript to correct."), code="no_transcript")
    return stored.published()


def draft_of(task: Task, transcript: Transcript, correction: Correction | None = None) -> Draft:
    """The lines and names as they are now, to read or to edit."""
    correction = correction or Correction.unscoped.filter(task=task).first() or Correction(task=task)
    return Draft(transcript, copy.deepcopy(correction.lines), dict(correction.speaker_names))


def change(*, task: Task, edit: Callable[[Draft], object], by: User | None) -> Correction:
    """Let ``edit`` change the draft, and save it with who, when and how to undo it, if it did change.

    Raises whatever ``edit`` raises; then nothing is saved.
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
                trail.record("task.corrected", task)  # Not what it says: staff sees the trail.
    return correction


def undo(*, task: Task, by: User | None) -> Correction:
    """Take back the person's own latest change. Raises ``ValidationError`` where that is not possible."""
    return _turn(task, by, history.undo)


def redo(*, task: Task, by: User | None) -> Correction:
    """Make the change again that the person undid last."""
    return _turn(task, by, history.redo)


def correct_text(*, task: Task, index: int, text: str, by: User | None, tag: str | None = None) -> Correction:
    """Give line ``index``, counted as in ``segments`` of the result, another text.

    Raises ``ValidationError`` for a line that is not there or a text that is too long, and ``Conflict`` where
    ``tag`` is not the line's.
    """

    def edit(draft: Draft) -> None:
        lines = draft.lines
        if not 0 <= index < len(lines):
            raise ValidationError(_("The transcript has no such line."), code="no_segment")
        draft.set_text(lines[index].uid, text, tag)

    return change(task=task, edit=edit, by=by)


def redacted_kinds(task: Task) -> Mapping[str, str]:
    """Kinds that a member's text must not show either, with the action for each."""
    return task.settings.redaction.kinds if task.settings else {}


def redact(draft: Draft, kinds: Mapping[str, str]) -> None:
    """Redact a draft in place: its texts as lines of the whole transcript, and the speakers' names."""
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
    """Note for proposals what members made of lines that still are one recognised segment."""
    segments = len(after.transcript.segments)
    for uid in {*before.edits, *after.edits}:
        if before.edits.get(uid, "") == after.edits.get(uid, "") or int(uid) >= segments:
            continue
        is_gone = uid in after.edits and after.edits[uid] is None
        proposals.note(task, int(uid), after.transcript, None if is_gone else after.line(uid).text)


def name_speakers(*, task: Task, names: dict[str, str], by: User | None) -> Correction:
    """Name speakers by their labels, for all formats at once. An empty name gives the letter back.

    Raises ``ValidationError`` for a label that is not there or a name that is too long.
    """
    return change(task=task, edit=lambda draft: draft.name(names), by=by)


def publish(*, task: Task) -> int:
    """Write the task's result files again, as corrected, under the names they have. Returns how many.

    Raises ``ValidationError`` where there is nothing to write to, or with what the storage says.
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
    """Write what the task's result files say today, under the names they have. Returns how many.

    Raises ``StorageError``, and ``ValidationError`` where there is no transcript.
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
