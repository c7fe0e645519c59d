"""First steps: one flow from nothing to a transcript, with forms alone; and the sample recording."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from pytest_django.fixtures import Settings

from batches.models import Batch, Task
from batches.operations import first_steps
from domains.models import Domain
from speechportal.accounts.models import Account, Membership, User
from speechportal.storage.models import Connection
from tests.clients import Client
from tests.factories import add_member, make_account, make_batch, make_user

pytestmark = pytest.mark.django_db
PAGE = "/first-steps/"
STEPS = ["connection", "domain", "batch", "upload", "transcript"]


@pytest.fixture
def alice() -> User:
    return make_user()


@pytest.fixture
def account(alice: User) -> Account:
    return make_account(owner=alice)


@pytest.fixture
def client(alice: User, account: Account) -> Client:
    client = Client()
    client.force_login(alice)
    return client


def done(account: Account) -> list[str]:
    return [step.key for step in first_steps.steps(account) if step.done]


def field_values(client: Client) -> dict[str, object]:
    """Values that a browser would submit for the unchanged form."""
    form = client.get(PAGE).context["form"]
    values = {name: form[name].value() for name in form.fields}
    keys = {name: getattr(value, "pk", value) for name, value in values.items()}
    return {name: value for name, value in keys.items() if value is not None and value is not False}


def go_on(client: Client, step: str, **values: object) -> str:
    sent = {**field_values(client), **values, "step": step}
    return client.post(PAGE, sent, follow=True).content.decode()


def test_each_step_is_made_in_place_and_the_flow_ends_in_a_transcript(
    client: Client, account: Account
) -> None:
    home = client.get("/").content.decode()
    assert PAGE in home
    assert "Everything runs as it should." not in home
    text = go_on(client, "connection", provider="local", name="Ours", local_folder="calls")
    assert "The connection “Ours” works." in text
    assert done(account) == STEPS[:1]
    go_on(client, "domain", name="Support", code="support")
    domain = Domain.objects.for_account(account).get()
    assert (domain.plan, done(account)) == (Domain.Plan.BASIC, STEPS[:2])
    go_on(client, "batch")  # What is suggested will do.
    batch = Batch.objects.for_account(account).get()
    connection = Connection.objects.for_account(account).get()
    assert (batch.domain, batch.connection, batch.input_path) == (domain, connection, "recordings/")
    page = client.get(PAGE).content.decode()
    assert 'enctype="multipart/form-data"' in page
    answer = client.post(
        f"/batches/{batch.uid}/uploads/", {"file": SimpleUploadedFile("통화 1.mp3", b"sound")}
    )
    task = Task.objects.for_account(account).get()
    assert answer["Location"].endswith(f"/tasks/{task.uid}/")
    assert (task.name, task.state) == ("통화 1.mp3", "waiting")
    assert (Path(connection.place) / "recordings" / "통화 1.mp3").read_bytes() == b"sound"
    assert done(account) == STEPS[:4]
    fragment = client.get(PAGE, headers={"HX-Request": "true"})
    assert "통화 1.mp3" in fragment.content.decode()
    assert "HX-Redirect" not in fragment
    Task.unscoped.update(
        state="completed", started_at=timezone.now(), finished_at=timezone.now(), progress=100
    )
    fragment = client.get(PAGE, headers={"HX-Request": "true"})
    assert fragment["HX-Redirect"].endswith(f"/tasks/{task.uid}/")
    assert "Read the transcript" in client.get(PAGE).content.decode()
    assert PAGE not in client.get("/").content.decode()


def test_a_connection_that_does_not_work_is_mended_in_place(client: Client, account: Account) -> None:
    wrong = {"provider": "s3", "name": "Bucket", "region": "us-east-1", "bucket": "calls"}
    keys = {"endpoint_url": "http://127.0.0.1:9", "access_key": "a", "secret": "b"}
    text = go_on(client, "connection", **wrong, **keys)
    connection = Connection.objects.for_account(account).get()
    assert connection.last_error
    assert "The connection does not work yet:" in text
    assert done(account) == []
    form = client.get(PAGE).context["form"]
    assert (form.instance, form["bucket"].value()) == (connection, "calls")
    assert Connection.objects.for_account(account).count() == 1


def test_wrong_values_are_told_at_their_field_and_kept(client: Client, account: Account) -> None:
    text = go_on(client, "connection", provider="local", name="Ours", local_folder="../elsewhere")
    assert 'class="field invalid"' in text
    assert "../elsewhere" in text
    assert not Connection.objects.for_account(account).exists()


def test_a_step_of_another_tab_makes_nothing_twice(client: Client, account: Account) -> None:
    go_on(client, "connection", provider="local", name="Ours", local_folder="calls")
    sent = {"step": "connection", "provider": "local", "name": "Again", "local_folder": "again"}
    client.post(PAGE, sent)
    assert Connection.objects.for_account(account).count() == 1
    assert done(account) == STEPS[:1]


def test_the_sample_recording_becomes_a_task_of_a_batch_of_its_own(client: Client, account: Account) -> None:
    assert "first-steps/sample/" in client.get("/").content.decode()
    pages = [client.post("/first-steps/sample/")["Location"] for _ in range(2)]
    task = Task.objects.for_account(account).get()
    assert pages[0] == pages[1]
    assert pages[0].endswith(f"/tasks/{task.uid}/")
    assert task.input_size > 900_000
    assert task.batch.recognition.language == "en-US"
    assert task.batch.connection is not None
    assert (Path(task.batch.connection.place) / task.input_key).stat().st_size == task.input_size


def test_the_sample_goes_into_the_connection_that_is_there(client: Client, account: Account) -> None:
    own = make_batch(account)
    client.post("/first-steps/sample/")
    task = Task.objects.for_account(account).get()
    assert task.batch != own
    assert task.batch.connection == own.connection


def test_without_a_place_for_it_the_sample_is_not_offered(
    client: Client, account: Account, settings: Settings
) -> None:
    settings.STORAGE_LOCAL_ROOTS = []
    assert "first-steps/sample/" not in client.get("/").content.decode()
    assert client.post("/first-steps/sample/").status_code == 404
    assert not Task.objects.for_account(account).exists()


def test_viewers_are_led_nowhere(account: Account) -> None:
    viewer = make_user()
    add_member(account, viewer, Membership.Role.VIEWER)
    client = Client()
    client.force_login(viewer)
    assert PAGE not in client.get("/").content.decode()
    assert client.get(PAGE).status_code == 403
    assert client.post("/first-steps/sample/").status_code == 403


@pytest.mark.parametrize("name", ["notes.txt", "", ".hidden.mp3"])
def test_a_form_with_what_is_no_recording_is_refused(client: Client, account: Account, name: str) -> None:
    batch = make_batch(account)
    data = {"file": SimpleUploadedFile(name, b"text")} if name else {}
    page = client.post(f"/batches/{batch.uid}/uploads/", data, follow=True).content.decode()
    assert 'class="messages"' in page
    assert not Task.objects.for_account(account).exists()
