"""Use of keywords: counted by keyword and day, shown with the keyword, and gone after a while."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from django.utils import timezone

from batches.models import Task
from batches.postprocessing.keyword_counts import keyword_counts
from batches.recognition.transcript import KeywordOutcome, Transcript
from domains import keyword_use
from domains.keyword_use import Counts
from domains.models import Domain, Keyword, KeywordUse
from tests.clients import Client
from tests.factories import make_account, make_batch, make_domain, make_user
from tests.workbench import Engine, drop, work


def test_keywords_are_counted_as_whole_words_and_with_particles() -> None:
    text = "Ann met Joanna. ann! Annual 갤럭시는 갤럭시 버즈와 New  York, new york"
    assert keyword_counts(text, ["Ann", "갤럭시", "갤럭시 버즈", "New York", "Zoe", " "]) == {
        "Ann": 2,
        "갤럭시": 2,
        "갤럭시 버즈": 1,
        "New York": 2,
    }


@pytest.fixture
def domain(db: None) -> Domain:
    domain = make_domain(make_account(owner=make_user()))
    for text in ("Ann", "Bob", "Zoe"):
        Keyword.unscoped.create(domain=domain, text=text)
    return domain


@pytest.mark.django_db
def test_a_day_has_one_row_for_each_keyword_however_many_tasks(domain: Domain) -> None:
    for _ in range(3):
        keyword_use.note(domain, {"ann": Counts(2), "Bob": Counts(0, 1, 4), "stranger": Counts(1)})
    assert KeywordUse.unscoped.count() == 2
    today = timezone.localdate()
    ann, bob, zoe = keyword_use.lately(domain)
    assert (ann.keyword, ann.heard, ann.last_heard, ann.last_accepted) == ("Ann", 6, today, None)
    assert (bob.heard, bob.accepted, bob.refused, bob.last_refused) == (0, 3, 12, today)
    assert (zoe.heard, zoe.last_heard) == (0, None)


@pytest.mark.django_db
def test_old_days_are_not_counted_and_go_in_the_end(domain: Domain) -> None:
    ann = Keyword.unscoped.get(text="Ann")
    today = timezone.localdate()
    days = [today - timedelta(days=40), today - keyword_use.KEPT - timedelta(days=1)]
    for day in days:
        KeywordUse.unscoped.create(keyword=ann, day=day, heard=5)
    found = keyword_use.lately(domain)[0]
    assert (found.heard, found.last_heard) == (0, days[0])
    keyword_use.note(domain, {"Bob": Counts(1)})
    assert set(KeywordUse.unscoped.values_list("day", flat=True)) == {today, days[0]}


@pytest.mark.django_db
def test_noting_takes_few_statements_for_many_keywords(
    domain: Domain, django_assert_max_num_queries: Any
) -> None:
    names = [f"name {number}" for number in range(400)]
    Keyword.unscoped.bulk_create(Keyword(domain=domain, text=name) for name in names)
    with django_assert_max_num_queries(8):
        keyword_use.note(domain, {name: Counts(1 + number % 2) for number, name in enumerate(names)})
    with django_assert_max_num_queries(1):
        assert sum(each.heard for each in keyword_use.lately(domain)) == 600


class Naming(Engine):
    """An engine that tried two keywords."""

    def transcribe(self, *arguments: Any, **options: Any) -> Transcript:
        transcript = super().transcribe(*arguments, **options)
        transcript.keywords = [KeywordOutcome("morning", accepted=1), KeywordOutcome("Moring", refused=2)]
        return transcript


@pytest.fixture
def finished(db: None, settings: Any) -> Task:
    settings.SETTLE_SECONDS = 0
    batch = make_batch(make_account(owner=make_user()))
    assert batch.domain is not None
    for text in ("morning", "Moring", "evening"):
        Keyword.unscoped.create(domain=batch.domain, text=text)
    drop(batch, "a.wav")
    return work(Naming())


@pytest.mark.django_db
def test_a_finished_task_counts_its_keywords(finished: Task) -> None:
    assert finished.state == Task.State.COMPLETED
    domain = finished.batch.domain
    assert domain is not None
    use = {each.keyword: (each.heard, each.accepted, each.refused) for each in keyword_use.lately(domain)}
    assert use == {"Moring": (0, 0, 2), "evening": (0, 0, 0), "morning": (1, 1, 0)}


@pytest.mark.django_db
def test_a_failing_count_does_not_fail_the_task(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: Any) -> None:
        raise DatabaseError("locked")

    settings.SETTLE_SECONDS = 0
    monkeypatch.setattr(keyword_use, "note", fail)
    batch = make_batch(make_account(owner=make_user()))
    assert batch.domain is not None
    Keyword.unscoped.create(domain=batch.domain, text="morning")
    drop(batch, "a.wav")
    assert work(Engine()).state == Task.State.COMPLETED


@pytest.mark.django_db
def test_the_page_of_the_domain_shows_it(finished: Task) -> None:
    account, domain = finished.account, finished.batch.domain
    assert domain is not None
    client = Client()
    client.force_login(account.members.get())
    page = client.get(f"/domains/{domain.uid}/").content.decode()
    cells = json.loads(
        page.partition('id="keyword_use" type="application/json">')[2].partition("</script>")[0]
    )
    assert cells["morning"][0] == "1"
    assert cells["morning"][1]
    assert cells["moring"] == ["", "", cells["morning"][1]]
    assert "Times in texts of the last 30 days" in page
