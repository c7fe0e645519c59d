"""schemathesis: requests generated from the OpenAPI document find no deviation from it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from batches.models import ExecutionResult, StoredTranscript
from batches.recognition.transcript import Segment, Transcript
from batches.webhooks import redelivery
from speechportal.accounts.models import Membership
from speechportal.accounts.tokens import api_tokens
from tests.factories import (
    add_member,
    make_account,
    make_batch,
    make_connection,
    make_domain,
    make_task,
    make_user,
)

HERE = Path(__file__).parent
PHASES = {
    "examples, coverage and random requests": [
        "--phases",
        "examples,coverage,fuzzing",
        "--max-examples",
        "4",
    ],
    "sequences of requests": ["--phases", "stateful", "--max-examples", "10"],
}


def world() -> dict[str, str]:
    """An account with one of everything, and a token that may do everything in it."""
    owner, other = make_user(), make_user()
    account = make_account("Fuzzed", owner, batch_limit=1000)
    member = add_member(account, other, Membership.Role.VIEWER)
    batch = make_batch(account)
    batch.webhook_url = "https://example.com/hook"
    batch.save()
    result = ExecutionResult.unscoped.create(
        account=account, batch=batch, connection=batch.connection, number=1, task_count=1, key="out/1.csv"
    )
    task = make_task(batch, state="completed", execution_result=result)
    document = Transcript("en", 1.0, 1500, [Segment(0, 1500, "Hello.")])
    StoredTranscript.unscoped.create(task=task, stage="words", document=document.to_dict())
    spare, _plain = api_tokens.create_token(account=account, created_by=other, name="spare", scopes=["read"])
    _token, plain = api_tokens.create_token(account=account, created_by=owner, name="all", scopes=["write"])
    return {
        "TOKEN": plain,
        "BATCH": batch.uid,
        "TASK": task.uid,
        "DOMAIN": make_domain(account).uid,
        "CONNECTION": make_connection(account).uid,
        "EXECUTION_RESULT": result.uid,
        "DELIVERY": redelivery.send_test(batch=batch).uid,
        "MEMBER": str(member.pk),
        "SPARE_TOKEN": spare.uid,
    }


@pytest.mark.parametrize("phases", PHASES.values(), ids=PHASES)
def test_schemathesis_finds_nothing(live_server: LiveServer, settings: Any, phases: list[str]) -> None:
    settings.API_REQUESTS_PER_MINUTE = 1_000_000
    settings.PUBLIC_URL = live_server.url
    things = world()
    run = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            f"--config-file={HERE / 'schemathesis.toml'}",
            "run",
            f"{live_server.url}/api/v1/openapi.json",
            f"--header=Authorization: Bearer {things['TOKEN']}",
            "--no-color",
            *phases,
        ],
        env={**os.environ, **things},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
