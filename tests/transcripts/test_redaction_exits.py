"""Redaction: planted numbers appear in no output of the portal, in Korean and in English."""

from __future__ import annotations

import ast
import io
import json
import logging
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.exceptions import ValidationError
from pytest_django.fixtures import Settings

from batches import formats
from batches.compat.clova import results as clova_results
from batches.models import Batch, ClientRequest, Correction, Delivery, SearchText, StoredTranscript, Task
from batches.operations.privacy.export import export_account
from batches.postprocessing.detection import KINDS
from batches.recognition.transcript import OnSegments, Transcript
from batches.transcripts import corrections, originals, reprocessing, search
from batches.webhooks import callbacks, payload
from batches.webhooks.kinds import kind_of
from batches.worker import result_files
from domains.redaction import RedactionSettings
from domains.replacements import Replacement
from speechportal.accounts.models import Account, AuditEntry, Membership, User
from tests.clients import Client
from tests.factories import add_member, make_account, make_batch, make_user
from tests.formats.samples import text_of
from tests.postprocessing import planted
from tests.workbench import Engine, Progress, drop, files, folder, work

pytestmark = pytest.mark.django_db
LANGUAGES = ["ko", "en"]


class Planted(Engine):
    """Engine that returns the planted conversation, and adds speakers in a second step."""

    def __init__(self, language: str) -> None:
        super().__init__()
        self.language = language

    def transcribe(
        self,
        path: Path,
        options: Any,
        on_progress: Progress,
        *,
        alone: bool = False,
        on_segments: OnSegments | None = None,
    ) -> Transcript:
        self._step("transcribe", on_progress)
        return planted.transcript(self.language)

    def add_speakers(
        self,
        path: Path,
        transcript: Transcript,
        options: Any,
        on_progress: Progress,
        *,
        alone: bool = False,
    ) -> Transcript:
        # Speakers are found in the words as recognised.
        assert planted.leaks(transcript.text, self.language) == planted.SECRETS[self.language]
        self._step("add_speakers", on_progress)
        return transcript


@pytest.fixture
def alice() -> User:
    return make_user("alice@example.com", "correct horse battery")


@pytest.fixture
def account(alice: User) -> Account:
    return make_account("Ours", alice)


@pytest.fixture
def batch(account: Account, settings: Settings) -> Batch:
    settings.SETTLE_SECONDS = 0
    return redacting(make_batch(account, name="calls", speakers=True, formats=list(formats.FORMATS)))


def redacting(batch: Batch, **fields: Any) -> Batch:
    assert batch.domain is not None
    batch.domain.redaction = RedactionSettings(kinds=dict.fromkeys(KINDS, "mask"), **fields)
    batch.domain.replacement_rows = [Replacement("네이버 클로버", "네이버 클로바").to_json()]
    batch.domain.save()
    return batch


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def task(batch: Batch, language: str) -> Task:
    drop(batch)
    task = work(Planted(language))
    assert task.state == Task.State.COMPLETED, task.error_message
    return task


def clean(text: str, language: str) -> None:
    """Check that a text contains the conversation and none of the secrets."""
    assert planted.KEPT in planted.squeezed(text)
    assert planted.leaks(text, language) == []


def test_the_secrets_are_there_without_redaction(batch: Batch, language: str) -> None:
    assert batch.domain is not None
    batch.domain.redaction = RedactionSettings()
    batch.domain.save()
    drop(batch)
    task = work(Planted(language))
    text = (folder(batch) / "out/a.mp3.json").read_text()
    assert planted.leaks(text, language) == planted.SECRETS[language]
    assert planted.leaks(SearchText.unscoped.get(task=task).text, language) or language == "ko"


def test_result_files(batch: Batch, task: Task, language: str) -> None:
    written = [name for name in files(batch) if name.startswith("out/a.mp3")]
    assert len(written) == len(formats.FORMATS)
    transcript = StoredTranscript.unscoped.get(task=task).published()
    for name in formats.FORMATS:
        clean(text_of(name, transcript, result_files.result_context(task)), language)
    clean((folder(batch) / "out/a.mp3.json").read_text(), language)
    with zipfile.ZipFile(folder(batch) / "out/a.mp3.docx") as archive:
        whole = " ".join(archive.read(name).decode(errors="replace") for name in archive.namelist())
    assert planted.leaks(whole, language) == []


