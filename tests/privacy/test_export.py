"""Account export: complete, without secrets, and without other accounts' data."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from batches.models import StoredTranscript
from batches.operations.privacy.export import TABLES, export_account
from batches.recognition.transcript import Segment, Transcript
from batches.webhooks import endpoint
from speechportal.accounts.models import Account, AuditEntry
from speechportal.accounts.tokens import api_tokens
from speechportal.storage.models import Connection
from tests import factories
from tests.admin.staff import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    alice = factories.make_user("alice@example.com")
    account = factories.make_account("Ours", alice)
    batch = factories.make_batch(account, webhook_url="https://receiver.example/hook")
    endpoint.address_changed(batch)
    task = factories.make_task(batch, "ours.wav", state="completed")
    document = Transcript("en", 1.0, 1000, [Segment(0, 1000, "What was said.")])
    StoredTranscript.unscoped.create(task=task, stage="words", document=document.to_dict())
    factories.make_task(factories.make_batch(), "theirs.wav")
    return account


def test_all_of_the_account_and_nothing_else(account: Account) -> None:
    file = io.BytesIO()
    counts = export_account(account=account, target=file)
    assert (counts["tasks"], counts["transcripts"], counts["members"]) == (1, 1, 1)
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == {
            "account.json",
            *(f"{name}.jsonl" for name, _model, _path in TABLES),
        }
        text = {name: archive.read(name).decode() for name in archive.namelist()}
    rows = [json.loads(line) for line in text["tasks.jsonl"].splitlines()]
    assert [row["name"] for row in rows] == ["ours.wav"]
    assert "What was said." in text["transcripts.jsonl"]
    assert json.loads(text["members.jsonl"])["email"] == "alice@example.com"
    assert "theirs.wav" not in "".join(text.values())


def test_no_secret_is_in_it(account: Account) -> None:
    owner = account.members.get()
    token, plain = api_tokens.create_token(account=account, created_by=owner, name="build", scopes=["read"])
    connection = Connection.unscoped.get(account=account)
    Connection.unscoped.filter(pk=connection.pk).update(
        provider="aws",
        parameters={
            "endpoint_url": "https://s3.example",
            "region": "x",
            "bucket": "calls",
            "access_key": "AKIA",
        },
        encrypted_secret="canary-ciphertext",
    )
    file = io.BytesIO()
    export_account(account=account, target=file)
    with zipfile.ZipFile(file) as archive:
        everything = "".join(archive.read(name).decode() for name in archive.namelist())
    for secret in ("canary-ciphertext", plain, token.digest, owner.password):
        assert secret not in everything


def test_the_command_and_the_page_write_it_down(account: Account, tmp_path: Path) -> None:
    file = tmp_path / "export.zip"
    call_command("export_account", account.uid, str(file), "--reason", "Asked for by mail.")
    assert zipfile.is_zipfile(file)
    with pytest.raises(CommandError, match="exists already"):
        call_command("export_account", account.uid, str(file), "--reason", "Again.")
    url = f"/admin/accounts/account/do/export/?ids={account.pk}"
    assert signed_in("support").post(url, {"reason": "By mail."}).status_code == 403
    response = signed_in("administrator").post(url, {"reason": "By mail."})
    assert zipfile.is_zipfile(io.BytesIO(b"".join(response.streaming_content)))  # type: ignore[attr-defined] # a FileResponse
    reasons = AuditEntry.unscoped.filter(action="account.exported").values_list("reason", flat=True)
    assert set(reasons) == {"Asked for by mail.", "By mail."}
