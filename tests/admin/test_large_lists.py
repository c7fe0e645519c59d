"""List pages and searches use a fixed number of queries, none of which scans a whole table."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import translation

from batches.models import Batch, ResultFile, Task
from speechportal.accounts.models import Account
from tests import factories
from tests.admin.staff import signed_in
from tests.clients import Client

pytestmark = pytest.mark.django_db
LIST = "/admin/batches/task/"


@pytest.fixture
def batch() -> Batch:
    batch = factories.make_batch()
    for number in range(120):
        factories.make_task(batch, f"file-{number:03}.wav", state="failed" if number % 10 == 0 else "waiting")
    return batch


def names(client: Client, query: str = "") -> list[str]:
    response = client.get(LIST + query)
    assert response.status_code == 200
    return [task.name for task in response.context["cl"].result_list]


def test_pages_follow_the_last_row_seen(batch: Batch) -> None:
    client = signed_in("viewer")
    expected = [f"file-{number:03}.wav" for number in reversed(range(120))]
    first = client.get(LIST).context["cl"]
    assert [task.name for task in first.result_list] == expected[:50]
    assert first.newer is None
    second = client.get(LIST + first.older).context["cl"]
    assert [task.name for task in second.result_list] == expected[50:100]
    third = client.get(LIST + second.older).context["cl"]
    assert [task.name for task in third.result_list] == expected[100:]
    assert third.older is None
    back = client.get(LIST + third.newer).context["cl"]
    assert [task.name for task in back.result_list] == expected[50:100]
    assert client.get(LIST + back.newer).context["cl"].newer is None


def test_filters_and_searches_find_what_they_say(batch: Batch) -> None:
    other = factories.make_task(factories.make_batch(), "elsewhere.wav")
    client = signed_in("viewer")
    assert len(names(client, "?state=failed")) == 12
    assert names(client, f"?account={other.account.uid}") == ["elsewhere.wav"]
    assert names(client, f"?q={other.uid}") == ["elsewhere.wav"]
    assert names(client, f"?q={other.batch.uid}") == ["elsewhere.wav"]
    assert names(client, "?q=elsewh") == ["elsewhere.wav"]
    assert names(client, "?q=where.wav") == ["elsewhere.wav"]
    assert names(client, "?q=file-00")[-1] == "file-000.wav"
    assert names(client, "?q=nowhere") == []
    assert names(client, "?before=nonsense&state=nonsense")[0] == "elsewhere.wav"


def test_a_list_is_filtered_by_days_of_the_reader(batch: Batch) -> None:
    client = signed_in("viewer")  # in UTC
    first = Task.unscoped.earliest("pk").pk
    for number, row in enumerate(Task.unscoped.order_by("pk")):
        moment = datetime(2026, 3, 1, 23, 30, tzinfo=UTC) + timedelta(hours=number)
        Task.unscoped.filter(pk=row.pk).update(created_at=moment)
    assert first == Task.unscoped.earliest("created_at").pk
    assert names(client, "?since=2026-03-02&until=2026-03-02") == [
        f"file-{number:03}.wav" for number in range(24, 0, -1)
    ]
    assert names(client, "?until=2026-03-01") == ["file-000.wav"]
    assert names(client, "?since=2026-03-06&state=failed") == ["file-110.wav", "file-100.wav"]
    assert len(names(client, "?since=0001-01-01&until=9999-12-31")) == 50
    assert len(names(client, "?since=2026-13-45&until=%00")) == 50
    assert names(client, "?since=2026-03-07") == []
    page = client.get(LIST + "?since=2026-03-06&state=failed&q=file-1").content.decode()
    assert 'name="since" value="2026-03-06"' in page
    assert (
        '<input type="hidden" name="state" value="failed"><input type="hidden" name="q" value="file-1">'
        in page
    )


def test_related_rows_are_headed_in_the_reader_s_language(batch: Batch) -> None:
    client = signed_in("viewer")
    with translation.override("ko"):
        page = client.get(LIST, headers={"accept-language": "ko"}).content.decode()
    headings = re.findall(
        r'<th scope="col" class="column-linked[^"]*">\s*<div class="text"><span>(.*?)</span>', page
    )
    assert headings == ["계정", "배치"]


def test_no_query_of_a_list_counts_or_scans_all_tasks(batch: Batch) -> None:
    client = signed_in("viewer")
    for query in (
        "",
        "?state=failed",
        f"?batch={batch.uid}",
        f"?account={batch.account.uid}&state=failed",
        "?q=file-1",
        "?since=2026-03-02&until=2026-03-02",
    ):
        client.get(LIST + query)  # Content types and the like are cached now.
        with CaptureQueriesContext(
            connection,
        ) as queries:
            client.get(LIST + query)
        statements = [each["sql"] for each in queries if "batches_task" in each["sql"]]
        assert statements
        assert len(queries) < (40 if "since" in query else 16)
        for statement in statements:
            assert "COUNT(" not in statement
            if connection.vendor == "sqlite":
                with connection.cursor() as cursor:
                    cursor.execute(f"EXPLAIN QUERY PLAN {statement}")
                    plan = " ".join(str(row[3]) for row in cursor.fetchall())
                # Newest first by the primary key, and left after a page: the only scan that is allowed.
                unbounded = "SCAN batches_task" in plan and "LIMIT" not in statement
                assert not unbounded, (statement, plan)
                assert "USE TEMP B-TREE FOR ORDER BY" not in plan or "LIMIT 51" not in statement, (
                    statement,
                    plan,
                )


def test_the_first_page_s_queries_do_not_grow(batch: Batch) -> None:
    client = signed_in("administrator")

    def count() -> int:
        client.get("/admin/")
        with CaptureQueriesContext(connection) as queries:
            assert client.get("/admin/").status_code == 200
        return len(queries)

    before = count()
    for _ in range(5):
        factories.make_task(factories.make_batch())
    assert count() == before


def test_every_list_has_a_fixed_number_of_queries() -> None:
    client = signed_in("administrator")
    lists = [
        reverse(f"admin:{app}_{model}_changelist")
        for app, model in [
            ("accounts", "user"),
            ("accounts", "membership"),
            ("domains", "domain"),
            ("batches", "batch"),
            ("batches", "task"),
            ("accounts", "auditentry"),
        ]
    ]

    def counts() -> list[int]:
        found = []
        for page in lists:
            client.get(page)
            with CaptureQueriesContext(connection) as queries:
                client.get(page)
            found.append(len(queries))
        return found

    def grow() -> None:
        account = factories.make_account(owner=factories.make_user())
        factories.make_task(factories.make_batch(account))

    grow()
    before = counts()
    for _ in range(4):
        grow()
    assert counts() == before


def test_everything_is_found_from_one_field(batch: Batch) -> None:
    client = signed_in("viewer")
    account = Account.objects.get(pk=batch.account_id)
    task = Task.unscoped.filter(batch=batch).first()
    alice = factories.make_user("alice@example.com")
    assert task is not None
    for text, row in [(account.uid, account), (batch.uid, batch), (task.uid, task), ("alice@exam", alice)]:
        response = client.get("/admin/search/", {"q": text})
        kind = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
        page = client.get("/admin/search/", {"q": text}, follow=True).content.decode()
        assert reverse(kind, args=[row.pk]) in (response.headers.get("Location", "") + page)
    several = client.get("/admin/search/", {"q": "file-11"}).content.decode()
    assert several.count("tsk_") == 5
    assert client.get("/admin/search/", {"q": "nothing like it"}).status_code == 200
    assert client.get("/admin/search/").status_code == 200


@pytest.mark.parametrize("name", ["task", "delivery", "charge", "executionresult"])
def test_neighbours_are_looked_up_before_their_rows(batch: Batch, name: str) -> None:
    """A join instead would make PostgreSQL scan the whole table (tests/bench_admin.py measures it)."""
    client = signed_in("viewer")
    table = f'"batches_{name}"'
    for query in (f"q={batch.uid}", f"q={batch.account.uid}", "q=nothing", f"account={batch.account.uid}"):
        with CaptureQueriesContext(connection) as queries:
            client.get(f"/admin/batches/{name}/?{query}")
        lists = [each["sql"] for each in queries if f"FROM {table}" in each["sql"]]
        (conditions,) = [sql.partition(" WHERE ")[2] for sql in lists if sql.endswith("LIMIT 51")]
        for other in {'"accounts_account"', '"batches_batch"', '"batches_task"'} - {table}:
            assert other not in conditions


def test_a_neighbour_s_rows_and_their_own_are_found(batch: Batch) -> None:
    task = factories.make_task(factories.make_batch(), "alone.wav", state="completed")
    result = ResultFile.unscoped.create(
        task=task, connection=task.connection, format="srt", key="out/alone.srt"
    )
    client = signed_in("viewer")

    def rows(address: str) -> list[object]:
        return list(client.get(address).context["cl"].result_list)

    assert rows(f"/admin/batches/resultfile/?q={task.uid}") == [result]
    assert rows("/admin/batches/resultfile/?q=out/alone.srt") == [result]
    assert rows("/admin/batches/resultfile/?q=out/other.srt") == []
    assert rows(f"/admin/batches/task/?account={task.account.uid}") == [task]
    assert rows("/admin/batches/task/?account=acc_0000000000000000") == []