def test_rows_of_the_database(task: Task, language: str) -> None:
    row = StoredTranscript.unscoped.get(task=task)
    clean(json.dumps(row.document, ensure_ascii=False), language)
    assert row.original
    assert planted.leaks(row.original, language) == []
    assert planted.leaks(row.recognised().text, language) == planted.SECRETS[language]


def test_pages_and_downloads(alice: User, batch: Batch, task: Task, language: str) -> None:
    client = Client()
    client.force_login(alice)
    page = f"/batches/{batch.uid}/tasks/{task.uid}/"
    clean(client.get(f"{page}?plain=1").content.decode(), language)
    clean(client.get(f"{page}lines/").content.decode(), language)
    for name, each in formats.FORMATS.items():
        answer = client.get(f"{page}results/{name}/")
        assert answer.status_code == 200
        if not each.binary:
            clean(answer.content.decode(), language)
    assert planted.leaks(client.get("/transcripts/", {"q": planted.KEPT}).content.decode(), language) == []


def test_the_api(make_token: Any, account: Account, alice: User, task: Task, language: str) -> None:
    client = Client(headers={"Authorization": f"Bearer {make_token(account, alice)}"})
    for below in ("transcript", "results/json", "results/srt", "results/txt"):
        answer = client.get(f"/api/v1/tasks/{task.uid}/{below}")
        assert answer.status_code == 200
        clean(answer.content.decode(), language)


@pytest.fixture
def make_token() -> Any:
    from speechportal.accounts.tokens import api_tokens

    def make(account: Account, user: User) -> str:
        scopes = ["tasks:read", "batches:read", "domains:write"]
        return api_tokens.create_token(account=account, created_by=user, name="t", scopes=scopes)[1]

    return make


def test_webhooks_callbacks_and_clova_answers(task: Task, language: str) -> None:
    row = StoredTranscript.unscoped.get(task=task)
    clean(payload.with_result('{"data":{}}', row).decode(), language)
    request = ClientRequest.unscoped.create(task=task, interface="clova", callback="https://example.com/x")
    clean(json.dumps(clova_results.document(task, request), ensure_ascii=False), language)
    callbacks.queue_missed()
    delivery = Delivery.unscoped.get(kind=callbacks.KIND)
    clean(kind_of(delivery).body(delivery, {task.pk: row}).decode(), language)


def test_search_finds_no_secret(account: Account, task: Task, language: str) -> None:
    assert search.matching(account, planted.KEPT).get() == task
    for query in {"ko": ["이삼사오", "4012", "planted"], "en": ["four zero", "5566778899", "planted"]}[
        language
    ]:
        assert not search.matching(account, query).exists()


def test_exports(account: Account, task: Task, language: str) -> None:
    file = io.BytesIO()
    export_account(account=account, target=file)
    with zipfile.ZipFile(file) as archive:
        whole = " ".join(archive.read(name).decode() for name in archive.namelist())
        assert "original" not in json.loads(archive.read("transcripts.jsonl").splitlines()[0])
    clean(whole, language)


def test_support_staff(account: Account, task: Task, language: str) -> None:
    staff = make_user("staff@example.com", is_staff=True)
    staff.user_permissions.add(*Permission.objects.filter(codename__startswith="view_"))
    account.support_reads_until = task.created_at.replace(year=2099)
    account.save()
    client = Client()
    client.force_login(staff, backend="django.contrib.auth.backends.ModelBackend")
    row = StoredTranscript.unscoped.get(task=task)
    url = f"/admin/batches/storedtranscript/{row.pk}/read/"
    answer = client.post(url, {"reason": "ticket 7"}, follow=True)
    assert planted.leaks(answer.content.decode(), language) == []


