"""Task list of a batch: columns and filters that users keep, every column sorts, and what is downloaded."""

from __future__ import annotations

import csv
import io
import json
import zipfile

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from batches.models import Batch, StoredTranscript, Task
from batches.recognition.transcript import Segment, Transcript
from batches.services.task_filters import SORTS, TaskFilter
from batches.web import lists
from speechportal.accounts.models import Membership, User
from tests.clients import Client
from tests.factories import add_member, make_account, make_batch, make_task, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> User:
    return make_user()


@pytest.fixture
def batch(alice: User) -> Batch:
    return make_batch(make_account(owner=alice), name="calls")


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def heard(batch: Batch, name: str, language: str, speakers: str, flags: list[str]) -> Task:
    """A completed task; ``speakers`` has a label for each line."""
    task = make_task(batch, name, state="completed", whisper_model="base")
    segments = [
        Segment(1000 * at, 1000 * at + 900, "words", speaker=label) for at, label in enumerate(speakers)
    ]
    document = Transcript(language, 1.0, 1000, segments, list(dict.fromkeys(speakers)), flags=flags)
    StoredTranscript.unscoped.create(task=task, stage="speakers", document=document.to_dict())
    return task


@pytest.fixture
def three(batch: Batch) -> list[Task]:
    return [
        heard(batch, "a.wav", "ko", "1212", []),
        heard(batch, "b.wav", "en", "1", ["truncated"]),
        make_task(batch, "c.wav"),
    ]


def headings(page: str) -> list[str]:
    return [part.split("</a>")[0].split(">")[-1] for part in page.split('class="sort"')[1:]]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"language": "ko"}, ["a.wav"]),
        ({"speakers": "2"}, ["a.wav"]),
        ({"speakers": "1"}, ["b.wav"]),
        ({"flag": "truncated"}, ["b.wav"]),
        ({"flag": "nonsense"}, ["c.wav", "b.wav", "a.wav"]),
        ({"sort": "language"}, ["b.wav", "a.wav", "c.wav"]),
        ({"sort": "-speakers"}, ["a.wav", "b.wav", "c.wav"]),
        ({"sort": "-state"}, ["c.wav", "b.wav", "a.wav"]),
    ],
)
def test_tasks_are_filtered_and_sorted_by_what_was_heard(
    batch: Batch, three: list[Task], query: dict[str, str], names: list[str]
) -> None:
    chosen = TaskFilter.from_query(query)
    assert [task.name for task in chosen.apply(batch)] == names
    assert TaskFilter.from_query(chosen.to_query()) == chosen


def test_every_column_sorts_and_shows(alice: User, batch: Batch, three: list[Task]) -> None:
    client = client_of(alice)
    every = {"columns": "1", "column": list(lists.COLUMNS), "back": f"/batches/{batch.uid}/"}
    page = client.post("/lists/tasks/", every, follow=True).content.decode()
    assert headings(page) == [str(column.label) for column in lists.COLUMNS.values()]
    assert "File damaged or cut off" in page.split("<tbody>")[1]
    for key in lists.COLUMNS:
        found = client.get(f"/batches/{batch.uid}/?sort={key}").content.decode()
        assert 'aria-sort="ascending"' in found, key


def plan_of(sql: str) -> str:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            return " ".join(str(row[3]) for row in cursor.fetchall())
        # A few rows are sorted sooner than an index is read; after this, only where there is none.
        cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {sql}")
        return " ".join(row[0] for row in cursor.fetchall())


@pytest.mark.parametrize("sort", [f"{sign}{column}" for column in SORTS for sign in ("", "-")])
def test_a_sorted_page_is_read_from_an_index(alice: User, batch: Batch, three: list[Task], sort: str) -> None:
    client, address = client_of(alice), f"/batches/{batch.uid}/?sort={sort}"
    client.get(address)
    with CaptureQueriesContext(connection) as asked:
        assert client.get(address).status_code == 200
    pages = [each["sql"] for each in asked if "batches_task" in each["sql"] and " LIMIT " in each["sql"]]
    pages = [sql for sql in pages if " ORDER BY " in sql and "input_key" in sql]
    assert 1 <= len(pages) <= 2, "tasks with a value, and those without"
    for sql in pages:
        plan = plan_of(sql)
        assert "USE TEMP B-TREE FOR ORDER BY" not in plan, plan
        assert plan.count("Sort Key") == plan.count("Presorted Key"), plan


