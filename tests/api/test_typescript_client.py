"""TypeScript client generated from the OpenAPI document: it compiles and works."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from pytest_django.live_server_helper import LiveServer

from speechportal.api import docs
from tests.api.conftest import MakeApi
from tests.factories import make_account, make_connection, make_domain, make_user
from tests.programs import required

pytestmark = pytest.mark.programs

PROGRAM = """
import createClient from "openapi-fetch";
import type { paths } from "./portal";

const client = createClient<paths>({
  baseUrl: process.env.BASE!,
  headers: { Authorization: `Bearer ${process.env.KEY}` },
});
const made = await client.POST("/api/v1/batches", {
  body: { name: "Calls", domain: process.env.DOMAIN!, connection: process.env.CONNECTION! },
});
if (made.error) throw new Error(JSON.stringify(made.error));
const id: string = made.data.id;
const page = await client.GET("/api/v1/batches", { params: { query: { q: "Call", page_size: 10 } } });
const changed = await client.PATCH("/api/v1/batches/{uid}", {
  params: { path: { uid: id } },
  body: { speakers: false },
});
const refused = await client.POST("/api/v1/batches", {
  body: { name: "Calls", domain: process.env.DOMAIN!, connection: process.env.CONNECTION! },
});
console.log(JSON.stringify({
  id,
  names: page.data?.results.map((row) => row.name),
  speakers: changed.data?.speakers,
  refused: [refused.response.status, refused.error?.code],
}));
"""
CONFIGURATION = {
    "compilerOptions": {
        "target": "es2022",
        "module": "es2022",
        "moduleResolution": "bundler",
        "strict": True,
        "skipLibCheck": True,
        "types": ["node"],
        "outDir": "out",
    },
    "files": ["program.ts"],
}
PACKAGES = ["openapi-typescript@7", "openapi-fetch@0", "typescript@5", "@types/node@22"]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generate and compile the client; returns the folder of the program."""
    npm, npx = required("npm"), required("npx")
    folder = tmp_path_factory.mktemp("typescript")
    (folder / "package.json").write_text(json.dumps({"type": "module"}))
    (folder / "openapi.json").write_text(json.dumps(docs.document(), default=str), encoding="utf-8")
    (folder / "program.ts").write_text(PROGRAM)
    (folder / "tsconfig.json").write_text(json.dumps(CONFIGURATION))
    for command in (
        [npm, "install", "--no-audit", "--no-fund", *PACKAGES],
        [npx, "openapi-typescript", "openapi.json", "--output", "portal.d.ts"],
        [npx, "tsc"],
    ):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_it_makes_a_batch_and_reads_it(generated: Path, live_server: LiveServer, make_api: MakeApi) -> None:
    user = make_user()
    api = make_api(make_account(owner=user), user)
    environ = {
        "BASE": live_server.url,
        "KEY": api.plain,
        "DOMAIN": make_domain(api.account).uid,
        "CONNECTION": make_connection(api.account).uid,
    }
    command = [required("node"), str(generated / "out" / "program.js")]
    done = subprocess.run(
        command, cwd=generated, env=environ, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["id"].startswith("bat_")
    assert (seen["names"], seen["speakers"]) == (["Calls"], False)
    assert seen["refused"] == [422, "validation_failed"]
