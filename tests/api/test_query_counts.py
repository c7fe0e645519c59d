"""Query counts of the API do not grow with the number of rows, on any list or detail."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from batches.formats import FORMATS
from batches.models import (
    Batch,
    Correction,
    DeliveryAttempt,
    ExecutionResult,
    ResultFile,
    StoredTranscript,
    Task,
)
from batches.recognition.transcript import Segment, Transcript
from batches.transcripts.drafts import Draft
from domains.models import Keyword
from speechportal.accounts.members import invitations
from speechportal.accounts.models import Membership
from speechportal.accounts.tokens import api_tokens
from tests.api.addresses import VIEWS, filled
from tests.api.client import Api
from tests.factories import add_member, make_batch, make_charge, make_task, make_user
from tests.webhooks.makers import make_delivery

FEW, MANY = 2, 12
READS = sorted({path for path, view in VIEWS if "get" in view.actions})
# Those that are not lists of the account's things, each of which there would be as many.
NO_ROWS = {"api/v1/account", "api/v1/account/estimate", "api/v1/usage"}
LISTS = [path for path in READS if "(?P<" not in path and path not in NO_ROWS]


def grow(api: Api, number: int) -> dict[str, str]:
    """Add rows until there are ``number`` of each kind, and as many below the first; returns the first."""
    for count in range(Batch.unscoped.filter(account=api.account).count(), number):
        _add_one_of_everything(api, count)
    batch = Batch.unscoped.filter(account=api.account).earliest("pk")
    assert batch.domain is not None
    assert batch.connection is not None
    task = batch.tasks.earliest("pk")
    return {
        "batches": batch.uid,
        "tasks": task.uid,
        "execution-results": batch.execution_results.earliest("pk").uid,
        "deliveries": batch.deliveries.earliest("pk").uid,
        "domains": batch.domain.uid,
        "connections": batch.connection.uid,
        "tokens": api.token.uid,
        "members": str(Membership.objects.filter(account=api.account).earliest("pk").pk),
    }


def _add_one_of_everything(api: Api, count: int) -> None:
    batch = make_batch(api.account, input_path=f"in-{count}/")
    Batch.unscoped.filter(pk=batch.pk).update(webhook_url="https://example.com/hook")
    batch.refresh_from_db()
    first = Batch.unscoped.filter(account=api.account).earliest("pk")
    _add_finished_task(batch)
    _add_delivery(batch)
    if first != batch:  # The first has as many of each as there are batches.
        _add_finished_task(first)
        _add_delivery(first)
    _add_into_firsts(first, count)
    add_member(api.account, make_user(), Membership.Role.VIEWER)
    invitations.invite(account=api.account, email=f"dora-{count}@example.com", role="viewer", by=api.user)
    api_tokens.create_token(
        account=api.account, created_by=make_user(), name=f"token {count}", scopes=["read"]
    )


def _add_finished_task(batch: Batch) -> None:
    number = batch.tasks.count() + 1
    result, _new = ExecutionResult.unscoped.get_or_create(
        account=batch.account,
        batch=batch,
        number=1 + number // 10,
        defaults={"connection": batch.connection, "task_count": 10, "key": f"out/{batch.uid}-{number}.csv"},
    )
    batch.refresh_from_db()
    original = batch.tasks.first()
    task = make_task(batch, state="completed", execution_result=result, original=original)
    make_charge(task)
    document = Transcript("en", 1.0, 1000, [Segment(0, 900, "A line.")])
    StoredTranscript.unscoped.create(task=task, stage="words", document=document.to_dict())


def _add_delivery(batch: Batch) -> None:
    delivery = make_delivery(batch)
    delivery.task = batch.tasks.latest("pk")
    delivery.save()


def _add_into_firsts(batch: Batch, count: int) -> None:
    """Add a keyword, result file, corrected segment and attempt to the objects that are read by ID."""
    now = timezone.now()
    assert batch.domain is not None
    Keyword.unscoped.create(domain=batch.domain, text=f"word {count}")
    task: Task = batch.tasks.earliest("pk")
    name = [*FORMATS, *(f"other{extra}" for extra in range(MANY))][count]
    ResultFile.unscoped.create(
        task=task, format=name, connection=batch.connection, key=f"out/{count}", size=1, written_at=now
    )
    segments = [Segment(each * 1000, each * 1000 + 900, f"Line {each}.") for each in range(count + 1)]
    StoredTranscript.unscoped.update_or_create(
        task=task, defaults={"stage": "words", "document": Transcript("en", 1.0, 60_000, segments).to_dict()}
    )
    draft = Draft(Transcript("en", 1.0, 60_000, segments), {}, {})
    for each in range(count + 1):
        draft.set_text(str(each), f"Corrected {each}.")
    Correction.unscoped.update_or_create(task=task, defaults={"lines": draft.edits, "changed_at": now})
    delivery = batch.deliveries.earliest("pk")
    DeliveryAttempt.unscoped.create(delivery=delivery, number=count + 1, started_at=now, status=500)


def cost(api: Api, path: str, things: Mapping[str, str]) -> int:
    cache.clear()  # It keeps sums of charges from one request to the next.
    with CaptureQueriesContext(connection) as queries:
        answer = api.get(filled(path, things))
    assert answer.status_code == 200, (path, answer.content)
    return len(queries)


def test_the_walk_finds_lists_and_details() -> None:
    assert len(LISTS) >= 9
    assert len(READS) - len(LISTS) >= 15


def test_no_answer_costs_more_queries_where_there_is_more_to_tell(alice: Api) -> None:
    alice.account.batch_limit = MANY
    alice.account.save()
    things = grow(alice, FEW)
    few = {path: cost(alice, path, things) for path in READS}
    assert grow(alice, MANY) == things
    many = {path: cost(alice, path, things) for path in READS}
    assert {path: (few[path], many[path]) for path in READS if few[path] != many[path]} == {}
    assert max(many.values()) <= 10


# The registries of the code: nothing that a test could add to.
REGISTRIES = {"api/v1/formats", "api/v1/webhook-events"}


@pytest.mark.parametrize("path", sorted(set(LISTS) - REGISTRIES))
def test_a_list_tells_all_its_rows(alice: Api, path: str) -> None:
    """Otherwise the test above would count the queries of empty pages."""
    grow(alice, FEW)
    assert len(alice.get(f"/{path}").json()["results"]) >= FEW
