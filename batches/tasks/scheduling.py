"""Fair scheduling: which task a worker claims next.

Each account has a leaky bucket of ``TURNS`` tokens, one of which comes back every ``TURN_COMES_BACK``;
accounts with tokens left go first, so that one with 100,000 files does not delay one with three. Ties: fewest
running tasks, then longest wait since the last start. Within an account the batch of the highest priority
goes first, and in it the oldest task. Claims of one account are serialised by its row, where the price of the
file is reserved from its budget.

A worker claims only tasks whose models its host serves (:class:`ServedModels`). With a pair of models loaded
it looks for a task of that pair first.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Self, TypedDict

from django.conf import settings
from django.db import transaction
from django.db.models import (
    Case,
    CharField,
    Count,
    Exists,
    F,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce, NullIf
from django.db.models.lookups import In
from django.utils import timezone
from django_stubs_ext import WithAnnotations

from batches.billing import budget
from batches.models import Batch, Charge, Task
from batches.models.batch import BatchQuerySet
from batches.status import account_holds, batch_status, connection_backoff
from batches.tasks.leases import Lease
from domains import offered_models
from domains.offered_models import DEFAULT, ModelPair
from speechportal.accounts.models import Account
from speechportal.platform import database_clock

State = Task.State
CLAIM_TRIES = 20
FRONT = (10, 100)  # accounts at the front of the order that are looked into first, and then
TURNS = 3
TURN_COMES_BACK = timedelta(minutes=10)
PROBE = timedelta(seconds=60)  # interval between probes of a batch in back-off, one task each


@dataclass(frozen=True, slots=True)
class ServedModels:
    """Models of the tasks that a worker claims, by their names in the operator's settings."""

    whisper: frozenset[str]
    speakers: frozenset[str]

    @classmethod
    def of_settings(cls) -> Self:
        """Models of ``SPEECHPORTAL_SERVED_MODELS``, by default all that are offered."""
        wanted = set(settings.SERVED_MODELS)
        whisper, speakers = set(offered_models.whisper_models()), set(offered_models.speaker_models())
        return cls(
            frozenset(whisper & wanted if wanted else whisper),
            frozenset(speakers & wanted if wanted else speakers),
        )

    @classmethod
    def only(cls, pair: ModelPair) -> Self:
        return cls(frozenset([pair.whisper]), frozenset([pair.speakers]))

    def without(self, names: set[str]) -> ServedModels:
        return ServedModels(self.whisper - names, self.speakers - names)

    def tasks(self) -> Q:
        """Condition for tasks of these models, annotated by :func:`with_models`."""
        speakers = Q(takes_speakers__in=self.speakers) | separates_speakers(value=False)
        return Q(takes_whisper__in=self.whisper) & speakers

    def other_tasks(self) -> Q:
        """Condition for all other tasks: the complement of :meth:`tasks`."""
        lacks_speakers = ~Q(takes_speakers__in=self.speakers) & separates_speakers(value=True)
        return ~Q(takes_whisper__in=self.whisper) | lacks_speakers


def separates_speakers(*, value: bool) -> Q:
    """Condition on tasks: whether speaker diarization, which needs a speaker model, is on.

    Precedence: the snapshot of the task's start, its own setting, its batch's.
    """
    own, key = "overrides__recognition__speakers", "recognition__speakers"
    current = Q(**{own: value}) | Q(**{f"{own}__isnull": True, f"batch__{key}": value})
    return Q(**{f"settings__{key}": value}) | (Q(settings__isnull=True) & current)


class _TaskModels(TypedDict):
    takes_whisper: str
    takes_speakers: str


def with_models(tasks: QuerySet[Task]) -> QuerySet[WithAnnotations[Task, _TaskModels]]:
    """Annotate tasks with ``takes_whisper`` and ``takes_speakers``: their models if they started now."""
    return tasks.annotate(
        takes_whisper=_model_of("whisper_model", offered_models.whisper_models()[0]),
        takes_speakers=_model_of("speaker_model", offered_models.speaker_models()[0]),
    )


def _model_of(name: str, first: str) -> Coalesce:
    """Expression for a task's model: its own, else its batch's, its domain's, or the first offered one."""
    return Coalesce(
        NullIf(F(name), Value("")),
        NullIf(KeyTextTransform(name, "batch__recognition"), Value(DEFAULT)),
        NullIf(F(f"batch__domain__{name}"), Value(DEFAULT)),
        Value(first),
        output_field=CharField(),
    )


