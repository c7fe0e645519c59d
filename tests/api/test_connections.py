"""Connections through the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from speechportal.storage.embedded.swift import SwiftServer
from speechportal.storage.models import Connection
from tests.api.client import Api
from tests.factories import make_batch, make_connection


def test_a_bucket_from_its_creation_to_its_deletion(
    alice: Api, vera: Api, swift: SwiftServer, swift_bucket: str
) -> None:
    given = {
        "name": "Swift",
        "provider": "s3",
        "endpoint_url": swift.endpoint_url,
        "region": swift.region,
        "bucket": swift_bucket,
        "access_key": swift.access_key("t1"),
        "secret": swift.secret("t1"),
    }
    created = alice.post("connections", given)
    assert created.status_code == 201, created.content
    told = created.json()
    assert swift.secret("t1") not in created.content.decode()
    assert told["access_key"] == given["access_key"]
    assert vera.get(f"connections/{told['id']}").json()["access_key"] is None
    path = f"connections/{told['id']}"
    findings = alice.post(f"{path}/test", {}).json()
    assert [each["action"] for each in findings] == ["list", "write", "read", "move", "delete"]
    assert all(each["ok"] for each in findings)
    assert alice.get(path).json()["last_ok_at"]

    changed = alice.patch(path, {"secret": "wrong", "name": "Renamed"})
    assert (changed.status_code, changed.json()["name"]) == (200, "Renamed")
    assert "wrong" not in changed.content.decode()
    [finding] = alice.post(f"{path}/test", {}).json()
    assert (finding["ok"], finding["code"]) == (False, "wrong_credentials")
    assert alice.get(path).json()["last_error"] == finding["message"]
    browsed = alice.get(f"{path}/browse")
    assert (browsed.status_code, browsed.json()["code"]) == (502, "wrong_credentials")
    assert alice.delete(path).status_code == 204
    assert not Connection.unscoped.exists()


def test_a_folder_is_made_and_looked_into(alice: Api, settings: Any) -> None:
    created = alice.post("connections", {"name": "Here", "provider": "local", "local_folder": "calls"})
    assert created.status_code == 201, created.content
    told = created.json()
    assert told["local_folder"] == "calls"
    assert str(settings.STORAGE_LOCAL_ROOTS[0]) not in created.content.decode()
    path = f"connections/{told['id']}"
    made = alice.post(f"{path}/folders", {"above": "", "name": "monday"})
    assert (made.status_code, made.json()) == (201, {"path": "monday/", "name": "monday"})
    folder = Path(Connection.unscoped.get().place)
    (folder / "monday" / "call.mp3").write_bytes(b"sound")
    level = alice.get(f"{path}/browse").json()
    assert level["folders"] == [{"path": "monday/", "name": "monday"}]
    level = alice.get(f"{path}/browse?path=monday").json()
    assert [(file["key"], file["size"]) for file in level["files"]] == [("monday/call.mp3", 5)]
    assert alice.get(f"{path}/browse?path=..").status_code == 422


@pytest.mark.parametrize("folder", ["../other", "/etc", "a/../../b", "/etc/../etc"])
def test_a_folder_outside_of_the_accounts_own_is_refused(alice: Api, folder: str) -> None:
    answer = alice.post("connections", {"name": "There", "provider": "local", "local_folder": folder})
    assert answer.status_code == 422
    assert [each["field"] for each in answer.json()["errors"]] == ["local_folder"]
    assert not Connection.unscoped.exists()


def test_an_absolute_folder_is_taken_as_meant_or_refused(alice: Api) -> None:
    own = f"{settings.STORAGE_LOCAL_ROOTS[0].resolve()}/{alice.account.uid}"
    fields = {"name": "Here", "provider": "local"}
    for folder in ("/calls", f"{own}x/calls", f"/{own}/calls", "C:\\calls", "file:///calls", "~/calls"):
        answer = alice.post("connections", {**fields, "local_folder": folder})
        assert answer.status_code == 422, folder
        assert [each["code"] for each in answer.json()["errors"]] == ["absolute_path"], folder
    made = alice.post("connections", {**fields, "local_folder": f"{own}/calls/in/"})
    assert (made.status_code, made.json()["local_folder"]) == (201, "calls/in")
    assert Connection.unscoped.get().place == f"{own}/calls/in"
    uid = made.json()["id"]
    assert alice.patch(f"connections/{uid}", {"local_folder": "/srv/calls"}).status_code == 422
    assert Connection.unscoped.get().place == f"{own}/calls/in"


def test_an_address_is_no_path_in_a_bucket(alice: Api) -> None:
    values = {"bucket": "calls", "access_key": "k", "secret": "s", "endpoint_url": "http://127.0.0.1:9"}
    fields = {"name": "S3", "provider": "s3", **values}
    answer = alice.post("connections", {**fields, "root_path": "s3://calls/in/"})
    assert [(each["field"], each["code"]) for each in answer.json()["errors"]] == [
        ("root_path", "absolute_path")
    ]
    assert alice.post("connections", {**fields, "root_path": "/in/s3"}).json()["root_path"] == "in/s3/"


def test_all_that_is_missing_is_told(alice: Api) -> None:
    answer = alice.post("connections", {"name": "S3", "provider": "s3", "secret": "x"})
    assert answer.status_code == 422
    assert {"endpoint_url", "bucket", "access_key"} <= {each["field"] for each in answer.json()["errors"]}
    make_connection(alice.account, name="Taken")
    answer = alice.post("connections", {"name": "taken", "provider": "local", "local_folder": "x"})
    assert [(each["field"], each["code"]) for each in answer.json()["errors"]] == [
        ("name", "connection_name_unique")
    ]


def test_a_connection_in_use_stays(alice: Api) -> None:
    batch = make_batch(alice.account)
    assert batch.connection is not None
    answer = alice.delete(f"connections/{batch.connection.uid}")
    assert (answer.status_code, answer.json()["code"]) == (409, "connection_in_use")


def test_strangers_find_nothing_and_viewers_only_look(alice: Api, vera: Api, charlie: Api) -> None:
    path = f"connections/{make_connection(alice.account).uid}"
    assert charlie.get("connections").json()["results"] == []
    assert len(vera.get("connections").json()["results"]) == 1
    assert charlie.get(f"{path}/browse").status_code == 404
    assert vera.get(f"{path}/browse").status_code == 403  # Nor may viewers on the pages.
    for method, below in [("PATCH", ""), ("DELETE", ""), ("POST", "/test"), ("POST", "/folders")]:
        body = {"name": "x"} if below != "/test" else {}
        assert charlie.send(method, f"{path}{below}", body).status_code == 404, below
        assert vera.send(method, f"{path}{below}", body).status_code == 403, below
