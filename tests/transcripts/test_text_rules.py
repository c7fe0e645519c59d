"""The page of a domain's text rules: saving, trying, applying to old transcripts, and proposals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from batches.models import Batch, CorrectedWord, StoredTranscript, Task
from batches.transcripts import corrections, proposals, reprocessing
from domains.models import Domain
from domains.redaction import RedactionSettings
from domains.replacements import Replacement, as_text, parse_replacements
from speechportal.accounts.models import AuditEntry, Membership, User
from tests.clients import Client
from tests.factories import add_member, make_account, make_batch, make_task, make_user
from tests.postprocessing.test_transcripts import said

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> User:
    return make_user("alice@example.com")


@pytest.fixture
def batch(alice: User) -> Batch:
    return make_batch(make_account("Ours", alice))


@pytest.fixture
def domain(batch: Batch) -> Domain:
    assert batch.domain is not None
    return batch.domain


@pytest.fixture
def client(alice: User) -> Client:
    client = Client()
    client.force_login(alice)
    return client


def url(domain: Domain, below: str = "") -> str:
    return f"/domains/{domain.uid}/text/{below}"


def heard(batch: Batch, *lines: str) -> Task:
    task = make_task(batch, state="completed")
    StoredTranscript.unscoped.create(task=task, stage="words", document=said(*lines).to_dict())
    return task


RULES = {
    "replacements": "네이버 클로버 => 네이버 클로바\n/주문 (\\d+)/ => 주문번호 \\1",
    "forbidden_words": "바보\n멍청이",
    "forbidden_action": "remove",
    "redact_card": "label",
    "redact_phone": "mask",
    "muted_copy": "on",
}


def test_rules_are_saved_shown_and_downloaded(client: Client, domain: Domain) -> None:
    assert client.post(url(domain), RULES).status_code == 302
    domain.refresh_from_db()
    assert domain.replacements == (
        Replacement("네이버 클로버", "네이버 클로바"),
        Replacement(r"주문 (\d+)", r"주문번호 \1", is_pattern=True),
    )
    assert (domain.forbidden_words, domain.forbidden_action) == (["바보", "멍청이"], "remove")
    assert domain.redaction == RedactionSettings(
        kinds={"card": "label", "phone": "mask"}, keep_original=False, muted_copy=True
    )
    page = client.get(url(domain)).content.decode()
    assert "네이버 클로버 =&gt; 네이버 클로바" in page
    text = client.get(url(domain, "replacements.txt")).content.decode()
    assert tuple(parse_replacements(text)) == domain.replacements
    table = client.get(url(domain, "replacements.csv")).content.decode()
    assert tuple(parse_replacements(table)) == domain.replacements
    assert AuditEntry.unscoped.filter(action="domain.replacements_changed").count() == 1


def test_a_file_takes_the_place_of_the_table(client: Client, domain: Domain) -> None:
    file = SimpleUploadedFile(
        "table.csv", "\ufeffheard,written,pattern,language\na,b,,\n\\d,x,yes,en\n".encode()
    )
    assert client.post(url(domain), {**RULES, "replacement_file": file}).status_code == 302
    domain.refresh_from_db()
    assert domain.replacements == (Replacement("a", "b"), Replacement(r"\d", "x", True, "en"))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("nothing to see", "heard =&gt; written"),
        (" => b", "it does not say what is heard"),
        ("/(a/ => b", "the pattern cannot be used"),
        ("/a*/ => b", "matches an empty text"),
        ("/(?<=a)b/ => c", "the pattern cannot be used"),
        ("/a/ => \\2", "no group 2"),
        ("[klingon] a => b", "no code of a language"),
        (f"{'a' * 201} => b", "at most 200"),
    ],
)
def test_a_line_that_cannot_be_taken_is_named(client: Client, domain: Domain, line: str, told: str) -> None:
    page = client.post(url(domain), {"replacements": f"a => b\n{line}"}).content.decode()
    assert "Line 2" in page or told in page
    assert told in page
    domain.refresh_from_db()
    assert domain.replacements == ()


def test_rules_are_tried_on_a_text_and_nothing_is_kept(client: Client, domain: Domain) -> None:
    sample = "네이버 클로버 주문 12\n아무것도 아님\n카드 4111 1111 1111 1111 저런 바보야"
    answer = client.post(url(domain), {**RULES, "sample": sample, "try": "1"})
    page = answer.content.decode()
    assert "2 lines change." in page
    assert "네이버 클로바 주문번호 12" in page
    assert "카드 [CARD] 저런 야" in page
    domain.refresh_from_db()
    assert (domain.replacements, domain.forbidden_words) == ((), [])


def test_rules_are_tried_on_a_task_but_not_past_its_redaction(
    client: Client, domain: Domain, batch: Batch
) -> None:
    domain.redaction = RedactionSettings(kinds={"phone": "mask"})
    domain.save()
    task = heard(batch, "네이버 클로버 010-1234-5678")
    reprocessing.apply(StoredTranscript.unscoped.get(task=task).pk)
    assert StoredTranscript.unscoped.get(task=task).original
    answer = client.post(url(domain), {"replacements": "클로버 => 클로바", "task": task.uid, "try": "1"})
    page = answer.content.decode()
    assert "네이버 클로바 ****" in page
    assert "1234" not in page


def test_a_task_of_another_account_is_not_there(client: Client, domain: Domain) -> None:
    other = heard(make_batch(), "secret words")
    page = client.post(
        url(domain), {"replacements": "a => b", "task": other.uid, "try": "1"}
    ).content.decode()
    assert "no task with this ID" in page
    assert "secret words" not in page


def test_old_transcripts_are_replaced_anew_from_what_was_heard(
    client: Client, domain: Domain, batch: Batch
) -> None:
    task = heard(batch, "네이버 클로버")
    for written in ("클로바", "클로바 노트"):
        client.post(url(domain), {"replacements": f"클로버 => {written}"})
        client.post(url(domain, "reprocess/"))
        for pk in reprocessing.due():
            reprocessing.reprocess(pk)
    row = StoredTranscript.unscoped.get(task=task)
    assert row.published().text == "네이버 클로바 노트"
    assert row.recognised().text == "네이버 클로버"
    assert row.reprocess_due_at is None


def correct(task: Task, *lines: str) -> None:
    for index, line in enumerate(lines):
        corrections.correct_text(task=task, index=index, text=line, by=None)


def test_a_word_corrected_the_same_way_three_times_is_proposed(
    client: Client, domain: Domain, batch: Batch
) -> None:
    first, second = heard(batch, "오늘 클로버 써요", "클로버 노트"), heard(batch, "그 클로버 말이죠")
    correct(first, "오늘 클로바 써요", "클로바 노트")
    assert proposals.proposals(domain) == []
    correct(second, "그 클로바 말이죠")
    assert proposals.proposals(domain) == [proposals.Proposal("클로버", "클로바", 3)]
    page = client.get(url(domain)).content.decode()
    assert "Proposed by corrections" in page
    answer: dict[str, Any] = {"heard": "클로버", "written": "클로바", "as": "replacement"}
    client.post(url(domain, "proposal/"), answer)
    domain.refresh_from_db()
    assert domain.replacements == (Replacement("클로버", "클로바"),)
    assert proposals.proposals(domain) == []


def test_a_correction_that_is_taken_back_proposes_nothing(domain: Domain, batch: Batch) -> None:
    task = heard(batch, "클로버", "클로버", "클로버")
    correct(task, "클로바", "클로바", "클로바")
    correct(task, "클로버")
    assert proposals.proposals(domain) == []
    assert CorrectedWord.unscoped.count() == 2


@pytest.mark.parametrize("answer", ["keyword", "declined"])
def test_a_proposal_is_boosted_or_declined(client: Client, domain: Domain, batch: Batch, answer: str) -> None:
    correct(heard(batch, "클로버", "클로버", "클로버"), "클로바", "클로바", "클로바")
    client.post(url(domain, "proposal/"), {"heard": "클로버", "written": "클로바", "as": answer})
    domain.refresh_from_db()
    assert proposals.proposals(domain) == []
    assert list(domain.keywords.values_list("text", flat=True)) == (["클로바"] if answer == "keyword" else [])


def test_managers_do_not_delete_originals(batch: Batch, domain: Domain) -> None:
    bob = make_user("bob@example.com")
    add_member(batch.account, bob, Membership.Role.MANAGER)
    client = Client()
    client.force_login(bob)
    assert client.get(url(domain)).status_code == 200
    assert client.post(url(domain, "delete-originals/")).status_code == 403


def test_batch_and_domain_forbid_words_together(batch: Batch, domain: Domain) -> None:
    domain.forbidden_words = ["alpha"]
    domain.save()
    batch.recognition = batch.recognition.with_changes({"forbidden": "beta, alpha"})
    assert batch.task_settings().forbidden == "alpha, beta"


def test_the_table_as_text_is_read_back() -> None:
    rows = [
        Replacement("a", ""),
        Replacement(r"b (\d)", r"\1", True, "en"),
        Replacement("다", "라", language="ko"),
    ]
    assert parse_replacements(as_text(rows)) == rows
    assert json.loads(json.dumps([row.to_json() for row in rows]))[0]["heard"] == "a"
