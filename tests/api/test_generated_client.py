"""Python client generated from the OpenAPI document."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from speechportal.api import docs
from tests.api.conftest import MakeApi
from tests.factories import make_account, make_connection, make_domain, make_user

# The generator knows neither bodies of plain text nor ZIP archives.
NOT_GENERATED = ("PUT /api/v1/domains/{uid}/keywords.txt", "GET /api/v1/batches/{uid}/results.zip")


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Generate the client; returns the name of its importable package."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "openapi.json").write_text(json.dumps(docs.document(), default=str), encoding="utf-8")
    (folder / "config.yaml").write_text("package_name_override: portal_client\npost_hooks: []\n")
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("openapi-python-client")),
            "generate",
            *("--path", "openapi.json", "--config", "config.yaml", "--meta", "none"),
            *("--output-path", "portal_client"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("WARNING")]
    assert [line for line in said if not any(operation in line for operation in NOT_GENERATED)] == []
    sys.path.insert(0, str(folder))
    return "portal_client"


def test_it_makes_a_batch_and_reads_it(generated: str, live_server: LiveServer, make_api: MakeApi) -> None:
    user = make_user()
    api = make_api(make_account(owner=user), user)
    domain, connection = make_domain(api.account), make_connection(api.account)

    def part(path: str) -> Any:
        return importlib.import_module(f"{generated}.{path}")

    models = part("models")
    client = part("client").AuthenticatedClient(base_url=live_server.url, token=api.plain)
    with client:
        made = part("api.batches.batch_create").sync(
            client=client,
            body=models.BatchInput(name="Calls", domain=domain.uid, connection=connection.uid),
        )
        assert isinstance(made, models.Batch)
        assert made.id.startswith("bat_")
        page = part("api.batches.batch_list").sync(client=client, q="Call", page_size=10)
        assert [row.name for row in page.results] == ["Calls"]
        assert page.next_ is None
        changed = part("api.batches.batch_partial_update").sync(
            made.id, client=client, body=models.PatchedBatchInput(speakers=False)
        )
        assert changed.speakers is False
        refused = part("api.batches.batch_create").sync_detailed(
            client=client,
            body=models.BatchInput(name="Calls", domain=domain.uid, connection=connection.uid),
        )
        assert refused.status_code == 422
        assert isinstance(refused.parsed, models.Problem)
        assert refused.parsed.code == "validation_failed"
        missing = part("api.tasks.task_retrieve").sync("tsk_0000000000000000", client=client)
        assert missing.status == 404