def test_logs(
    batch: Batch, language: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any) -> None:
        raise RuntimeError("no such place")

    monkeypatch.setattr(result_files, "write", fail)
    with caplog.at_level(logging.DEBUG):
        drop(batch)
        work(Planted(language))
    assert "no such place" in caplog.text
    assert planted.leaks(caplog.text, language) == []


def test_a_checkpoint_before_the_speakers_shows_nothing_either(batch: Batch, language: str) -> None:
    class Dying(Planted):
        def add_speakers(self, *args: Any, **kwargs: Any) -> Transcript:
            raise RuntimeError("the machine goes down")

    redacting(batch, keep_original=False)
    drop(batch)
    work(Dying(language))
    row = StoredTranscript.unscoped.get()
    assert row.stage == StoredTranscript.Stage.WORDS
    clean(json.dumps(row.document, ensure_ascii=False), language)
    clean(row.published().text, language)
    Task.unscoped.update(available_at=row.created_at)
    assert work(Planted(language)).state == Task.State.COMPLETED
    row.refresh_from_db()
    assert planted.leaks(row.recognised().text, language) == []


def test_a_correction_cannot_bring_a_number_back(
    batch: Batch, task: Task, alice: User, language: str
) -> None:
    corrections.correct_text(task=task, index=0, text="전화는 공일공 이삼사오", by=alice)
    corrections.correct_text(task=task, index=1, text="육칠팔구 planted@secret-mail.com", by=alice)
    corrections.name_speakers(task=task, names={"1": "김 010-2345-6789"}, by=alice)
    told = json.dumps(Correction.unscoped.get(task=task).lines, ensure_ascii=False)
    assert planted.leaks(told, "ko") == []
    assert "2345" not in str(Correction.unscoped.get(task=task).speaker_names)
    corrections.publish(task=task)
    assert planted.leaks((folder(batch) / "out/a.mp3.json").read_text(), "ko") == []
    assert planted.leaks(SearchText.unscoped.get(task=task).text, "ko") == []


def test_owners_see_the_original_and_each_look_is_recorded(
    alice: User, batch: Batch, task: Task, language: str
) -> None:
    url = f"/batches/{batch.uid}/tasks/{task.uid}/original/"
    client = Client()
    client.force_login(alice)
    page = client.post(url).content.decode()
    assert planted.leaks(page, language) == planted.SECRETS[language]
    assert AuditEntry.unscoped.filter(action="task.original_read", actor=alice).count() == 1
    bob = make_user("bob@example.com")
    add_member(batch.account, bob, Membership.Role.MANAGER)
    client.force_login(bob)
    assert client.post(url).status_code == 403
    assert AuditEntry.unscoped.filter(action="task.original_read").count() == 1


def test_deleting_the_original_later_needs_no_new_recognition(
    alice: User, batch: Batch, task: Task, language: str
) -> None:
    before = StoredTranscript.unscoped.get(task=task).document
    assert reprocessing.delete_original(task=task)
    row = StoredTranscript.unscoped.get(task=task)
    assert row.document == before
    assert planted.leaks(row.recognised().text, language) == []
    assert not originals.is_kept(Task.unscoped.get(pk=task.pk))
    assert originals.read(task=Task.unscoped.get(pk=task.pk)) is None


def test_an_account_that_keeps_no_original_has_none(batch: Batch, language: str) -> None:
    redacting(batch, keep_original=False)
    drop(batch)
    task = work(Planted(language))
    assert planted.leaks(StoredTranscript.unscoped.get(task=task).recognised().text, language) == []
    assert not originals.is_kept(task)


def test_old_transcripts_are_redacted_on_request(batch: Batch, language: str) -> None:
    assert batch.domain is not None
    batch.domain.redaction = RedactionSettings()
    batch.domain.replacement_rows = []
    batch.domain.save()
    drop(batch)
    task = work(engine := Planted(language))
    corrections.correct_text(task=task, index=0, text="010-2345-6789", by=None)
    redacting(batch)
    assert reprocessing.request(domain=batch.domain) == 1
    for pk in reprocessing.due():
        reprocessing.reprocess(pk)
    assert not reprocessing.due()
    clean((folder(batch) / "out/a.mp3.json").read_text(), language)
    clean((folder(batch) / "out/a.mp3.srt").read_text(), language)
    assert "2345" not in str(Correction.unscoped.get(task=task).lines)
    assert not search.matching(batch.account, "planted").exists()
    assert engine.calls == ["transcribe", "add_speakers"]
    if language == "ko":
        assert "네이버 클로바" in (folder(batch) / "out/a.mp3.json").read_text()


