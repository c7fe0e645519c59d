"""Selectors of batches and tasks for pages and the API. Each reads the rows of one account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery

from batches.models import Batch, ExecutionResult, StoredTranscript, Task
from batches.models.batch import BatchQuerySet
from domains.models import Domain, DomainQuerySet
from speechportal.accounts.models import Account

State = Task.State


@dataclass(frozen=True)
class Progress:
    """Progress of a batch, in files."""

    found: int = 0
    waiting: int = 0
    running: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def done(self) -> int:
        return self.found - self.waiting - self.running

    @property
    def completed(self) -> int:
        return self.done - self.failed - self.cancelled


def list_batches(account: Account, query: str = "") -> BatchQuerySet:
    """Live batches, newest first; ``query`` is part of a name or ID, or of the domain's name or code."""
    batches = Batch.objects.for_account(account).live().select_related("domain", "connection")
    return batches.matching(query) if query else batches


def list_deleted_batches(account: Account, query: str = "") -> BatchQuerySet:
    """Deleted batches that still have transcripts, the latest deleted first.

    ``query`` is part of a name or an ID.
    """
    transcripts = StoredTranscript.objects.for_account(account).filter(task__batch=OuterRef("pk"))
    deleted = Batch.objects.for_account(account).filter(deleted_at__isnull=False)
    batches = deleted.filter(Exists(transcripts)).order_by("-deleted_at", "-pk")
    return batches.filter(Q(name__icontains=query) | Q(uid__icontains=query)) if query else batches


SORTS = {
    "name": ("name", "pk"),
    "-name": ("-name", "pk"),
    "domain": ("domain__name", "pk"),
    "-domain": ("-domain__name", "pk"),
    "status": ("-status", "paused_at", "name", "pk"),  # what needs attention first
    "-status": ("status", "name", "pk"),
    "created": ("pk",),
}


def sort_batches(batches: BatchQuerySet, sort: str) -> BatchQuerySet:
    """Sort by a name from ``SORTS``; any other name means newest first."""
    return batches.order_by(*SORTS[sort]) if sort in SORTS else batches


def count_batches(account: Account) -> int:
    return Batch.objects.for_account(account).live().count()


def batch_with(account: Account, uid: str | None) -> Subquery | None:
    """Subquery of a batch's primary key, to filter an account's rows by batch.

    With a join instead, SQLite would not read the newest rows from their index.
    """
    return Subquery(Batch.objects.for_account(account).filter(uid=uid).values("pk")[:1]) if uid else None


def key_of_batch(account: Account, uid: str | None) -> int | None:
    """Primary key of a batch of the account; 0, which no batch has, for an unknown ID; ``None`` for none."""
    if not uid:
        return None
    return Batch.objects.for_account(account).filter(uid=uid).values_list("pk", flat=True).first() or 0


def progress_of(account: Account, batches: Iterable[Batch]) -> dict[int, Progress]:
    """Progress by batch ID, in one query for all batches.

    Completed tasks, by far the most, are not counted but derived: found files less all others.
    """
    found = {batch.pk: batch.last_task_order for batch in batches}
    rows = (
        Task.objects.for_account(account)
        # The states are listed: with "not completed" no database would use the index.
        .filter(batch__in=found, state__in=sorted(set(State.values) - {State.COMPLETED}))
        .order_by()
        .values_list("batch", "state")
        .annotate(Count("pk"))
    )
    counts: dict[int, Counter[str]] = {pk: Counter() for pk in found}
    for batch_id, state, count in rows:
        counts[batch_id][state] = count
    return {
        pk: Progress(
            found=found[pk],
            waiting=count[State.WAITING],
            running=count[State.IN_PROGRESS] + count[State.CANCELLING],
            failed=count[State.FAILED],
            cancelled=count[State.CANCELLED],
        )
        for pk, count in counts.items()
    }


def choosable_domains(account: Account, batch: Batch | None = None) -> DomainQuerySet:
    """Domains that a batch can use: Basic ones without a batch, and the batch's own."""
    domains = Domain.objects.for_account(account)
    free = domains.free_for_batch()
    if batch is not None and batch.domain_id is not None:
        return free | domains.filter(pk=batch.domain_id)
    return free


def list_tasks(batch: Batch, state: str = "", query: str = "") -> QuerySet[Task]:
    """Tasks of the batch, newest first."""
    tasks = Task.objects.for_account(batch.account).filter(batch=batch).order_by("-task_order")
    if state in State.values:
        tasks = tasks.filter(state=state)
    if query:
        tasks = tasks.filter(Q(name__icontains=query) | Q(uid=query))
    return tasks


def list_execution_results(batch: Batch) -> QuerySet[ExecutionResult]:
    return ExecutionResult.objects.for_account(batch.account).filter(batch=batch).order_by("-number")
