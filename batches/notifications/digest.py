"""Digest: the events of an account and its batches in a time span, as text for e-mails and chat messages."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Exists, OuterRef
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from batches.billing import budget_alerts
from batches.models import Batch, BatchEvent, Task
from batches.models.notifications import Topic
from batches.status.failures import failure_of_task
from speechportal.accounts import addresses
from speechportal.accounts.models import Account

QUIET = timedelta(minutes=5)  # after the last finished file, before a batch is reported as finished
MOST_CAUSES = 3
MOST_LINES = 20


@dataclass(frozen=True)
class Span:
    """Time span from ``since`` (exclusive) to ``until`` (inclusive)."""

    since: datetime
    until: datetime


def lines(account: Account, topic: str, span: Span) -> list[str]:
    """Events of a topic, one line each, in the active language; empty if there were none."""
    found = READERS[Topic(topic)](account, span)
    if len(found) > MOST_LINES:
        rest = len(found) - MOST_LINES
        return [*found[:MOST_LINES], ngettext("and %d more", "and %d more", rest) % rest]
    return found


def subject(account: Account, topics: Collection[str]) -> str:
    """Subject of an e-mail about ``topics``; names the most serious one."""
    if Topic.STATUS in topics:
        return _("Speech Portal: the status of batches of “%s” changed") % account.name
    if Topic.FAILURES in topics:
        return _("Speech Portal: files of “%s” failed") % account.name
    if Topic.FINISHED in topics:
        return _("Speech Portal: batches of “%s” are through") % account.name
    return budget_alerts.message(account)[0]


def _status(account: Account, span: Span) -> list[str]:
    events = BatchEvent.objects.for_account(account).filter(
        created_at__gt=span.since, created_at__lte=span.until, batch__deleted_at=None
    )
    found: dict[int, BatchEvent] = {}
    for event in events.select_related("batch__account").order_by("pk"):
        found[event.batch_id] = event  # Only the latest event of a batch is reported.
    told = [event for event in found.values() if not _is_acknowledged(event)]
    return [
        (
            _("“%(batch)s” has an error: %(cause)s") % {"batch": event.batch.name, "cause": event.cause}
            if event.code
            else _("“%s” is back to Normal.") % event.batch.name
        )
        + f" {_address(event.batch)}"
        for event in told
    ]


def _is_acknowledged(event: BatchEvent) -> bool:
    """Whether a member has acknowledged the error of this event."""
    return (
        event.code != "" and event.batch.cause_code == event.code and event.batch.acknowledged_at is not None
    )


def _failures(account: Account, span: Span) -> list[str]:
    failed = Task.objects.for_account(account).filter(
        state=Task.State.FAILED,
        acknowledged_at=None,
        finished_at__gt=span.since,
        finished_at__lte=span.until,
    )
    counts = failed.order_by().values("batch").annotate(files=Count("pk")).values_list("batch", "files")
    batches = (
        Batch.objects.for_account(account)
        .select_related("account")
        .in_bulk([batch for batch, _files in counts])
    )
    found = []
    for batch_id, files in counts:
        batch, causes = batches[batch_id], []
        of_batch = failed.filter(batch=batch_id).order_by()
        codes = of_batch.values("error_code").annotate(files=Count("pk")).order_by("-files")[:MOST_CAUSES]
        for row in codes:
            example = of_batch.filter(error_code=row["error_code"]).select_related("batch").first()
            failure = failure_of_task(example) if example else None
            if failure is not None:
                causes.append(f"{row['files']} × {failure.sentence}")
        text = ngettext(
            "%(files)d file of “%(batch)s” failed.", "%(files)d files of “%(batch)s” failed.", files
        )
        head = text % {"files": files, "batch": batch.name}
        found.append(" ".join([head, *causes, f"{_address(batch)}?state=failed"]))
    return found


def _finished(account: Account, span: Span) -> list[str]:
    unfinished = Task.objects.for_account(account).filter(batch=OuterRef("pk")).exclude(state__in=Task.FINAL)
    through = (
        Batch.objects.for_account(account)
        .select_related("account")
        .filter(
            ~Exists(unfinished),
            deleted_at=None,
            last_finished_at__gt=span.since - QUIET,
            last_finished_at__lte=span.until - QUIET,
        )
    )
    return [
        _("“%s” has recognised all files that it found.") % batch.name + f" {_address(batch)}"
        for batch in through.order_by("name")
    ]


def _budget(account: Account, span: Span) -> list[str]:
    at = account.budget_alerted_at
    text = budget_alerts.message(account) if at is not None and span.since < at <= span.until else ("", "")
    return [f"{text[0]}: {text[1]}"] if text[0] else []


READERS: dict[Topic, Callable[[Account, Span], list[str]]] = {
    Topic.STATUS: _status,
    Topic.FAILURES: _failures,
    Topic.FINISHED: _finished,
    Topic.BUDGET: _budget,
}


def _address(batch: Batch) -> str:
    return addresses.link(batch.account.uid, "batches:detail", batch.uid)
