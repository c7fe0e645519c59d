"""Dry run of text rules on a sample text or on a task's transcript; nothing is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from batches.formats import Context
from batches.formats.forbidden import without_forbidden
from batches.models import StoredTranscript, Task
from batches.models.task_settings import joined_words
from batches.postprocessing.transcript import Rules, process
from batches.recognition.transcript import Segment, Transcript
from domains.models import Domain
from domains.redaction import RedactionSettings
from domains.replacements import Replacement

SHOWN = 200  # changed lines shown at most


@dataclass(frozen=True, slots=True)
class TrialLine:
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class RuleTrial:
    """Result of a dry run: changed lines before and after; ``count`` is the number of all changed lines."""

    lines: Sequence[TrialLine]
    count: int
    text: str  # the whole text after the rules


def run(
    *,
    domain: Domain,
    replacements: Sequence[Replacement],
    redaction: RedactionSettings,
    forbidden_words: Sequence[str] = (),
    forbidden_action: str = "mask",
    sample: str = "",
    task: Task | None = None,
) -> RuleTrial:
    """Apply the rules to ``sample``, line by line, or to the transcript of ``task``.

    Data that was redacted in the task stays redacted under any rules. Raises ``ValidationError``.
    """
    if task is None and not sample.strip():
        raise ValidationError({"sample": _("Enter a text, or the ID of a task.")})
    batch = task.batch if task is not None else getattr(domain, "batch", None)
    shown, base = _transcript_of(task) if task is not None else (_from_text(sample, batch), None)
    if task is not None and task.settings is not None:
        redaction = redaction.at_least(task.settings.redaction)
    rules = Rules(redact=redaction.kinds, replace=tuple(replacements))
    own = batch.recognition.forbidden if batch is not None else ""
    context = Context(
        forbidden=joined_words(", ".join(forbidden_words), own), forbidden_action=forbidden_action
    )
    tried, _context = without_forbidden(process(base or shown, rules), context)
    pairs = [
        TrialLine(old.text.strip(), new.text.strip())
        for old, new in zip(shown.segments, tried.segments, strict=True)
    ]
    changed = [pair for pair in pairs if pair.before != pair.after]
    return RuleTrial(changed[:SHOWN], len(changed), "\n".join(pair.after for pair in pairs))


def _transcript_of(task: Task) -> tuple[Transcript, Transcript]:
    """Transcript as published, and the one that the rules are applied to."""
    checkpoint = StoredTranscript.unscoped.select_related("task__account").filter(task=task).first()
    if checkpoint is None:
        raise ValidationError({"task": _("This task has no transcript.")})
    return checkpoint.published(), checkpoint.recognised()


def _from_text(sample: str, batch: object) -> Transcript:
    language = str(getattr(getattr(batch, "recognition", None), "language", "")).partition("-")[0].lower()
    lines = [line for line in sample.splitlines() if line.strip()]
    return Transcript(language, 1.0, 0, [Segment(0, 0, line) for line in lines])