def _batches_with_served_tasks(served: ServedModels) -> Q:
    """Condition on batches that skips those that cannot have tasks of the served models."""
    own_models = Task.unscoped.filter(state=State.WAITING, batch=OuterRef("pk")).exclude(whisper_model="")
    named = {
        "whisper_model": (served.whisper, offered_models.whisper_models()[0]),
        "speaker_model": (served.speakers, offered_models.speaker_models()[0]),
    }
    condition = Q()
    for name, (models, first) in named.items():
        chosen = Coalesce(
            NullIf(KeyTextTransform(name, "recognition"), Value(DEFAULT)),
            NullIf(F(f"domain__{name}"), Value(DEFAULT)),
            Value(first),
            output_field=CharField(),
        )
        is_served = Q(In(chosen, list(models)))
        condition &= is_served if name == "whisper_model" else is_served | Q(recognition__speakers=False)
    return condition | Q(Exists(own_models))


def ready_batches(now: datetime, served: ServedModels | None = None) -> BatchQuerySet:
    """Batches whose tasks may start; with ``served``, those that may have tasks of these models."""
    held = Q(cause_code__in=batch_status.HELD) | Q(held_until__gt=now)
    blocked = connection_backoff.blocked(now).filter(connection=OuterRef("connection"))
    ready = Batch.unscoped.live().filter(~Exists(blocked), paused_at=None, account__suspended_at=None)
    if served is not None:
        ready = ready.filter(_batches_with_served_tasks(served))
    return ready.exclude(held)


def _waiting(
    now: datetime, waited: timedelta = timedelta(0), served: ServedModels | None = None
) -> QuerySet[Task]:
    # A task may belong to a connection that its batch no longer uses.
    blocked = connection_backoff.blocked(now).filter(connection=OuterRef("connection"))
    available = Task.unscoped.filter(state=State.WAITING, available_at__lte=now - waited)
    if served is not None:
        available = with_models(available).filter(served.tasks())
    return available.filter(~Exists(blocked)).order_by("pk")


def claimable(served: ServedModels | None = None) -> QuerySet[Task]:
    """Tasks that a free worker could start now; with ``served``, a worker that serves these models."""
    now = timezone.now()
    return _waiting(now, served=served).filter(batch__in=ready_batches(now))


def claim_next(
    worker: str,
    waited: timedelta = timedelta(0),
    *,
    served: ServedModels | None = None,
    loaded: ModelPair | None = None,
) -> Lease | None:
    """Claim the next task for ``worker``; ``None`` if none that has ``waited`` for so long may start.

    ``served`` are the models of this host, by default those of the settings. A task of the ``loaded`` pair is
    preferred to all others.
    """
    possible = served or ServedModels.of_settings()
    if loaded and loaded.whisper in possible.whisper and loaded.speakers in possible.speakers:
        return _claim(worker, waited, ServedModels.only(loaded)) or _claim(worker, waited, possible)
    return _claim(worker, waited, possible)


