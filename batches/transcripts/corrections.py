"""Corrections of transcripts: texts of segments and names of speakers, and publishing them to result files.

The stored transcript never changes: a :class:`~batches.models.Correction` is applied to it, and every format
is made from both. A change takes the row's lock, so that concurrent corrections of different segments are
both kept.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from batches.formats import FORMATS, render
from batches.formats.characters import one_line
from batches.formats.context import default_speaker_name
from batches.models import Correction, ResultFile, StoredTranscript, Task
from batches.recognition.transcript import Transcript
from batches.transcripts import search
from batches.worker import result_files
from speechportal.accounts.audit import trail
from speechportal.accounts.models import User
from speechportal.storage.errors import StorageError

TEXT_LENGTH = 5000
NAME_LENGTH = 60


def transcript_of(task: Task) -> Transcript:
    """Stored transcript of a task. Raises ``ValidationError`` if there is none yet."""
    checkpoint = StoredTranscript.unscoped.filter(task=task).first()
    if checkpoint is None:
        raise ValidationError(_("There is no transcript to correct."), code="no_transcript")
    return Transcript.from_dict(checkpoint.document)


def correct_text(*, task: Task, index: int, text: str, by: User | None) -> Correction:
    """Correct the text of segment ``index``. The recognised text removes the correction.

    Raises ``ValidationError`` for an unknown segment or a text that is too long.
    """
    transcript = transcript_of(task)
    if not 0 <= index < len(transcript.segments):
        raise ValidationError(_("The transcript has no such line."), code="no_segment")
    text = one_line(unicodedata.normalize("NFC", text)).strip()
    if len(text) > TEXT_LENGTH:
        raise ValidationError(
            _("A line has at most %(limit)d characters."), code="too_long", params={"limit": TEXT_LENGTH}
        )
    with _changing(task, by) as correction:
        correction.texts.pop(str(index), None)
        if text != one_line(transcript.segments[index].text).strip():
            correction.texts[str(index)] = text
    return correction


def name_speakers(*, task: Task, names: dict[str, str], by: User | None) -> Correction:
    """Name speakers by their labels, for all formats. An empty name restores the default letter.

    Raises ``ValidationError`` for an unknown label or a name that is too long.
    """
    known = set(transcript_of(task).speakers)
    if unknown := set(names) - known:
        raise ValidationError(
            _("The transcript has no speaker %(label)s."),
            code="no_speaker",
            params={"label": ", ".join(sorted(unknown))},
        )
    cleaned = {label: one_line(unicodedata.normalize("NFC", name)).strip() for label, name in names.items()}
    if any(len(name) > NAME_LENGTH for name in cleaned.values()):
        raise ValidationError(
            _("A speaker’s name has at most %(limit)d characters."),
            code="too_long",
            params={"limit": NAME_LENGTH},
        )
    with _changing(task, by) as correction:
        for label, name in cleaned.items():
            correction.speaker_names.pop(label, None)
            if name and name != default_speaker_name(label):
                correction.speaker_names[label] = name
    return correction


def publish(*, task: Task) -> int:
    """Write the task's result files again, as corrected, under the names they have. Returns how many.

    Raises ``ValidationError`` if there are no result files, or with the storage's error.
    """
    if task.connection is None or task.state != Task.State.COMPLETED:
        raise ValidationError(
            _("Only the results of a completed task can be published."), code="not_completed"
        )
    transcript, began_at = transcript_of(task), timezone.now()
    context = result_files.result_context(task)
    written = 0
    try:
        store = task.connection.store()
        for file in ResultFile.unscoped.filter(task=task, written_at__isnull=False):
            data = render(file.format, transcript, context)
            stored = store.put(file.key, data, content_type=FORMATS[file.format].content_type)
            ResultFile.unscoped.filter(pk=file.pk).update(
                written_at=timezone.now(), size=stored.size, version=stored.version
            )
            written += 1
    except StorageError as error:
        raise ValidationError(str(error), code=error.code) from error
    Correction.unscoped.filter(task=task).update(published_at=began_at)
    trail.record("task.published", task)
    return written


@contextmanager
def _changing(task: Task, by: User | None) -> Iterator[Correction]:
    """Context manager that locks the task's correction and, if it changed, saves it with person and time."""
    with transaction.atomic():
        Correction.unscoped.get_or_create(task=task)
        correction = Correction.unscoped.select_for_update().get(task=task)
        before = (dict(correction.texts), dict(correction.speaker_names))
        yield correction
        if (correction.texts, correction.speaker_names) != before:
            correction.changed_by = by
            correction.changed_at = timezone.now()
            correction.save()
            trail.record("task.corrected", task)  # Not what it says: staff sees the trail.
            search.index(task, transcript_of(task), correction)