def test_each_user_keeps_columns_in_an_order_of_their_own(alice: User, batch: Batch) -> None:
    make_task(batch, "a.wav")
    bob = make_user()
    add_member(batch.account, bob, Membership.Role.VIEWER)
    address = f"/batches/{batch.uid}/"
    sent = {
        "columns": "1",
        "column": ["speakers", "state"],
        "back": address,
        "place-speakers": "1",
        "place-name": "2",
        "place-state": "3",
    }
    page = client_of(bob).post("/lists/tasks/", sent, follow=True).content.decode()
    assert headings(page) == ["Speakers", "Input file name", "State"]
    assert headings(client_of(bob).get(address).content.decode()) == headings(page)
    usual = [str(column.label) for column in lists.COLUMNS.values() if column.shown]
    assert headings(client_of(alice).get(address).content.decode()) == usual


def test_filters_are_kept_until_others_are_asked_for(alice: User, batch: Batch, three: list[Task]) -> None:
    client, address = client_of(alice), f"/batches/{batch.uid}/"
    sent = {"columns": "1", "column": "state", "filters": "1", "query": "language=ko&sort=name&before=9"}
    client.post("/lists/tasks/", {**sent, "back": address})
    answer = client.get(address)
    assert answer["Location"].endswith("?language=ko&sort=name")
    assert "b.wav" not in client.get(answer["Location"]).content.decode().split("<tbody>")[1]
    assert "b.wav" in client.get(f"{address}?state=").content.decode()  # "Reset"
    client.post("/lists/tasks/", {"columns": "1", "column": "state", "query": "state=", "back": address})
    assert client.get(address).status_code == 200


def test_filters_of_the_transcripts_are_kept_too(alice: User, batch: Batch) -> None:
    client = client_of(alice)
    page = client.get("/transcripts/?language=ko").content.decode()
    assert "Keep these filters for me" in page
    client.post("/lists/transcripts/", {"filters": "1", "query": "language=ko&q=x", "back": "/transcripts/"})
    assert client.get("/transcripts/")["Location"].endswith("?language=ko")
    client.post("/lists/transcripts/", {"query": "q=", "back": "/transcripts/"})
    assert client.get("/transcripts/").status_code == 200


def test_the_way_back_stays_on_the_portal(alice: User, batch: Batch) -> None:
    for back in ("https://evil.example/", "//evil.example/", "javascript:x", ""):
        answer = client_of(alice).post("/lists/tasks/", {"columns": "1", "back": back})
        assert "evil" not in answer["Location"]
        assert answer["Location"].startswith("/")
    assert client_of(alice).post("/lists/other/", {}).status_code == 404


def test_what_is_selected_or_matches_is_downloaded(alice: User, batch: Batch, three: list[Task]) -> None:
    client, address = client_of(alice), f"/batches/{batch.uid}/selected"
    answer = client.get(f"{address}.zip?task={three[0].uid}&task={three[2].uid}")
    with zipfile.ZipFile(io.BytesIO(answer.getvalue())) as archive:
        entries = set(archive.namelist())
        listed = json.loads(archive.read("manifest.json"))
    assert any(name.startswith("a.") for name in entries)
    assert not any(name.startswith("b.") for name in entries)
    assert [task["task"] for task in listed] == [three[0].uid]  # The other waits: it has no result.
    text = client.get(f"{address}.csv?language=en").getvalue().decode("utf-8-sig")
    [row] = csv.DictReader(io.StringIO(text))
    assert (row["id"], row["input file name"], row["language"], row["speakers"]) == (
        three[1].uid,
        "b.wav",
        "en",
        "1",
    )
    everything = client.get(f"{address}.csv").getvalue().decode("utf-8-sig")
    assert len(list(csv.DictReader(io.StringIO(everything)))) == 3


def test_a_page_is_jumped_to(alice: User, batch: Batch) -> None:
    for _ in range(55):
        make_task(batch)
    page = client_of(alice).get(f"/batches/{batch.uid}/").content.decode()
    assert 'name="before"' in page
    jumped = client_of(alice).get(f"/batches/{batch.uid}/?before=4").content.decode()
    assert "file-3.wav" in jumped
    assert "file-4.wav" not in jumped
