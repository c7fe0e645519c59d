"""Steps: what members, programs, support staff, the scheduler and workers do to a large database."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

HOSTS = 100
NEW_FILES = 20


@dataclass(frozen=True)
class Step:
    """Step with its calls, of which the slowest counts. ``cold``: without what the process remembers."""

    name: str
    calls: list[Callable[[], object]]
    cold: bool = False
    limit: float | None = None  # seconds; None: that of the run


class Scene:
    """The large account with its members, support staff and hosts, as the steps need them."""

    def __init__(self) -> None:
        from django.contrib.auth.models import Group
        from django.utils import timezone

        from batches.models import Batch, RecognitionHost, ServedModel
        from domains import offered_models
        from speechportal.accounts.tokens.api_tokens import create_token
        from tests.clients import Client
        from tests.factories import add_member, make_user

        self.batch = Batch.unscoped.select_related("account", "connection").earliest("pk")
        user = make_user(f"bench-{time.time()}@example.com", "password")
        add_member(self.batch.account, user, "owner")
        self.member = Client(headers={"host": "127.0.0.1"})
        self.member.force_login(user)
        _token, plain = create_token(
            account=self.batch.account, created_by=user, name="bench", scopes=["read"]
        )
        self.program = Client(headers={"host": "127.0.0.1", "authorization": f"Bearer {plain}"})
        self.staff = Client(headers={"host": "127.0.0.1"})
        staff = make_user(f"staff-{time.time()}@example.com", is_staff=True)
        staff.groups.add(Group.objects.get(name="administrator"))
        self.staff.force_login(staff)
        RecognitionHost.objects.bulk_create(
            [
                RecognitionHost(name=f"host-{number}", workers=2, seen_at=timezone.now())
                for number in range(HOSTS)
            ],
            ignore_conflicts=True,
        )
        kinds = [("whisper", offered_models.whisper_models()), ("speakers", offered_models.speaker_models())]
        ServedModel.objects.bulk_create(
            [
                ServedModel(host=f"host-{number}", kind=kind, name=name)
                for number in range(HOSTS)
                for kind, names in kinds
                for name in names
            ],
            ignore_conflicts=True,
        )

    def pages(self) -> Iterator[Step]:
        """Pages of a member of the large account, in the browser."""
        from django.urls import reverse

        tasks = reverse("batches:detail", args=[self.batch.uid])
        search = reverse("transcripts")
        home = reverse("home")
        yield Step("home, first view", [self._opens(self.member, home)], cold=True)
        for name, address in {
            "home": home,
            "list of batches": reverse("batches:list"),
            "tasks of the batch": tasks,
            "tasks, in the middle": f"{tasks}?before={self.batch.last_task_order // 2}",
            "failed tasks": f"{tasks}?state=failed",
            "waiting tasks": f"{tasks}?state=waiting",
            "execution results": reverse("batches:results", args=[self.batch.uid]),
            "deliveries": reverse("batches:deliveries", args=[self.batch.uid]),
            "activity of the batch": reverse("batches:activity", args=[self.batch.uid]),
            "usage": reverse("usage:list"),
            "latest transcripts": search,
            "search, a frequent word": f"{search}?q=morning",
            "search, a rare word": f"{search}?q=cfcd20",
            "search, a name": f"{search}?q=calls/cfcd",
        }.items():
            yield Step(name, [self._opens(self.member, address)])
        yield Step("usage, first view", [self._opens(self.member, reverse("usage:list"))], cold=True)
        yield from self._lists(self.member, f"{tasks}?", "sort", "tasks")

    def programs(self) -> Iterator[Step]:
        """Requests of a program of the large account."""
        address = f"/api/v1/tasks?batch={self.batch.uid}"
        yield Step("API: tasks of the account", [self._opens(self.program, "/api/v1/tasks")])
        yield Step("API: tasks of the batch", [self._opens(self.program, address)])
        yield Step("API: charges", [self._opens(self.program, "/api/v1/charges")])
        yield Step("API: search", [self._opens(self.program, "/api/v1/transcripts?text=morning")])
        yield from self._lists(self.program, f"{address}&", "ordering", "API: tasks")

    def _lists(self, client: Any, address: str, parameter: str, name: str) -> Iterator[Step]:
        """The list of the batch's tasks by each column, in both directions, and with each filter."""
        from batches.services.task_filters import SORTS

        for column in SORTS:
            orders = [f"{address}{parameter}={sign}{column}" for sign in ("", "-")]
            yield Step(f"{name} by {column}", [self._opens(client, order) for order in orders])
        for title, condition in {
            "of a name": "q=cfcd20",
            "of no name": "q=nothing-like-it",
            "of a language": "language=ko",
            "of three speakers": "speakers=3",
            "with a remark": "flag=low_confidence",
            "longer than 15 minutes": "shortest=15",
            "longer than 20 minutes": "shortest=20",
            "of a model": "model=base",
            "of no model": "model=tiny",
            "failed, by end": f"state=failed&{parameter}=-finished",
        }.items():
            yield Step(f"{name} {title}", [self._opens(client, f"{address}{condition}")])

    def support(self) -> Iterator[Step]:
        """Support staff's pages, over all accounts."""
        yield Step("admin: first page", [self._opens(self.staff, "/admin/")])
        for name in (
            "accounts/account",
            "batches/batch",
            "batches/task",
            "batches/charge",
            "batches/delivery",
            "batches/executionresult",
            "batches/resultfile",
            "batches/recognitionhost",
            "accounts/auditentry",
        ):
            page = f"/admin/{name}/?"
            queries = ["", f"q={self.batch.uid}", "q=nothing"]
            if name not in {"batches/recognitionhost", "batches/resultfile", "accounts/account"}:
                queries.append(f"account={self.batch.account.uid}")
            if name in {"batches/task", "batches/delivery"}:
                queries += ["state=failed", "state=waiting", f"batch={self.batch.uid}&state=failed"]
            yield Step(
                f"admin: {name.partition('/')[2]}",
                [self._opens(self.staff, page + query) for query in queries],
            )
        account = f"/admin/accounts/account/{self.batch.account_id}/change/"
        yield Step("admin: page of the account", [self._opens(self.staff, account)])
        found = [f"/admin/search/?q={text}" for text in ("tsk_5000", self.batch.uid, "calls/cfcd")]
        yield Step("admin: search", [self._opens(self.staff, address) for address in found])

    def jobs(self) -> Iterator[Step]:
        """What the scheduler and workers do all the time."""
        from django.utils import timezone

        from batches.billing import budget
        from batches.intake import poll_schedule
        from batches.operations import fleet_overview, health, metrics, progress_forecast
        from batches.reports import execution_results
        from batches.status import account_holds
        from batches.tasks import lifecycle, model_hosts, scheduling
        from batches.transcripts import reprocessing
        from batches.webhooks import callbacks, delivery_lifecycle, endpoint
        from batches.worker import moving

        account, now = self.batch.account, timezone.now()

        def claim() -> None:
            lease = scheduling.claim_next("bench:1")
            assert lease is not None
            lifecycle.release(lease, None, count_attempt=False)

        yield Step("claim", [claim])
        yield Step("budget", [partial(budget.spent, account)])
        yield Step("budget, first look of a process", [partial(budget.spent, account)], cold=True)
        for name, call in {
            "polls that are due": lambda: list(poll_schedule.pollable(now)[:20]),
            "wake-ups": lambda: scheduling.claimable()[:50].count(),
            "leases that ended": lifecycle.reap,
            "accounts held": account_holds.reconcile,
            "inputs to move": moving.due,
            "execution results that are due": lambda: (
                execution_results.collect_idle(),
                execution_results.due(),
            ),
            "deliveries that are due": lambda: delivery_lifecycle.ready_channels(now),
            "webhooks to tidy": endpoint.tidy,
            "missed callbacks": callbacks.queue_missed,
            "transcripts to process again": reprocessing.due,
            "models that nobody serves": model_hosts.waiting_for_models,
            "overdue work": health.ages,
            "forecast": lambda: progress_forecast.forecasts_for(account, [self.batch]),
            "fleet page": lambda: (fleet_overview.overview(), fleet_overview.queue_by_model()),
            "metrics": lambda: [
                list(each())
                for each in (
                    metrics.tasks,
                    metrics.speed,
                    metrics.failures,
                    metrics.deliveries,
                    metrics.storages,
                )
            ],
        }.items():
            yield Step(name, [call])

    def poll(self) -> Callable[[], object]:
        """The two polls of the large batch that find new files and make tasks of them."""
        from batches.intake import polling
        from tests.factories import make_connection

        # The folder of an earlier run that filled the database is gone.
        self.batch.connection = make_connection(self.batch.account, name=f"connection {time.time()}")
        self.batch.save(update_fields=["connection"])
        path = Path(self.batch.connection.place) / self.batch.input_path
        path.mkdir()
        for number in range(NEW_FILES):
            (path / f"new-{number}.mp3").write_bytes(b"ID3")

        def polls() -> None:
            assert polling.poll(self.batch.pk) == 0  # New files settle first.
            assert polling.poll(self.batch.pk) == NEW_FILES

        return polls

    @staticmethod
    def _opens(client: Any, address: str) -> Callable[[], object]:
        def call() -> None:
            from speechportal.platform import metrics

            metrics.forget()
            status = client.get(address).status_code
            assert status in {200, 302}, (address, status)

        return call
