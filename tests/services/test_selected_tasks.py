"""Actions on many tasks: the selected ones, or all that match a filter, on the page and through the API."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from batches.models import Batch, Task
from batches.services import selected_tasks
from batches.services.task_filters import TaskFilter
from speechportal.accounts.models import Membership, User
from speechportal.platform.keyset import Cursor
from tests.clients import Client
from tests.factories import add_member, make_account, make_batch, make_task, make_user

pytestmark = pytest.mark.django_db
State = Task.State


@pytest.fixture
def alice() -> User:
    return make_user("alice@example.com")


@pytest.fixture
def batch(alice: User) -> Batch:
    account = make_account()
    add_member(account, alice, Membership.Role.OWNER)
    return make_batch(account)


@pytest.fixture
def tasks(batch: Batch) -> dict[str, Task]:
    return {
        "waiting": make_task(batch, "waiting.wav"),
        "failed": make_task(batch, "failed.wav", state=State.FAILED, media_duration=90_000),
        "completed": make_task(
            batch,
            "completed.wav",
            state=State.COMPLETED,
            media_duration=600_000,
            whisper_model="base",
            moved_key="in/calls/completed.wav",
            moved_version="v",
            moved_at=timezone.now(),
        ),
    }


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def states(batch: Batch) -> dict[str, str]:
    return dict(Task.unscoped.filter(batch=batch, original=None).values_list("name", "state"))


def names(batch: Batch, **query: str) -> list[str]:
    return [task.name.removesuffix(".wav") for task in TaskFilter.from_query(query).apply(batch)]


def test_filters_and_orders(batch: Batch, tasks: dict[str, Task]) -> None:
    Task.unscoped.filter(pk=tasks["waiting"].pk).update(created_at=timezone.now() - timedelta(days=3))
    yesterday = (timezone.localdate() - timedelta(days=1)).isoformat()
    assert names(batch) == ["completed", "failed", "waiting"]
    assert names(batch, sort="order") == ["waiting", "failed", "completed"]
    assert names(batch, sort="name") == ["completed", "failed", "waiting"]
    assert names(batch, sort="duration") == ["failed", "completed", "waiting"]
    assert names(batch, sort="-duration") == ["completed", "failed", "waiting"]
    assert names(batch, since=yesterday) == ["completed", "failed"]
    assert names(batch, until=yesterday) == ["waiting"]
    assert names(batch, shortest="2") == ["completed"]
    assert names(batch, longest="2") == ["failed"]
    assert names(batch, model="base") == ["completed"]
    assert names(batch, state="failed", q="FAIL") == ["failed"]


def test_an_action_that_fits_no_task_cannot_be_confirmed(
    alice: User, batch: Batch, tasks: dict[str, Task]
) -> None:
    client, address = client_of(alice), reverse("batches:selected_tasks", args=[batch.uid, "acknowledge"])
    confirm = re.compile(r"""<button\s+class="button primary"\s+(disabled)?>""")
    choice = re.compile(r"""name="all"\s+value="([1]?)"\s+required\s+(checked|disabled)?""")
    page = client.get(address, {"task": tasks["waiting"].uid}).content.decode()
    assert choice.findall(page) == [("", "disabled"), ("1", "")]  # One failure may still be chosen by "all".
    assert confirm.findall(page) == [""]
    page = client.get(address, {"task": tasks["waiting"].uid, "state": "waiting"}).content.decode()
    assert choice.findall(page) == [("", "disabled"), ("1", "disabled")]
    assert confirm.findall(page) == ["disabled"]


@pytest.mark.parametrize(
    "odd",
    [
        {"sort": "-secret", "state": "none", "shortest": "-1"},
        {"since": "2026-13-45", "until": "9999-12-31", "longest": "9" * 30},
        {"since": "0001-01-01", "shortest": "٣", "model": ""},
    ],
)
def test_what_cannot_be_read_does_not_filter(
    batch: Batch, tasks: dict[str, Task], odd: dict[str, str]
) -> None:
    assert names(batch, **odd) == ["completed", "failed", "waiting"]


def test_a_filter_survives_its_address(batch: Batch) -> None:
    query = {"state": "failed", "q": "a b", "since": "2026-11-01", "shortest": "0", "sort": "-size"}
    assert TaskFilter.from_query(TaskFilter.from_query(query).to_query()).to_query() == query


def test_selected_tasks_are_retried_and_others_left(
    alice: User, batch: Batch, tasks: dict[str, Task]
) -> None:
    client, address = client_of(alice), reverse("batches:selected_tasks", args=[batch.uid, "retry"])
    chosen = [tasks["failed"].uid, tasks["completed"].uid]
    asked = client.get(address, {"task": chosen})
    assert "1 task of the 2 selected" in asked.content.decode()
    done = client.post(address, {"task": chosen, "all": ""}, follow=True)
    assert "1 task waits for its turn again." in done.content.decode()
    assert "1 task was left as it is" in done.content.decode()
    assert states(batch) == {"waiting.wav": "waiting", "failed.wav": "waiting", "completed.wav": "completed"}


def test_all_that_match_are_cancelled(alice: User, batch: Batch, tasks: dict[str, Task]) -> None:
    for number in range(60):
        make_task(batch, f"more-{number}.wav")
    address = reverse("batches:selected_tasks", args=[batch.uid, "cancel"])
    client_of(alice).post(address, {"all": "1", "q": "more", "task": [tasks["waiting"].uid]})
    found = states(batch)
    assert found.pop("waiting.wav") == "waiting"
    assert {state for name, state in found.items() if name.startswith("more-")} == {
        State(found["more-0.wav"])
    }
    assert State(found["more-0.wav"]) in Task.FINAL


def test_files_are_recognised_again_up_to_a_limit(
    batch: Batch, tasks: dict[str, Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    every = TaskFilter().apply(batch)
    outcome = selected_tasks.recognise_again(batch=batch, tasks=every)
    assert outcome == selected_tasks.Outcome(done=1, passed_over=2)
    repeat = Task.unscoped.get(original=tasks["completed"])
    assert (repeat.state, repeat.input_key) == (State.WAITING, "in/calls/completed.wav")
    monkeypatch.setattr(selected_tasks, "MOST_REPEATS", 0)
    with pytest.raises(Exception, match="At most 0 files"):
        selected_tasks.recognise_again(batch=batch, tasks=every)


def test_tasks_of_other_batches_and_accounts_are_not_reached(
    alice: User, batch: Batch, tasks: dict[str, Task]
) -> None:
    other = make_task(make_batch(batch.account, name="other"), "x.wav")
    foreign = make_task(make_batch(make_account()), "y.wav")
    address = reverse("batches:selected_tasks", args=[batch.uid, "cancel"])
    client_of(alice).post(address, {"task": [other.uid, foreign.uid]})
    assert not Task.unscoped.filter(pk__in=[other.pk, foreign.pk]).exclude(state=State.WAITING).exists()


def test_viewers_and_strangers(batch: Batch, tasks: dict[str, Task]) -> None:
    vera, charlie = make_user("vera@example.com"), make_user("charlie@example.com")
    add_member(batch.account, vera, Membership.Role.VIEWER)
    add_member(make_account(), charlie, Membership.Role.OWNER)
    address = reverse("batches:selected_tasks", args=[batch.uid, "cancel"])
    for user, status in ((vera, 403), (charlie, 404)):
        assert client_of(user).post(address, {"all": "1"}).status_code == status
    page = client_of(vera).get(reverse("batches:detail", args=[batch.uid]), follow=True).content.decode()
    assert "waiting.wav" in page
    assert "data-select-all" not in page
    assert states(batch)["waiting.wav"] == "waiting"
    unknown = reverse("batches:selected_tasks", args=[batch.uid, "delete"])
    assert client_of(charlie).get(unknown).status_code == 404


def test_pages_of_a_sorted_list_follow_each_other(alice: User, batch: Batch) -> None:
    for number in range(55):
        make_task(batch, f"{number:02}.wav", media_duration=None if number < 52 else number)
    client, address = client_of(alice), reverse("batches:detail", args=[batch.uid])

    def names(query: dict[str, str]) -> list[str]:
        page = client.get(address, query, follow=True)
        found = {name: page.context[name] for name in ("next", "previous")}
        cursors.clear()
        cursors.update({name: cursor for name, cursor in found.items() if cursor})
        return [task.name for task, _ in page.context["rows"]]

    cursors: dict[str, str] = {}
    every = [f"{number:02}.wav" for number in range(55)]
    for sort, expected in (
        ("name", every),
        ("-name", every[::-1]),
        ("duration", every[52:] + every[:52]),  # Files without one come last.
        ("-duration", every[:51:-1] + every[51::-1]),
    ):
        first = names({"sort": sort})
        assert first == expected[:50]
        assert set(cursors) == {"next"}
        assert names({"sort": sort, "after": cursors["next"]}) == expected[50:]
        assert set(cursors) == {"previous"}
        assert names({"sort": sort, "after": cursors["previous"]}) == first
    assert names({"sort": "name", "after": "nonsense"}) == every[:50]
    assert names({"sort": "duration", "after": Cursor("x", "1").encode()}) == (every[52:] + every[:52])[:50]
    oldest = client.get(address, {"sort": "order"}, follow=True)
    assert [task.task_order for task, _ in oldest.context["rows"]][:2] == [1, 2]
