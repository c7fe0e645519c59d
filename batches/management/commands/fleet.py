"""Show the fleet, drain a host, or pause recognition everywhere."""

from __future__ import annotations

import json
import time
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from batches.models import RecognitionHost
from batches.operations import fleet_overview
from batches.operations.fleet_overview import HostOverview
from batches.services import fleet as fleet_services
from batches.tasks import fleet
from domains.offered_models import ModelPair
from speechportal.accounts.audit.actor import Actor, Kind, acting_as, with_reason
from speechportal.platform.models import Maintenance

_LOOK_SECONDS = 2


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        steps = parser.add_subparsers(dest="step", metavar="STEP")
        shown = steps.add_parser("list", help="hosts, what they do, and the queue by model (default)")
        shown.add_argument("--json", action="store_true", help="for programs")
        drain = steps.add_parser("drain", help="let a host finish what it has and claim nothing more")
        drain.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="until it has no task")
        resume = steps.add_parser("resume", help="let a drained host claim tasks again")
        for each in (drain, resume):
            each.add_argument("host")
        maintenance = steps.add_parser("maintenance", help="pause recognition on all hosts, or end that")
        maintenance.add_argument("mode", choices=["on", "off"])
        maintenance.add_argument("--notice", default="", help="shown on every page of members")
        for each in (drain, resume, maintenance):
            each.add_argument("--reason", required=True, help="the reason, for the audit trail")

    def handle(self, *_args: Any, **options: Any) -> None:
        step = options["step"] or "list"
        if step == "list":
            self._list(as_json=options.get("json", False))
            return
        try:
            with acting_as(Actor(Kind.SYSTEM, label="manage.py fleet")), with_reason(options["reason"]):
                if step == "maintenance":
                    self._maintain(options["mode"], options["notice"])
                else:
                    self._change(step, self._host(options["host"]), options.get("wait", 0))
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error

    def _host(self, name: str) -> RecognitionHost:
        host = RecognitionHost.objects.filter(name=name).first()
        if host is None:
            known = ", ".join(RecognitionHost.objects.values_list("name", flat=True)) or "none"
            raise CommandError(f"No host {name} has reported. Hosts: {known}.")
        return host

    def _change(self, step: str, host: RecognitionHost, wait: float) -> None:
        if step == "resume":
            fleet_services.resume(host)
            self.stdout.write(f"{host} claims tasks again.")
            return
        fleet_services.drain(host)
        self.stdout.write(f"{host} claims no more tasks; it has {fleet.tasks_of(host.name).count()}.")
        end = time.monotonic() + wait
        while wait and fleet.tasks_of(host.name).exists():
            if time.monotonic() > end:
                left = fleet.tasks_of(host.name).count()
                raise CommandError(
                    f"{host} still has {left} tasks after {wait:.0f} seconds; it stays drained."
                )
            time.sleep(_LOOK_SECONDS)
        if wait:
            self.stdout.write(f"{host} has no task.")

    def _maintain(self, mode: str, notice: str) -> None:
        if mode == "on":
            fleet_services.pause_everywhere(notice)
            self.stdout.write("No host starts a task; those in progress are finished.")
        else:
            fleet_services.resume_everywhere()
            self.stdout.write("Tasks are started again.")

    def _list(self, *, as_json: bool) -> None:
        found, queues = fleet_overview.overview(), fleet_overview.queue_by_model()
        paused = fleet_overview.paused()
        if as_json:
            document = {
                "paused": paused,
                "hosts": [_document(host) for host in found],
                "queue": [
                    {**_models(each.pair), "waiting": each.waiting, "hosts": each.hosts} for each in queues
                ],
            }
            self.stdout.write(json.dumps(document, indent=1, ensure_ascii=False))
            return
        if paused == "maintenance":
            row = Maintenance.current()
            self.stdout.write(f"Recognition is paused everywhere since {row.started_at:%Y-%m-%d %H:%M} UTC.")
        elif paused:
            self.stdout.write("All hosts are drained.")
        for host in found:
            devices = ", ".join(device.name or device.device for device in host.devices) or "-"
            self.stdout.write(
                f"{host.name}  {host.state}  {devices}  loaded: {', '.join(host.loaded) or '-'}  "
                f"tasks: {len(host.tasks)}  last hour: {host.files} files  restarts: {len(host.restarts)}"
            )
            for problem in host.problems:
                self.stdout.write(f"    {problem}")
        for each in queues:
            names = " + ".join(name for name in (each.pair.whisper, each.pair.speakers) if name)
            self.stdout.write(f"waiting for {names}: {each.waiting} (hosts: {each.hosts})")
        if not found:
            self.stdout.write("No host has reported. Start one: manage.py run --only recognition")


def _models(pair: ModelPair) -> dict[str, str]:
    return {"whisper": pair.whisper, "speakers": pair.speakers}


def _document(host: HostOverview) -> dict[str, Any]:
    tasks = [
        {"task": task.uid, "account": task.account.uid, "stage": task.stage, "progress": task.progress}
        for task in host.tasks
    ]
    return {
        "host": host.name,
        "state": host.state,
        "version": host.version,
        "workers": host.workers,
        "devices": [
            {
                "device": each.device,
                "name": each.name,
                "memory": each.memory,
                "used": each.used,
                "load": each.load,
            }
            for each in host.devices
        ],
        "loaded": host.loaded,
        "problems": host.problems,
        "tasks": tasks,
        "files_last_hour": host.files,
        "media_last_hour_ms": host.media,
        "restarts": [{"at": each.at, "what": each.what, "why": each.why} for each in host.restarts],
        "seen_at": host.seen_at.isoformat() if host.seen_at else None,
    }
