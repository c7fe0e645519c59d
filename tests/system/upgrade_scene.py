"""Script of the upgrade test: migrates an earlier version's database forward, back and forward again."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import django

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "speechportal.settings")
django.setup()

from django.apps import apps as current_apps  # noqa: E402 - after django.setup()
from django.conf import settings  # noqa: E402 - as above
from django.contrib.auth.hashers import make_password  # noqa: E402 - as above
from django.core.management import call_command  # noqa: E402 - as above
from django.db import connection  # noqa: E402 - as above
from django.db.migrations.executor import MigrationExecutor  # noqa: E402 - as above
from django.test import Client  # noqa: E402 - as above
from django.utils import timezone  # noqa: E402 - as above

from batches import models  # noqa: E402 - as above
from batches.models import Task  # noqa: E402 - as above
from batches.tasks import lifecycle  # noqa: E402 - as above
from batches.transcripts import search  # noqa: E402 - as above
from batches.transcripts.search_query import fold, spell  # noqa: E402 - as above
from speechportal.accounts.models import Account, User  # noqa: E402 - as above
from speechportal.accounts.uids import new_uid  # noqa: E402 - as above
from speechportal.encryption import EncryptedCredentials  # noqa: E402 - as above
from speechportal.storage.models import Connection  # noqa: E402 - as above
from tests.system.releases import RELEASES  # noqa: E402 - as above
from tests.webhooks.makers import DOCUMENT  # noqa: E402 - as above
from tests.workbench import Engine, work  # noqa: E402 - as above

# A task's settings, as they are stored when it starts.
SETTINGS: dict[str, Any] = {
    "domain": "calls",
    "recognition": {"language": "en-US", "speakers": False},
    "formats": ["json"],
    "keywords": [],
    "result_path": "out/",
    "folder": "in/calls/",
}
FOLDER = Path(settings.STORAGE_LOCAL_ROOTS[0]) / "alice"


def install(release: str) -> None:
    """Migrate the tables to an earlier release, and those of other apps to the present one."""
    executor = MigrationExecutor(connection)
    leaves = [each for each in executor.loader.graph.leaf_nodes() if each[0] not in RELEASES[release]]
    executor.migrate([*leaves, *targets_of(release)])


def targets_of(release: str) -> list[tuple[str, str]]:
    return [(app, name) for app, name in RELEASES[release].items() if name != "zero"]


def go_back(release: str) -> None:
    for app, name in RELEASES[release].items():
        call_command("migrate", app, name, verbosity=0)


def models_of(release: str) -> Any:
    """Models of an earlier release."""
    return MigrationExecutor(connection).loader.project_state(targets_of(release)).apps


def version_of(key: str) -> str:
    """Version of a file in the storage."""
    if not (file := FOLDER / key).exists():
        return "1"
    there = file.stat()
    return f"{there.st_size}-{there.st_mtime_ns}-{there.st_ino}"


class Past:
    """Creates rows of every kind in the tables of a release, with the columns of the first one only."""

    def __init__(self, apps: Any) -> None:
        self.apps = apps

    def make(self, model: str, **values: Any) -> Any:
        kind = self.apps.get_model(model)
        # In migrations an identifier is a plain column: its value comes from the model of today.
        if any(field.name == "uid" for field in kind._meta.fields):
            current: Any = current_apps.get_model(model)._meta.get_field("uid")
            values.setdefault("uid", current.get_default())
        return kind._base_manager.create(**values)

    def fill(self) -> None:
        make = self.make
        user = make("accounts.User", email="alice@example.com", password=make_password("correct horse"))
        account = make("accounts.Account", name="Alice", batch_limit=3, price_per_file=Decimal("0.25"))
        make("accounts.Membership", account=account, user=user, role="owner")
        domain = make("domains.Domain", account=account, name="Calls", code="calls", plan="basic")
        make("domains.Keyword", domain=domain, text="portal")
        local, _s3 = self.connections(account)
        batch = make(
            "batches.Batch",
            account=account,
            domain=domain,
            connection=local,
            name="calls",
            input_path="in/",
            result_path="out/",
            formats=["json"],
            recognition={"language": "en-US", "speakers": False},
            last_task_order=5,
            last_execution_result=1,
        )
        common = {"account": account, "batch": batch, "connection": local}
        self.results(common, self.tasks(common))

    def connections(self, account: Any) -> tuple[Any, Any]:
        uid = new_uid("con")
        credentials = EncryptedCredentials(account=account.uid, row=uid, field="secrets")
        place = {"endpoint_url": "https://s3.example", "region": "us-east-1", "bucket": "calls"}
        values = {
            "provider": "s3",
            "parameters": {**place, "access_key": "AKIA"},
            "place": "calls/",
            "encrypted_secret": credentials.encrypt('{"secret": "s3cret"}'),
        }
        s3 = self.make("storage.Connection", uid=uid, account=account, name="S3", **values)
        for name in ("in", "out"):
            (FOLDER / name).mkdir(parents=True)
        for name in ("waiting", "in_progress"):
            (FOLDER / "in" / f"{name}.mp3").write_bytes(b"sound")
        values = {
            "provider": "local",
            "parameters": {"local_folder": str(FOLDER)},
            "place": str(FOLDER),
        }
        return self.make("storage.Connection", account=account, name="Local", **values), s3

    def tasks(self, common: dict[str, Any]) -> Any:
        """Create a task in each state; returns the completed one."""
        now = timezone.now()
        report = self.make(
            "batches.ExecutionResult",
            number=1,
            task_count=2,
            key="out/calls-execution-result-00001.csv",
            written_at=now,
            **common,
        )
        begun = {"started_at": now, "settings": SETTINGS, "attempts": 1}
        ended = {**begun, "finished_at": now}
        states: dict[str, dict[str, Any]] = {
            "completed": {"media_duration": 1000, "execution_result": report, **ended},
            "failed": {"error_code": "a", "error_message": "No.", "execution_result": report, **ended},
            "cancelled": ended,
            "in_progress": {"lease_token": uuid4(), "lease_expires_at": now + timedelta(days=1), **begun},
            "waiting": {},
        }
        made = []
        for order, (state, values) in enumerate(states.items(), start=1):
            key = f"in/{state}.mp3"
            row = {"state": state, "task_order": order, "name": f"{state}.mp3", "input_key": key}
            row = {**row, "input_version": version_of(key), "input_size": 5, "input_modified_at": now}
            made.append(self.make("batches.Task", **row, **values, **common))
        return made[0]

    def results(self, common: dict[str, Any], task: Any) -> None:
        now = timezone.now()
        self.make("batches.StoredTranscript", task=task, stage="words", document=DOCUMENT)
        words = spell(fold(DOCUMENT["segments"][0]["text"]))  # type: ignore[index] # a document
        self.make("batches.SearchText", task=task, account=common["account"], text=words)
        file = {"format": "json", "key": "out/completed.mp3.json", "size": 9, "written_at": now}
        self.make("batches.ResultFile", task=task, connection=common["connection"], **file)
        self.make(
            "batches.Charge",
            account=common["account"],
            batch=common["batch"],
            task=task,
            batch_name="calls",
            domain_code="calls",
            input_name="completed.mp3",
            media_duration=1000,
            amount=Decimal("0.25"),
            currency="USD",
        )


def rows_of(apps: Any) -> dict[str, list[dict[str, Any]]]:
    """All rows in our tables, by the columns of a release."""
    labels = {"accounts", "storage", "domains", "batches"}
    found = [model for model in apps.get_models() if model._meta.app_label in labels]
    return {model._meta.label: list(model._base_manager.order_by("pk").values()) for model in found}


def look_around() -> None:
    """Check the migrated rows with the present code."""
    account = Account.objects.get()
    assert (account.batch_limit, account.price_per_file, account.is_suspended) == (3, Decimal("0.25"), False)
    s3 = Connection.objects.for_account(account).get(name="S3")
    assert s3.secrets() == {"secret": "s3cret"}
    for model in (models.Batch, models.Task, Connection, User):
        for row in model._base_manager.all():
            row.validate_constraints()
    (found,) = search.search(account, "여보세요")
    assert found.name == "completed.mp3"
    charge = models.Charge.objects.for_account(account).get()
    assert charge.task.result_files.get().format == "json"
    assert models.ExecutionResult.unscoped.get(tasks=charge.task).number == 1


def open_pages() -> None:
    task = Task.unscoped.get(state="completed")
    alice = User.objects.get()
    assert alice.check_password("correct horse")
    pages = Client(headers={"host": "127.0.0.1"})
    pages.force_login(alice)
    for address in ("/", f"/batches/{task.batch.uid}/", f"/batches/{task.batch.uid}/tasks/{task.uid}/"):
        assert pages.get(address, follow=True).status_code == 200, address


def go_on() -> None:
    """Work that was waiting and work that was under way are done; the finished is not done again."""
    Task.unscoped.filter(state="in_progress").update(lease_expires_at=timezone.now())
    assert lifecycle.reap() == 1
    while Task.unscoped.filter(state="waiting").exists():
        work(Engine())
    states = dict(Task.unscoped.values_list("name", "state"))
    assert states == {
        "completed.mp3": "completed",
        "failed.mp3": "failed",
        "cancelled.mp3": "cancelled",
        "in_progress.mp3": "completed",
        "waiting.mp3": "completed",
    }, states
    assert models.Charge.unscoped.count() == 3


def main(release: str) -> None:
    install(release)
    old = models_of(release)
    Past(old).fill()
    before = rows_of(old)
    assert all(before[f"batches.{name}"] for name in ("Task", "Charge", "StoredTranscript", "ResultFile"))
    call_command("migrate", verbosity=0)
    look_around()
    go_back(release)
    after = rows_of(old)
    assert after == before, [table for table in before if after[table] != before[table]]
    call_command("migrate", verbosity=0)
    look_around()
    open_pages()
    go_on()


if __name__ == "__main__":
    main(sys.argv[1])
