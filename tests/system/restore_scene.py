"""Run inside an installation by the test of backups: ``make``, ``later``, ``go_on`` or ``look``; prints JSON.

Only recognition has a stand-in: the rest is the portal's own, on the installation's database and folders.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import django

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "speechportal.settings")
django.setup()

from django.core.management import call_command  # noqa: E402 - after django.setup()
from django.utils import timezone  # noqa: E402 - as above

from batches.intake import polling  # noqa: E402 - as above
from batches.models import Batch, Charge, Delivery, Task, Webhook  # noqa: E402 - as above
from batches.tasks import lifecycle, scheduling  # noqa: E402 - as above
from batches.webhooks import endpoint  # noqa: E402 - as above
from batches.worker import moving  # noqa: E402 - as above
from speechportal.accounts.models import User  # noqa: E402 - as above
from speechportal.accounts.tokens import api_tokens  # noqa: E402 - as above
from speechportal.storage.models import Connection  # noqa: E402 - as above
from tests import factories  # noqa: E402 - as above
from tests.workbench import Engine, drop, files, work  # noqa: E402 - as above


def make() -> dict[str, object]:
    """A file that is done, one under way, two that wait; and everything that is encrypted or hashed."""
    call_command("migrate", verbosity=0)
    alice = factories.make_user("alice@example.com", "correct horse")
    account = factories.make_account(owner=alice)
    s3 = factories.make_connection(account)
    s3.provider = "s3"
    s3.parameters = {"endpoint_url": "http://127.0.0.1:1", "region": "us-east-1"}
    s3.parameters |= {"bucket": "b", "access_key": "AKIA"}
    s3.set_secret("the secret of the storage")
    s3.save()
    batch = factories.make_batch(account, name="calls")
    batch.webhook_url = "http://127.0.0.1:1/"
    batch.save(update_fields=["webhook_url"])
    endpoint.address_changed(batch)
    _token, plain = api_tokens.create_token(account=account, created_by=alice, name="build", scopes=["read"])
    drop(batch, "done.mp3")
    assert work(Engine()).state == Task.State.COMPLETED
    drop(batch, "under-way.mp3")
    assert scheduling.claim_next("a worker that is lost") is not None
    for name in ("finished-later.mp3", "waiting.mp3"):
        drop(batch, name)
    return {"token": plain, "webhook_secret": webhook_secret()}


def later() -> dict[str, object]:
    """After the backup: one of those that wait is finished, and a new file comes and is finished too."""
    batch = Batch.unscoped.get()
    waiting = Task.unscoped.get(name="waiting.mp3")
    Task.unscoped.filter(pk=waiting.pk).update(available_at=timezone.now() + timedelta(hours=1))
    assert work(Engine()).name == "finished-later.mp3"
    drop(batch, "unknown.mp3")
    assert work(Engine()).name == "unknown.mp3"
    return {"files": sorted(files(batch))}


def go_on() -> dict[str, object]:
    """Continue as workers do after a start: reap lost leases, poll, and process."""
    before = {task.name: task.state for task in Task.unscoped.all()}
    end = time.monotonic() + 240
    while not lifecycle.reap():
        assert time.monotonic() < end, "the lease of the lost worker does not end"
        time.sleep(0.2)
    batch = Batch.unscoped.get()
    for _ in range(2):
        polling.poll(batch.pk)
    while waiting():
        work(Engine())
    for task_id in moving.due():
        moving.move_input(task_id)
    connection = Connection.unscoped.exclude(encrypted_secret="").get()
    token = api_tokens.find_token(os.environ["TOKEN"])
    alice = User.objects.get(email="alice@example.com")
    return {
        "before": before,
        "after": {task.name: task.state for task in Task.unscoped.all()},
        "causes": sorted(Task.unscoped.filter(state="failed").values_list("name", "error_code")),
        "charges": sorted(Charge.unscoped.values_list("input_name", flat=True)),
        "told": sorted(Delivery.unscoped.values_list("event", "task__name")),
        "files": sorted(files(batch)),
        "storage_secret": connection._credentials().decrypt(connection.encrypted_secret),
        "webhook_secret": webhook_secret(),
        "token_of": token.account.name if token else None,
        "signs_in": alice.check_password("correct horse"),
    }


def look() -> dict[str, object]:
    return {
        "states": {task.name: task.state for task in Task.unscoped.all()},
        "charges": sorted(Charge.unscoped.values_list("input_name", flat=True)),
        "told": sorted(Delivery.unscoped.values_list("event", "task__name")),
    }


def waiting() -> bool:
    return Task.unscoped.filter(state=Task.State.WAITING).exists()


def webhook_secret() -> str:
    webhook = Webhook.unscoped.get()
    return webhook.encryption().decrypt(webhook.encrypted_secret)


STEPS: dict[str, Any] = {"make": make, "later": later, "go_on": go_on, "look": look}

if __name__ == "__main__":
    print(json.dumps(STEPS[sys.argv[1]]()))