def test_what_was_redacted_stays_redacted_when_the_domain_redacts_less(
    batch: Batch, task: Task, language: str
) -> None:
    assert batch.domain is not None
    batch.domain.redaction = RedactionSettings()
    batch.domain.save()
    reprocessing.request(domain=batch.domain)
    for pk in reprocessing.due():
        reprocessing.reprocess(pk)
    clean((folder(batch) / "out/a.mp3.json").read_text(), language)


def test_what_was_corrected_before_redaction_cannot_be_undone_into_sight(batch: Batch) -> None:
    assert batch.domain is not None
    batch.domain.redaction = RedactionSettings()
    batch.domain.save()
    drop(batch)
    task = work(Planted("ko"))
    alice = make_user("carol@example.com")
    corrections.correct_text(task=task, index=0, text="전화 010-2345-6789", by=alice)
    corrections.correct_text(task=task, index=2, text="010-2345-6789 맞아요", by=alice)
    redacting(batch)
    reprocessing.request(domain=batch.domain)
    for pk in reprocessing.due():
        reprocessing.reprocess(pk)
    correction = Correction.unscoped.get(task=task)
    assert "2345" not in json.dumps([correction.lines, correction.history])
    with pytest.raises(ValidationError):
        corrections.undo(task=Task.unscoped.get(pk=task.pk), by=alice)


def test_a_line_that_was_split_keeps_its_words_when_others_are_redacted(batch: Batch) -> None:
    assert batch.domain is not None
    batch.domain.redaction = RedactionSettings()
    batch.domain.save()
    drop(batch)
    task = work(Planted("ko"))
    text = Task.unscoped.get(pk=task.pk).transcript.published().segments[5].text
    corrections.change(task=task, edit=lambda draft: draft.split("5", text.index("이메일은")), by=None)
    redacting(batch)
    reprocessing.request(domain=batch.domain)
    for pk in reprocessing.due():
        reprocessing.reprocess(pk)
    lines = (folder(batch) / "out/a.mp3.txt").read_text()
    assert "주민번호는 ****" in lines
    assert "이메일은 **** 입니다" in lines
    clean((folder(batch) / "out/a.mp3.json").read_text(), "ko")


# --- Nothing reads a transcript past the redaction ---------------------------------------------------

READERS = {
    # What may read the stored document itself: the model, and what writes it.
    "batches/models/stored_transcript.py",
    # What reads the words as recognised: the worker, rules applied anew, owners, and trials of rules.
}
RECOGNISED = {
    "batches/models/stored_transcript.py",
    "batches/worker/processing.py",
    "batches/transcripts/originals.py",
    "batches/transcripts/reprocessing.py",
    "batches/transcripts/rule_trials.py",
}


def _sources() -> Iterator[tuple[str, ast.Module]]:
    root = Path(formats.__file__).parents[2]
    for package in ("batches", "domains", "speechportal"):
        for path in sorted((root / package).rglob("*.py")):
            name = str(path.relative_to(root))
            if "/migrations/" not in name and not name.startswith("batches/recognition/"):
                yield name, ast.parse(path.read_text())


def _calls(tree: ast.Module, attribute: str, of: str = "") -> bool:
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == attribute
        and (not of or (isinstance(node.func.value, ast.Name) and node.func.value.id == of))
        for node in ast.walk(tree)
    )


def test_only_the_model_reads_stored_transcripts() -> None:
    found = {name for name, tree in _sources() if _calls(tree, "from_dict", of="Transcript")}
    assert found == READERS


def test_only_these_read_the_words_as_recognised() -> None:
    found = {name for name, tree in _sources() if _calls(tree, "recognised")}
    assert found | {"batches/models/stored_transcript.py"} == RECOGNISED
