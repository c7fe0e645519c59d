"""`Correction` and `SearchText`: corrected texts and speaker names of a transcript, and its search index."""

from __future__ import annotations

from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from batches.models.batch import Batch
from batches.models.task import Task
from domains.models import Domain
from speechportal.accounts.models import Account
from speechportal.accounts.scoping import ScopedManager


class Correction(models.Model):
    """Corrections of a transcript, applied when it is shown; the stored transcript is never changed.

    Only :mod:`batches.transcripts.corrections` changes it.
    """

    task = models.OneToOneField(Task, on_delete=models.CASCADE, related_name="correction")
    lines = models.JSONField(default=dict)  # line ID -> the changed line, or null if it was removed
    speaker_names = models.JSONField(default=dict)  # speaker label -> name given by a member
    history = models.JSONField(default=list)  # the latest changes, to undo: see batches.transcripts.history
    version = models.PositiveIntegerField(_("version"), default=0)  # number of changes so far
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("changed by"),
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
    )
    changed_at = models.DateTimeField(_("changed"), null=True)
    published_at = models.DateTimeField(_("published"), null=True)  # the result files' version

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager("task__account")

    class Meta:
        verbose_name = _("correction")
        verbose_name_plural = _("corrections")
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"

    def __str__(self) -> str:
        return str(self.task)

    @property
    def is_published(self) -> bool:
        """Whether the result files in the storage contain these corrections."""
        if self.changed_at is None:
            return True
        return self.published_at is not None and self.published_at >= self.changed_at


class CorrectedWord(models.Model):
    """Correction of one or a few words in one place: the recognised and the corrected text.

    Words that are corrected the same way in several places become proposed replacements
    (:mod:`batches.transcripts.proposals`).
    """

    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="corrected_words")
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="corrected_words")
    segment = models.PositiveIntegerField()
    heard = models.CharField(_("heard"), max_length=100)
    written = models.CharField(_("written"), max_length=100)

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager("domain__account")

    class Meta:
        verbose_name = _("corrected word")
        verbose_name_plural = _("corrected words")
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(
                fields=["task", "segment", "heard", "written"], name="corrected_word_unique"
            )
        ]
        indexes = [models.Index(fields=["domain", "heard", "written"], name="corrected_word_of_domain")]

    def __str__(self) -> str:
        return f"{self.heard} → {self.written}"


class SearchText(models.Model):
    """Search index of a transcript: the file's name, then its corrected text, folded, one segment per line.

    Only :mod:`batches.transcripts.search` writes it.
    """

    task = models.OneToOneField(Task, on_delete=models.CASCADE, related_name="search_text")
    account = models.ForeignKey(
        Account, verbose_name=_("account"), on_delete=models.CASCADE, related_name="+"
    )
    # The task's batch, for the indexes by which its tasks are filtered and sorted.
    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, null=True, db_index=False, related_name="+")
    text = models.TextField()
    language = models.CharField(max_length=20, blank=True, default="")  # code, as recognised
    domain_code = models.CharField(max_length=50, blank=True, default="")  # of the domain at the task's start
    # Lines of named speakers, folded: the name, a separator, the text.
    spoken = models.TextField(blank=True, default="")
    # Lines for search results: [ID, start in ms, label of the speaker, text]. Null in rows of earlier
    # releases.
    lines = models.JSONField(null=True)
    speakers = models.PositiveSmallIntegerField(null=True)  # number of speakers; null likewise
    # Quality flags of the transcript, each between commas: ",truncated,low_confidence,".
    flags = models.CharField(max_length=200, blank=True, default="", db_default="")

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager()

    class Meta:
        verbose_name = "search text"
        verbose_name_plural = "search texts"
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        indexes = [
            models.Index(fields=["account", "language"], name="search_text_by_language"),
            models.Index(fields=["batch", "language", "task"], name="search_text_of_batch_language"),
            models.Index(fields=["batch", "speakers", "task"], name="search_text_of_batch_speakers"),
            models.Index(fields=["batch", "flags", "task"], name="search_text_of_batch_flags"),
        ]

    def __str__(self) -> str:
        return str(self.task)
