"""Connections as members make, check, change and delete them: on folders and on real S3."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings
from django.urls import reverse

from speechportal.accounts.models import Account, Membership
from speechportal.storage.embedded.swift import SwiftServer
from speechportal.storage.models import Connection
from tests.clients import Client
from tests.factories import add_member, make_account, make_batch, make_connection, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return make_account(owner=make_user("owner@example.com"))


@pytest.fixture
def client(account: Account) -> Client:
    client = Client()
    client.force_login(account.members.get())
    return client


def s3_fields(swift: SwiftServer, bucket: str, **fields: str) -> dict[str, str]:
    return {
        "provider": "s3",
        "name": "Calls",
        "endpoint_url": swift.endpoint_url,
        "region": swift.region,
        "bucket": bucket,
        "root_path": "recordings/2026",
        "access_key": swift.access_key("t1"),
        "secret": swift.secret("t1"),
        **fields,
    }


def create(client: Client, fields: dict[str, str]) -> Any:
    return client.post(reverse("connections:create"), fields, follow=True)


def test_an_s3_storage_is_connected_and_checked(
    client: Client, account: Account, swift: SwiftServer, swift_bucket: str
) -> None:
    page = create(client, s3_fields(swift, swift_bucket)).content.decode()
    connection = Connection.objects.for_account(account).get()
    assert connection.parameters["root_path"] == "recordings/2026/"
    assert connection.last_ok_at is not None
    assert connection.last_error == ""
    assert "In order" in page
    assert list(connection.store().list_level("")) == []  # The check leaves nothing behind.


def test_the_secret_is_never_shown_and_kept_when_left_empty(
    client: Client, account: Account, swift: SwiftServer, swift_bucket: str
) -> None:
    create(client, s3_fields(swift, swift_bucket))
    connection = Connection.objects.for_account(account).get()
    address = reverse("connections:edit", args=[connection.uid])
    page = client.get(address).content.decode()
    assert swift.secret("t1") not in page
    assert connection.encrypted_secret not in page
    fields = s3_fields(swift, swift_bucket, name="Renamed", secret="")
    client.post(address, fields)
    connection.refresh_from_db()
    assert connection.name == "Renamed"
    assert connection.last_error == ""
    client.post(address, {**fields, "secret": "not the secret"})
    connection.refresh_from_db()
    assert "does not accept the access key or its secret" in connection.last_error


@pytest.mark.parametrize(
    ("wrong", "field", "sentence"),
    [
        ({"secret": ""}, "secret", "Enter the secret"),
        ({"bucket": ""}, "bucket", "Enter the bucket"),
        ({"bucket": "no spaces please"}, "bucket", "3 to 63 letters"),
        ({"endpoint_url": "ftp://example.com"}, "endpoint_url", "begins with https://"),
        ({"endpoint_url": "https://user:pass@example.com"}, "endpoint_url", "begins with https://"),
        ({"root_path": "a/../b"}, "root_path", "cannot be used"),
        ({"name": ""}, "name", "required"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(
    client: Client, swift: SwiftServer, swift_bucket: str, wrong: dict[str, str], field: str, sentence: str
) -> None:
    response = create(client, {**s3_fields(swift, swift_bucket), **wrong})
    assert response.status_code == 200
    assert sentence in str(response.context["form"].errors[field])
    assert not Connection.unscoped.exists()


def test_a_name_is_taken_once_in_an_account(client: Client, account: Account) -> None:
    make_connection(account, name="Calls")
    response = create(client, {"provider": "local", "name": "calls", "local_folder": "other"})
    assert "already exists" in str(response.context["form"].errors["name"])


def test_a_preset_needs_no_address(client: Client, account: Account) -> None:
    fields = {
        "provider": "ncp_vpc",
        "name": "NCP",
        "bucket": "calls",
        "access_key": "key",
        "secret": "secret",
        "region": "",
    }
    client.post(reverse("connections:create"), {**fields, "endpoint_url": "http://127.0.0.1:9"})
    assert Connection.unscoped.get().parameters["region"] == "kr-standard"


def test_a_folder_of_the_account_is_made_and_found_in_order(client: Client, account: Account) -> None:
    create(client, {"provider": "local", "name": "Here", "local_folder": "calls/inbox"})
    connection = Connection.objects.for_account(account).get()
    folder = Path(settings.STORAGE_LOCAL_ROOTS[0]) / account.uid / "calls" / "inbox"
    assert Path(connection.place) == folder
    assert folder.is_dir()
    assert connection.last_error == ""
    page = client.get(reverse("connections:edit", args=[connection.uid]))
    assert page.context["form"]["local_folder"].value() == "calls/inbox"


def test_the_activity_list_names_a_connection_s_values(client: Client, account: Account) -> None:
    make_connection(account)
    page = client.get("/account/activity/").content.decode()
    for value in ("Local folder", "Folder: ", "Address for notifications:"):
        assert value in page, value
    assert Connection.unscoped.get().notification_nonce not in page
    assert "{" not in page[page.index("<table") : page.index("</table")]


@pytest.mark.parametrize("path", ["", "/", "../other", "a/../../b", "/etc", "a\x00b"])
def test_no_folder_outside_of_the_account_s_own(client: Client, account: Account, path: str) -> None:
    page = create(client, {"provider": "local", "name": "Here", "local_folder": path})
    assert page.context["form"].errors["local_folder"]
    assert not Connection.unscoped.exists()
    assert not (Path(settings.STORAGE_LOCAL_ROOTS[0]) / account.uid).exists()


def test_the_operator_s_folder_stays(client: Client, account: Account) -> None:
    folder = Path(settings.STORAGE_LOCAL_ROOTS[0]) / "shared"
    connection = make_connection(account, folder=folder)
    address = reverse("connections:edit", args=[connection.uid])
    client.post(address, {"name": "Renamed", "local_folder": "elsewhere"})
    connection.refresh_from_db()
    assert (connection.name, connection.place) == ("Renamed", str(folder))


def test_a_connection_in_use_is_not_deleted(client: Client, account: Account) -> None:
    batch = make_batch(account, name="nightly")
    assert batch.connection is not None
    address = reverse("connections:delete", args=[batch.connection.uid])
    assert "nightly" in client.get(address).content.decode()
    assert "nightly" in client.post(address).content.decode()
    assert Connection.unscoped.count() == 1
    free = make_connection(account)
    assert client.post(reverse("connections:delete", args=[free.uid])).status_code == 302
    assert Connection.unscoped.count() == 1


def test_folders_are_browsed_and_made(client: Client, account: Account) -> None:
    connection = make_connection(account)
    store = connection.store()
    for key in ("calls/2026/a.wav", "calls/b.wav", 'quo"te & <b>/c.wav', "한글/d.wav"):
        store.put(key, b"sound")
    address = reverse("connections:browse", args=[connection.uid])
    top = client.get(address).content.decode()
    for folder in ("calls/", 'quo"te & <b>/', "한글/"):
        assert f'hx-get="{address}?path={quote(folder, safe="")}"' in top
    inside = client.get(address, {"path": "calls/"}).content.decode()
    assert "b.wav" in inside
    assert 'data-folder="calls/"' in inside
    assert f'hx-get="{address}?path=calls%2F2026%2F"' in inside
    made = client.post(
        reverse("connections:create_folder", args=[connection.uid]), {"path": "calls/", "name": "new one"}
    ).content.decode()
    assert 'name="path" value="calls/new one/"' in made
    assert [name for _, name in _folders(connection, "calls/")] == ["2026", "new one"]


def _folders(connection: Connection, path: str) -> list[tuple[str, str]]:
    from speechportal.storage import browsing

    return browsing.look(connection, path).folders


@pytest.mark.parametrize("path", ["../", "a/../../", "missing/"])
def test_browsing_stays_inside_and_says_what_is_wrong(client: Client, account: Account, path: str) -> None:
    connection = make_connection(account)
    page = client.get(reverse("connections:browse", args=[connection.uid]), {"path": path})
    assert page.status_code == 200
    assert 'class="note bad"' in page.content.decode()


@pytest.mark.parametrize("name", ["", "a/b", "..", "."])
def test_a_bad_folder_name_is_refused(client: Client, account: Account, name: str) -> None:
    connection = make_connection(account)
    address = reverse("connections:create_folder", args=[connection.uid])
    page = client.post(address, {"path": "", "name": name}).content.decode()
    assert 'class="note bad"' in page
    assert _folders(connection, "") == []


def test_a_large_folder_is_shown_in_part(
    client: Client, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    from speechportal.storage import browsing

    monkeypatch.setattr(browsing, "MOST", 3)
    connection = make_connection(account)
    for number in range(4):
        connection.store().put(f"{number}.wav", b"x")
    page = client.get(reverse("connections:browse", args=[connection.uid])).content.decode()
    assert "3.wav" not in page
    assert "There is more in this folder" in page


def test_a_viewer_changes_nothing(account: Account) -> None:
    viewer = make_user("viewer@example.com")
    add_member(account, viewer, Membership.Role.VIEWER)
    connection = make_connection(account)
    client = Client()
    client.force_login(viewer)
    check = reverse("connections:check", args=[connection.uid])
    assert client.get(check).status_code == 200
    assert client.post(check).status_code == 403
    connection.refresh_from_db()
    assert connection.last_ok_at is None