def _claim(worker: str, waited: timedelta, served: ServedModels) -> Lease | None:
    for _ in range(CLAIM_TRIES):
        candidates = _candidates(waited, served)
        if not candidates:
            return None
        first = candidates[0]
        # An account that another worker claims from just now is passed over for one that would come next
        # after that claim; where there is none, wait for it.
        for candidate in candidates:
            if candidate.place > (first.place[0], first.place[1] + 1):
                break
            if claim := _claim_of(candidate.account_id, worker, partial(int, candidate.task_id), wait=False):
                return claim
        choose = partial(_next_task, first.account_id, waited, served)
        if claim := _claim_of(first.account_id, worker, choose, wait=True):
            return claim
    return None


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Account whose turn it is, with its next task. ``place``: without a token, running tasks."""

    account_id: int
    task_id: int
    place: tuple[int, int]


def _candidates(waited: timedelta, served: ServedModels) -> list[_Candidate]:
    """The next accounts with a task that may start, in their order.

    All accounts are sorted by one probe of an index each, but only those at the front are looked into: as one
    query, PostgreSQL would compare the accounts with the batches and these with the waiting tasks.
    """
    now = timezone.now()
    waiting = Task.unscoped.filter(account=OuterRef("pk"), state=State.WAITING).order_by()
    leased = Task.unscoped.filter(state__in=Task.LEASED).order_by().values_list("account")
    running = dict(leased.annotate(n=Count("pk")))
    used_up = Q(turns_used_until__gt=now + (TURNS - 1) * TURN_COMES_BACK)
    found = (
        Account.objects.filter(suspended_at=None)
        .annotate(
            waiting=Subquery(waiting.values("pk")[:1]),
            without_turn=Case(When(used_up, then=1), default=0, output_field=IntegerField()),
        )
        .filter(waiting__isnull=False)
        .order_by(F("last_claimed_at").asc(nulls_first=True), "pk")
        .values_list("pk", "without_turn")
    )
    accounts = [(pk, turn, running.get(pk, 0)) for pk, turn in found]
    accounts.sort(key=lambda account: account[1:])  # and those of one place by the time of their last start
    start = 0
    for end in (*FRONT, len(accounts)):
        front = accounts[start:end]
        tasks = _next_tasks([pk for pk, *_place in front], now, waited, served) if front else {}
        if tasks:
            return [_Candidate(pk, tasks[pk], (turn, count)) for pk, turn, count in front if pk in tasks]
        start = end
    return []


def _next_tasks(
    accounts: list[int], now: datetime, waited: timedelta, served: ServedModels
) -> dict[int, int]:
    """Of each account the next task that may start, if there is one: the oldest of the first batch."""
    oldest = Subquery(_waiting(now, waited, served).filter(batch=OuterRef("pk")).values("pk")[:1])
    batches = ready_batches(now, served).filter(account__in=accounts).annotate(oldest=oldest)
    rows = batches.filter(oldest__isnull=False).order_by("-priority", "oldest")
    found: dict[int, int] = {}
    for account_id, task_id in rows.values_list("account", "oldest"):
        found.setdefault(account_id, task_id)
    return found


def _next_task(account_id: int, waited: timedelta, served: ServedModels) -> int | None:
    return _next_tasks([account_id], timezone.now(), waited, served).get(account_id)


def _claim_of(account_id: int, worker: str, choose: Callable[[], int | None], *, wait: bool) -> Lease | None:
    """Claim the task that ``choose`` returns; ``None`` if there is none or the budget does not cover it.

    Without ``wait`` also if another worker claims from the account at this moment.
    """
    with transaction.atomic():
        rows = Account.objects.select_for_update(no_key=True, skip_locked=not wait)
        account = rows.filter(pk=account_id, suspended_at=None).order_by().first()
        task_id = choose() if account is not None else None
        if account is None or task_id is None:
            return None
        task = Task.unscoped.select_related("batch__domain").get(pk=task_id)
        if task.state != State.WAITING:
            return None
        price = _price(account, task)
        if not budget.covers(account, price):
            account_holds.hold_for_budget(account)
            return None
        return _take(task, account, price, worker)


def _price(account: Account, task: Task) -> Decimal:
    """Price of the task: zero for one that is retried after it was charged."""
    charged = Charge.unscoped.filter(task=task).exists()
    return budget.ZERO if charged else account.price_per_file


def _turns_used_until(account: Account, now: datetime) -> datetime:
    """Bucket level after one more start, as the time at which all tokens are back."""
    used = max(account.turns_used_until or now, now) + TURN_COMES_BACK
    return min(used, now + TURNS * TURN_COMES_BACK)


def _take(task: Task, account: Account, price: Decimal, worker: str) -> Lease | None:
    now, token = timezone.now(), uuid.uuid4()
    chosen = task.settings or task.current_settings()
    models = chosen.model_pair
    taken = Task.unscoped.filter(pk=task.pk, state=State.WAITING, available_at__lte=now).update(
        state=State.IN_PROGRESS,
        stage=Task.Stage.DOWNLOADING,
        progress=0,
        attempts=F("attempts") + 1,
        lease_token=token,
        lease_expires_at=database_clock.after(settings.LEASE_SECONDS),
        worker=worker,
        settings=chosen,
        whisper_model=models.whisper,
        speaker_model=models.speakers,
        reserved=price,
        started_at=now,
    )
    if not taken:
        return None
    Account.objects.filter(pk=account.pk).update(
        last_claimed_at=now, turns_used_until=_turns_used_until(account, now)
    )
    if task.batch.held_until is not None:
        Batch.unscoped.filter(pk=task.batch_id).update(held_until=now + PROBE)
    connection_backoff.admit(task.connection_id)
    return Lease(task.pk, token)
