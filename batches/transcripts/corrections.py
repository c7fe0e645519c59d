"""Correcting a transcript: texts of segments, names of speakers, and writing both to the result files.

The machine's transcript never changes: a :class:`~batches.models.Correction` lies over it, and every
format is made from both. A change takes the row's lock, so that two people who correct different
segments at once lose nothing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from batches.formats import FORMATS, render
from batches.formats.characters import one_line
from batches.formats.context import default_speaker_name
from batches.models import Correction, ResultFile, StoredTranscript, Task
from batches.postprocessing.transcript import redacted_texts
from batches.recognition.transcript import Transcript
from batches.transcripts import proposals, search
from batches.worker import result_files
from speechportal.accounts.audit import trail
from speechportal.accounts.models import User
from speechportal.storage.errors import StorageError

TEXT_LENGTH = 5000
NAME_LENGTH = 60


def transcript_of(task: Task) -> Transcript:
    """What was heard. Raises ``ValidationError`` where there is nothing yet."""
    checkpoint = StoredTranscript.unscoped.filter(task=task).first()
    if checkpoint is None:
        raise ValidationError(_("There is no transcript to correct."), code="no_transcript")
    return checkpoint.published()


def correct_text(*, task: Task, index: int, text: str, by: User | None) -> Correction:
    """Give segment ``index`` another text. The machine's own text takes the correction back.

    Raises ``ValidationError`` for a segment that is not there or a text that is too long.
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
            redact(correction, transcript, redacted_kinds(task))
        proposals.note(task, index, transcript, correction.texts.get(str(index)))
    return correction


def redacted_kinds(task: Task) -> Mapping[str, str]:
    """What a member's text must not show either: the action for each kind."""
    return task.settings.redaction.kinds if task.settings else {}


def redact(correction: Correction, transcript: Transcript, kinds: Mapping[str, str]) -> None:
    """Redact a correction in place: its texts as lines of the whole transcript, and the speakers' names."""
    if not kinds:
        return
    lines = [
        correction.texts.get(str(at), one_line(segment.text).strip())
        for at, segment in enumerate(transcript.segments)
    ]
    for at, (line, redacted) in enumerate(zip(lines, redacted_texts(lines, kinds), strict=True)):
        if redacted != line:
            correction.texts[str(at)] = redacted
    for label, name in correction.speaker_names.items():
        correction.speaker_names[label] = redacted_texts([name], kinds)[0]


def name_speakers(*, task: Task, names: dict[str, str], by: User | None) -> Correction:
    """Name speakers by their labels, for all formats at once. An empty name gives the letter back.

    Raises ``ValidationError`` for a label that is not there or a name that is too long.
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
                redacted = redacted_texts([name], redacted_kinds(task))[0]
                correction.speaker_names[label] = redacted
    return correction


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


@contextmanager
def _changing(task: Task, by: User | None) -> Iterator[Correction]:
    """The task's correction, locked, to be changed; saved with who and when if it did change."""
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
