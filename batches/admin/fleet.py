"""Fleet in admin: hosts, which can be drained, and maintenance mode."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.timesince import timesince
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from batches.models import RecognitionHost
from batches.operations import fleet_overview
from batches.operations.fleet_overview import HostOverview
from batches.services import fleet as fleet_services
from batches.tasks import fleet
from batches.tasks.fleet import Device
from domains import offered_models
from speechportal.platform.models import Maintenance
from speechportal.platform.templatetags.portal import media_time
from speechportal.support.actions import Action, ReasonForm
from speechportal.support.admin import ReadOnlyAdmin, link_to
from speechportal.support.panels import Figure, Panel, panel

MOST_HOSTS, MOST_TASKS, MOST_MODELS = 100, 4, 12
STATES = {
    "at_work": _("At work"),
    "draining": _("Draining"),
    "drained": _("Drained"),
    "fault": _("Fault"),
    "no_model": _("Without a model"),
    "silent": _("Not reporting"),
}
PAUSES = {"maintenance": _("Maintenance"), "drained": _("All hosts drained"), "": _("Running")}


class DrainHost(Action):
    name, label = "drain", _("Drain")
    description = _("The host finishes the tasks that it has and claims no other, also after a restart.")
    permission = "batches.operate_fleet"
    dangerous = True

    def applies_to(self, row: RecognitionHost) -> bool:
        return row.drained_at is None

    def perform(self, row: RecognitionHost, answers: dict[str, Any]) -> str:
        fleet_services.drain(row)
        return gettext("It claims no more tasks.")


class ResumeHost(Action):
    name, label = "resume", _("Resume")
    description = _("The host claims tasks again.")
    permission = "batches.operate_fleet"

    def applies_to(self, row: RecognitionHost) -> bool:
        return row.drained_at is not None

    def perform(self, row: RecognitionHost, answers: dict[str, Any]) -> str:
        fleet_services.resume(row)
        return gettext("It claims tasks again.")


class NoticeForm(ReasonForm):
    notice = forms.CharField(
        label=_("Notice to members"),
        max_length=500,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "cols": 60}),
        help_text=_("Shown on every page of members. Empty: that recognition is paused for maintenance."),
    )


class PauseEverywhere(Action):
    name, label = "pause", _("Pause recognition everywhere")
    description = _("No host starts a task; those in progress are finished. Files are accepted and wait.")
    permission = "batches.operate_fleet"
    form_class = NoticeForm
    dangerous = True
    for_many = False

    def applies_to(self, row: Maintenance) -> bool:
        return row.started_at is None

    def perform(self, row: Maintenance, answers: dict[str, Any]) -> str:
        fleet_services.pause_everywhere(str(answers["notice"]))
        return gettext("No host starts a task.")


class ResumeEverywhere(Action):
    name, label = "resume", _("Resume recognition")
    permission = "batches.operate_fleet"
    for_many = False

    def applies_to(self, row: Maintenance) -> bool:
        return row.started_at is not None

    def perform(self, row: Maintenance, answers: dict[str, Any]) -> str:
        fleet_services.resume_everywhere()
        return gettext("Tasks are started again.")


@admin.register(RecognitionHost)
class RecognitionHostAdmin(ReadOnlyAdmin[RecognitionHost]):
    find_exact = ("name",)
    list_display = ["name", "version", "workers", "started_at", "seen_at", "drained_at"]
    fields = ["name", "version", "workers", "started_at", "seen_at", "drained_at"]
    portal_actions = [DrainHost, ResumeHost]

    def summary(self, row: RecognitionHost) -> list[tuple[Any, Any]]:
        tasks = [link_to(task) for task in fleet.tasks_of(row.name).order_by("started_at")[:20]]
        restarts = [f"{each['at']} {each['what']} {each['why']}" for each in reversed(row.restarts)]
        return [
            (_("Devices"), _lines([device_text(Device(**each)) for each in row.devices])),
            (_("Tasks in progress"), _lines(tasks)),
            (_("Recent restarts"), _lines(restarts)),
        ]


@admin.register(Maintenance)
class MaintenanceAdmin(ReadOnlyAdmin[Maintenance]):
    find_exact: ClassVar[list[str]] = []
    list_display = ["__str__", "started_at", "notice"]
    fields = ["started_at", "notice"]
    portal_actions = [PauseEverywhere, ResumeEverywhere]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return ChangeList

    def find(self, request: HttpRequest, text: str) -> list[Maintenance]:
        return []


@panel("batches.view_recognitionhost")
def hosts() -> Panel:
    """Panel of recognition hosts: devices, models, tasks in progress, throughput, restarts and faults."""
    found = fleet_overview.overview()
    states = [host.state for host in found]
    paused = fleet_overview.paused()
    url = reverse("admin:batches_recognitionhost_changelist")
    return Panel(
        _("Fleet"),
        [
            Figure(_("Recognition"), PAUSES[paused], _maintenance_page(), alarm=bool(paused)),
            Figure(_("Hosts at work"), states.count("at_work"), url, alarm="at_work" not in states),
            Figure(_("Drained"), states.count("drained") + states.count("draining"), url),
            Figure(_("With a fault"), states.count("fault"), url, alarm="fault" in states),
            Figure(_("Without a model"), states.count("no_model"), url, alarm="no_model" in states),
            Figure(_("Not reporting"), states.count("silent"), url, alarm="silent" in states),
        ],
        [
            _("Host"),
            _("State"),
            _("Devices"),
            _("Loaded"),
            _("In progress"),
            _("Last hour"),
            _("Restarts in a day"),
        ],
        [_cells(host) for host in found[:MOST_HOSTS]],
        wide=True,
    )


@panel("batches.view_recognitionhost")
def queue_by_model() -> Panel:
    queues = fleet_overview.queue_by_model()
    unserved = sum(each.waiting for each in queues if not each.hosts)
    return Panel(
        _("Queue by model"),
        [
            Figure(_("Waiting"), f"{sum(each.waiting for each in queues):,}"),
            Figure(_("For a model that no host serves"), f"{unserved:,}", alarm=bool(unserved)),
        ],
        [_("Models"), _("Waiting"), _("Hosts")],
        [[_pair(each), f"{each.waiting:,}", each.hosts] for each in queues[:MOST_MODELS]],
    )


def _maintenance_page() -> str:
    return reverse("admin:platform_maintenance_change", args=[Maintenance.current().pk])


def _pair(queue: fleet_overview.ModelQueue) -> str:
    names = [name for name in (queue.pair.whisper, queue.pair.speakers) if name]
    return " + ".join(offered_models.title(name) for name in names)


def _cells(host: HostOverview) -> list[Any]:
    state = str(STATES[host.state])
    if host.state == "silent" and host.seen_at:
        state = f"{state} ({timesince(host.seen_at, depth=1)})"
    problems = host.problems if host.state in {"fault", "no_model"} else []
    tasks = [
        f"{task.get_stage_display()} {task.progress} %: {task.account}" for task in host.tasks[:MOST_TASKS]
    ]
    more = len(host.tasks) - MOST_TASKS
    restarts = [f"{each.at[11:16]} {each.what} {each.why}".strip() for each in host.restarts[-2:]]
    hour = gettext("%(files)d files, %(media)s") % {"files": host.files, "media": media_time(host.media)}
    return [
        link_to(host.row) if host.row else host.name,
        _lines([state, *problems]),
        _lines([device_text(device) for device in host.devices]),
        _lines(host.loaded),
        _lines([*tasks, f"+ {more}"] if more > 0 else tasks),
        hour if host.files else "–",
        _lines([str(len(host.restarts)), *restarts]) if host.restarts else "–",
    ]


def device_text(device: Device) -> str:
    """Format a device: ``cuda:0 NVIDIA H100, 12.1 of 80.0 GB, 93 %`` or ``2 × CPU``."""
    name = device.name if device.device == "cpu" else f"{device.device} {device.name}".strip()
    if not device.memory:
        return name
    used = f"{filesizeformat(device.used)} / {filesizeformat(device.memory)}"
    return f"{name}, {used}, {device.load} %"


def _lines(texts: list[str]) -> str:
    return format_html_join("", "<div>{}</div>", ((text,) for text in texts)) or "–"
