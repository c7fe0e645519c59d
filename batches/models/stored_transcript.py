"""`StoredTranscript`: the transcript of a task, as published and, encrypted, as recognised."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from batches.models.task import Task
from batches.models.task_settings import TaskSettings
from batches.postprocessing import transcript as postprocessing
from batches.postprocessing.transcript import Rules
from batches.recognition.transcript import Transcript
from speechportal.accounts.scoping import ScopedManager
from speechportal.encryption import EncryptedCredentials, rotate


class StoredTranscript(models.Model):
    """Checkpoint of recognition: stored once the words are known, and again with the speakers.

    It is also the transcript from which pages, the API and result files are rendered. ``document`` is
    redacted before it is stored, so that no reader of it can reveal more.
    """

    class Stage(models.TextChoices):
        WORDS = "words", _("Words")
        SPEAKERS = "speakers", _("Words and speakers")

    task = models.OneToOneField(Task, on_delete=models.CASCADE, related_name="transcript")
    stage = models.CharField(_("stage"), max_length=10, choices=Stage.choices)
    # batches.recognition.transcript.Transcript.to_dict() after redaction and replacements: the published one.
    document = models.JSONField()
    # The transcript as recognised, encrypted; empty if it is the same or must not be kept.
    original = models.TextField(blank=True, default="", editable=False)
    # When to apply redaction and replacements again, if requested.
    reprocess_due_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager("task__account")

    class Meta:
        verbose_name = _("transcript")
        verbose_name_plural = _("transcripts")
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        indexes = [
            models.Index(
                fields=["reprocess_due_at"],
                condition=Q(reprocess_due_at__isnull=False),
                name="transcript_to_reprocess",
            )
        ]

    def __str__(self) -> str:
        return f"{self.task} ({self.get_stage_display()})"

    def published(self) -> Transcript:
        """Published transcript: after redaction and replacements."""
        return Transcript.from_dict(self.document)

    def recognised(self) -> Transcript:
        """Transcript as recognised, or as published if the former was not kept.

        For the worker, for applying rules again, and for owners who view the original; never for publication.
        """
        if not self.original:
            return self.published()
        packed = original_field(self.task).decrypt(self.original)
        document: dict[str, Any] = json.loads(zlib.decompress(base64.b85decode(packed)))
        return Transcript.from_dict(document)


def original_field(task: Task) -> EncryptedCredentials:
    """Encrypted field of a task's transcript as recognised."""
    return EncryptedCredentials(account=task.account.uid, row=task.uid, field="original")


def rotate_originals() -> int:
    """Re-encrypt every recognised transcript with the first of ``ENCRYPTION_KEYS``; returns how many."""
    rotated = 0
    for pk, old in StoredTranscript.unscoped.exclude(original="").values_list("pk", "original").iterator(100):
        rotated += StoredTranscript.unscoped.filter(pk=pk, original=old).update(original=rotate(old))
    return rotated


@dataclass(frozen=True)
class PreparedTranscript:
    """Column values of :class:`StoredTranscript` for a transcript."""

    document: dict[str, Any]
    original: str
    published: Transcript

    @classmethod
    def of(cls, task: Task, recognised: Transcript, chosen: TaskSettings, *, final: bool) -> Self:
        """Apply redaction and replacements.

        Until it is ``final``, the transcript as recognised is always kept, encrypted, since diarization still
        needs its words.
        """
        rules, redaction = chosen.rules, chosen.redaction
        published = postprocessing.process(recognised, rules)
        kept = recognised
        if redaction and final and not redaction.keep_original:
            kept = postprocessing.process(recognised, Rules(redact=redaction.kinds))
        document, original = published.to_dict(), ""
        if (kept_document := kept.to_dict()) != document:
            packed = zlib.compress(json.dumps(kept_document, ensure_ascii=False).encode())
            original = original_field(task).encrypt(base64.b85encode(packed).decode())
        return cls(document, original, published)
