"""Set-up of the demo: account, member, domain, connection and batch, and the state of a run."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from django.conf import settings

from batches.models import Batch, Task
from batches.operations.demo.recordings import RECORDINGS, make
from batches.services import batches as batch_services
from domains.models import Domain
from speechportal.accounts.models import Account, Membership, User
from speechportal.env import stored_secret
from speechportal.storage.backends.base import ObjectStore
from speechportal.storage.models import Connection

EMAIL = "demo@example.com"
NAME = {"local": "Demo", "s3": "Demo S3"}


@dataclass
class Run:
    """State of one demo run, stored on disk so that an interrupted run is continued."""

    path: Path
    storage: str
    after_order: int = 0
    files_dropped: bool = False
    done: bool = False

    @classmethod
    def load(cls, path: Path, storage: str) -> Self | None:
        if not path.exists():
            return None
        state = json.loads(path.read_text())
        return cls(path=path, **state) if state["storage"] == storage else None

    def save(self) -> None:
        state = asdict(self)
        del state["path"]
        draft = self.path.with_suffix(".draft")
        draft.write_text(json.dumps(state))
        draft.replace(self.path)


@dataclass
class Scene:
    account: Account
    batch: Batch
    password: str
    run: Run
    resumed: bool

    @property
    def store(self) -> ObjectStore:
        assert self.batch.connection is not None  # noqa: S101 - a live batch has one
        return self.batch.connection.store()

    def tasks(self) -> list[Task]:
        """Tasks of this run, in order."""
        return list(
            Task.unscoped.filter(batch=self.batch, task_order__gt=self.run.after_order)
            .prefetch_related("result_files")
            .order_by("task_order")
        )

    def drop_files(self) -> None:
        """Put the recordings into the input path; those of an interrupted run stay."""
        if self.run.files_dropped:
            return
        known = {task.name for task in self.tasks()}
        for recording in RECORDINGS:
            key = f"{self.batch.input_path}{recording.name}"
            if recording.name in known or self.store.stat(key) is not None:
                continue
            self.store.put(key, make(recording, settings.DATA_DIR / "demo" / "recordings"))
        self.run.files_dropped = True
        self.run.save()


def set_up(storage: str, connection_fields: dict[str, Any], secret: str | None) -> Scene:
    """Get or create everything that the demo needs."""
    folder = settings.DATA_DIR / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    password = stored_secret(folder / "password", secrets.token_urlsafe(9))
    account = _account(password)
    connection = _connection(account, storage, connection_fields, secret)
    batch = _batch(account, storage, connection)
    run = Run.load(folder / f"run-{storage}.json", storage)
    resumed = run is not None and not run.done
    if run is None or run.done:
        run = Run(folder / f"run-{storage}.json", storage, after_order=batch.last_task_order)
        run.save()
    return Scene(account, batch, password, run, resumed)


def _account(password: str) -> Account:
    account = Account.objects.filter(members__email=EMAIL).first()
    if account is None:
        account = Account.objects.create(name="Demo")
        user = User.objects.create_user(EMAIL, password, is_staff=True, is_superuser=True)
        Membership.objects.create(account=account, user=user, role=Membership.Role.OWNER)
    return account


def _connection(account: Account, storage: str, fields: dict[str, Any], secret: str | None) -> Connection:
    connection = Connection.objects.for_account(account).filter(name=NAME[storage]).first()
    connection = connection or Connection(account=account, name=NAME[storage])
    values = dict(fields)
    connection.provider, connection.parameters = values.pop("provider"), values
    if secret is not None:
        connection.set_secret(secret)
    connection.full_clean()
    connection.save()
    return connection


def _batch(account: Account, storage: str, connection: Connection) -> Batch:
    batch = Batch.objects.for_account(account).filter(connection=connection, deleted_at=None).first()
    if batch is not None:
        return batch
    domain, _ = Domain.objects.for_account(account).get_or_create(
        account=account, code=f"demo-{storage}", defaults={"name": NAME[storage], "plan": Domain.Plan.BASIC}
    )
    connection.store().create_folder("input/")
    connection.store().create_folder("results/")
    return batch_services.create_batch(
        account=account,
        name=NAME[storage].lower(),
        domain=domain,
        connection=connection,
        input_path="input/",
        result_path="results/",
        formats=["json", "srt", "txt"],
        recognition={"language": "en-US"},
    )
