"""Upload of a large recording straight to an S3 server, in a browser, across a broken connection."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from playwright.sync_api import Request, Route, expect

from batches.models import Batch, Task
from speechportal.storage.models import Connection
from speechportal.storage.providers import Provider
from tests.factories import make_batch
from tests.portal.scene import World

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CORSRuleTypeDef

pytestmark = pytest.mark.django_db(transaction=True)
LARGE = 40 * 1024 * 1024  # bytes: three parts


@pytest.fixture
def bucket(moto_url: str, world: World) -> Any:
    """A bucket that takes requests of the portal's pages (CORS), as the help says."""
    name = f"bucket-{secrets.token_hex(6)}"
    resource = boto3.resource(
        "s3",
        endpoint_url=moto_url,
        region_name="us-east-1",
        aws_access_key_id="access",
        aws_secret_access_key="secret",
    )
    made = resource.create_bucket(Bucket=name)
    rule: CORSRuleTypeDef = {
        "AllowedOrigins": [world.server],
        "AllowedMethods": ["GET", "PUT", "POST", "DELETE"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag"],
    }
    made.Cors().put(CORSConfiguration={"CORSRules": [rule]})
    return made


@pytest.fixture
def batch(world: World, bucket: Any, moto_url: str) -> Batch:
    parameters = {
        "endpoint_url": moto_url,
        "region": "us-east-1",
        "bucket": bucket.name,
        "access_key": "access",
    }
    connection = Connection(account=world.account, name="S3", provider=Provider.S3, parameters=parameters)
    connection.set_secret("secret")
    connection.save()
    return make_batch(world.account, name="s3", connection=connection)


def parts_of(requests: list[Request]) -> list[str]:
    """Numbers of the completely uploaded parts."""
    return [parse_qs(urlsplit(request.url).query)["partNumber"][0] for request in requests]


def test_a_large_file_goes_on_after_the_connection_broke(
    world: World, batch: Batch, bucket: Any, new_context: Callable[..., Any], tmp_path: Path
) -> None:
    recording = tmp_path / "긴 통화.mp3"
    recording.write_bytes(os.urandom(LARGE))
    context = new_context(world.alice)
    page = context.new_page()
    sent: list[Request] = []

    def note(request: Request) -> None:
        if request.method == "PUT" and "partNumber" in request.url:
            sent.append(request)

    page.on("requestfinished", note)
    held = True

    def storage(route: Route) -> None:
        """The first part arrives; then the connection is gone."""
        if held and "partNumber=1" not in route.request.url and route.request.method == "PUT":
            context.set_offline(True)
            route.abort("internetdisconnected")
        else:
            route.continue_()

    page.route(lambda url: "partNumber" in url, storage)
    page.goto(world.url(f"/batches/{batch.uid}/"))
    page.locator("#upload-files").set_input_files(recording)
    row = page.locator("#upload li").filter(has_text="긴 통화.mp3")
    expect(row).to_contain_text("The connection broke")
    held = False
    context.set_offline(False)  # It goes on by itself.
    expect(row).to_contain_text("waits for its turn")
    parts = parts_of(sent)  # The one that was under way may have to be sent again, and no other.
    assert (set(parts), len(parts) <= 4) == ({"1", "2", "3"}, True)
    [stored] = list(bucket.objects.all())
    assert stored.get()["Body"].read() == recording.read_bytes()
    assert Task.unscoped.get(batch=batch).input_size == LARGE
