"""Commands that the multi-host test runs on its hosts.

``make``: an account with a batch. ``drop FIRST LAST``: files for it. ``count``: what became of them, as JSON.
``hold``: hold the account's row, as a worker does while it claims a task or charges it, and never let go.
"""

from __future__ import annotations

import collections
import csv
import io
import json
import os
import sys
import time
from pathlib import Path

import django

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "speechportal.settings")
django.setup()

from django.conf import settings  # noqa: E402 - after django.setup()
from django.db import transaction  # noqa: E402 - as above

from batches.models import Charge, ExecutionResult, ResultFile, Task  # noqa: E402 - as above
from batches.operations.demo.recordings import Recording, make  # noqa: E402 - as above
from batches.services import batches as batch_services  # noqa: E402 - as above
from domains.models import Domain  # noqa: E402 - as above
from speechportal.accounts.models import Account  # noqa: E402 - as above
from speechportal.storage.models import Connection  # noqa: E402 - as above

CLIP = Recording("clip.ogg", 17.9, 4, ("-c:a", "libvorbis"))


def make_scene() -> None:
    account = Account.objects.create(name="Hosts")
    domain = Domain.unscoped.create(account=account, name="Hosts", code="hosts", plan=Domain.Plan.BASIC)
    connection = Connection(
        account=account,
        name="S3",
        provider="s3",
        parameters={
            "endpoint_url": os.environ["S3_ENDPOINT"],
            "region": "us-east-1",
            "bucket": "hosts",
            "access_key": "t1:admin",
        },
    )
    connection.set_secret(os.environ["S3_SECRET"])
    connection.full_clean()
    connection.save()
    batch_services.create_batch(
        account=account,
        name="hosts",
        domain=domain,
        connection=connection,
        input_path="in/",
        result_path="out/",
        formats=["json", "srt"],
        recognition={"language": "en-US", "speakers": False},
    )


def drop(first: int, last: int) -> None:
    store = Connection.unscoped.get().store()
    clip = make(CLIP, settings.DATA_DIR / "recordings")
    for number in range(first, last):
        store.put(f"in/{number:02}.ogg", clip)


def hold() -> None:
    with transaction.atomic():
        Account.objects.select_for_update().get()
        print("held", flush=True)
        time.sleep(3600)


def count() -> dict[str, object]:
    store = Connection.unscoped.get().store()
    reported = []
    for result in ExecutionResult.unscoped.exclude(written_at=None):
        with store.open(result.key) as stream:
            rows = list(csv.reader(io.TextIOWrapper(stream, "utf-8-sig")))
        reported += [row[1] for row in rows[1:]]
    outputs = [entry.key for entry in store.list_level("out/") if hasattr(entry, "key")]
    return {
        "tasks": Task.unscoped.count(),
        "states": dict(collections.Counter(Task.unscoped.values_list("state", flat=True))),
        "attempts": sorted(Task.unscoped.values_list("attempts", flat=True)),
        "unmoved": Task.unscoped.exclude(move_due_at=None).count(),
        "left": [entry.key for entry in store.list_level("in/") if hasattr(entry, "key")],
        "moved": len(list(store.list_level("in/hosts/"))),
        "results": ResultFile.unscoped.exclude(written_at=None).count(),
        "transcripts": sum(key.endswith((".json", ".srt")) for key in outputs),
        "charges": Charge.unscoped.count(),
        "reported": sorted(reported),
        "workers": sorted(set(Task.unscoped.exclude(worker="").values_list("worker", flat=True))),
    }


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make"]:
            make_scene()
        case ["drop", first, last]:
            drop(int(first), int(last))
        case ["hold"]:
            hold()
        case _:
            print(json.dumps(count()))
