"""Model hosts: which host serves which models, and batches whose models no host serves.

Each recognition cluster calls :func:`report` every few seconds. If no live host can use a model, batches that
wait for it turn to Error, with the cause and advice. :func:`reconcile`, called by the scheduler, does this,
and turns them back once a host serves the model.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from batches.models import Batch, ServedModel, Task
from batches.recognition import registry
from batches.recognition.errors import ModelUnavailable
from batches.recognition.models.store import ModelStore
from batches.status import batch_status
from batches.status.failures import HOST_FAULTS, MODEL_NOT_SERVED, failure
from batches.tasks.scheduling import ServedModels, claimable, with_models
from domains import offered_models
from domains.offered_models import ModelPair
from speechportal.platform import database_clock
from speechportal.platform.models import Maintenance

LIVE = timedelta(minutes=2)  # since a host's last report
GRACE = timedelta(minutes=3)  # a task's wait for an unserved model before its batch turns to Error
RETRY = timedelta(minutes=2)  # delay before a model that could not be loaded is tried again
FORGOTTEN = timedelta(days=1)
HELD_UP = 2  # delays of a task in a row after which the fault of a host is its batch's too

WHISPER, SPEAKERS = ServedModel.Kind.WHISPER, ServedModel.Kind.SPEAKERS


@dataclass(frozen=True, slots=True)
class HostFault:
    """Fault that makes a host unable to run any task: a failure code, and a sentence for support staff."""

    code: str
    detail: str


def host_name() -> str:
    return socket.gethostname()


def report(host: str = "", *, started: bool = False, fault: HostFault | None = None) -> None:
    """Store the models that this host serves, each with its problem if it has one.

    ``started``: the cluster has just started, so no model is loaded yet. ``fault`` is one of the host itself,
    which then serves no model.
    """
    now, host = timezone.now(), host or host_name()
    served = ServedModels.of_settings()
    store = ModelStore(settings.MODELS_DIR)
    own = ServedModel.objects.filter(host=host)
    for kind, names in ((WHISPER, served.whisper), (SPEAKERS, served.speakers)):
        own.filter(kind=kind).exclude(name__in=names).delete()
        for name in names:
            missing = fault.detail if fault else _problem(store, kind, name)
            row, _made = ServedModel.objects.update_or_create(
                host=host, kind=kind, name=name, defaults={"seen_at": database_clock.after()}
            )
            noted_lately = bool(row.problem_at and row.problem_at > now - RETRY)
            if missing or not noted_lately:
                own.filter(pk=row.pk).update(problem=missing, fault=fault.code if fault else "")
    if started:
        own.update(loaded_at=None)
    ServedModel.objects.filter(seen_at__lt=database_clock.after(-FORGOTTEN.total_seconds())).delete()


def _problem(store: ModelStore, kind: str, name: str) -> str:
    """Problem of a model on this host, judged by its folder; empty if there is none."""
    try:
        if kind == SPEAKERS:
            registry.find_diarizer(name, store).require_present(name, store)
        else:
            provider = registry.find_recogniser(name, store, settings.RECOGNITION_ENGINE)
            provider.require_present(name, store)
    except ModelUnavailable as error:
        return error.message
    return ""


def note_problem(pair: ModelPair, name: str, message: str, host: str = "") -> None:
    """Record that a model could not be loaded here, so that its tasks go to other hosts for a while.

    ``name`` is one of the ``pair``; ``message`` is shown to the operator.
    """
    wrong = name if name == pair.speakers else pair.whisper
    rows = ServedModel.objects.filter(host=host or host_name(), name=wrong)
    rows.update(problem=message, problem_at=timezone.now(), loaded_at=None)


def note_fault(fault: HostFault, host: str = "") -> None:
    """Record a fault of this host that a task ran into, so that tasks go to other hosts for a while."""
    rows = ServedModel.objects.filter(host=host or host_name())
    rows.update(problem=fault.detail, fault=fault.code, problem_at=timezone.now(), loaded_at=None)


def note_loaded(pair: ModelPair, before: ModelPair | None, host: str = "") -> None:
    """Record that a worker of this host has loaded the pair and unloaded ``before``."""
    rows = ServedModel.objects.filter(host=host or host_name())
    used = rows.filter(name__in=[pair.whisper, pair.speakers], problem="")
    if before == pair:
        used = used.filter(loaded_at=None)  # only models that have failed meanwhile
    elif before is not None:
        rows.filter(name__in=[before.whisper, before.speakers]).update(loaded_at=None)
    used.update(loaded_at=timezone.now())


def served_here(host: str = "") -> ServedModels:
    """Models of this host without a problem, whose tasks its workers claim."""
    rows = ServedModel.objects.filter(host=host or host_name()).exclude(problem="")
    return ServedModels.of_settings().without(set(rows.values_list("name", flat=True)))


def live_rows(now: datetime | None = None) -> QuerySet[ServedModel]:
    """Models that hosts have lately reported. Their heartbeats go by the database's clock."""
    since = now - LIVE if now else database_clock.after(-LIVE.total_seconds())
    return ServedModel.objects.filter(seen_at__gt=since)


def served_anywhere(now: datetime | None = None) -> ServedModels:
    """Models that a live host can use. One that failed lately counts again once it has been loaded."""
    failed = Q(problem_at__isnull=False) & (Q(loaded_at=None) | Q(loaded_at__lt=F("problem_at")))
    usable = live_rows(now).filter(problem="").exclude(failed)
    return ServedModels(
        frozenset(usable.filter(kind=WHISPER).values_list("name", flat=True)),
        frozenset(usable.filter(kind=SPEAKERS).values_list("name", flat=True)),
    )


@dataclass(frozen=True, slots=True)
class Missing:
    """Model that no live host can use, with the reason. ``fault`` is the code of a fault of the hosts."""

    name: str
    reason: str
    fault: str = ""

    @property
    def remedy(self) -> str:
        """Advice for the operator."""
        if self.name not in {*offered_models.whisper_models(), *offered_models.speaker_models()}:
            return "Offer the model again, or choose another in the domain or the batch."
        if self.fault or self.reason:  # whether files are missing, memory or something else
            return "Run on that host: manage.py doctor"
        return f"Start a recognition cluster that serves {self.name} (SPEECHPORTAL_SERVED_MODELS)."


def missing_models(names: Iterable[str], now: datetime | None = None) -> list[Missing]:
    """Return those of the models ``names`` that no live host can use."""
    served = served_anywhere(now)
    usable = served.whisper | served.speakers
    rows = live_rows(now).exclude(problem="").values_list("name", "problem", "fault")
    problems = {name: (problem, fault) for name, problem, fault in rows}
    return [Missing(name, *problems.get(name, ("", ""))) for name in sorted(set(names)) if name not in usable]


def waiting_for_models(now: datetime | None = None) -> dict[int, str]:
    """Map IDs of batches whose tasks have waited for a model that no host serves to that model's name."""
    served = served_anywhere(now)
    waiting = with_models(claimable()).filter(available_at__lt=(now or timezone.now()) - GRACE)
    unserved = waiting.filter(served.other_tasks())
    found: dict[int, str] = {}
    rows = unserved.order_by().values_list("batch", "takes_whisper", "takes_speakers").distinct()
    for batch_id, whisper, speakers in rows:
        found[batch_id] = whisper if whisper not in served.whisper else speakers
    return found


def held_up_by_hosts() -> dict[int, str]:
    """Map IDs of batches to the fault of a host that has held up one of their files twice in a row or more.

    It may be one of the file in hand, such as memory; between two attempts the hosts report nothing of it.
    """
    open_tasks = Task.unscoped.filter(state__in=[Task.State.WAITING, *Task.LEASED])
    held_up = open_tasks.filter(error_code__in=HOST_FAULTS, delays__gte=HELD_UP)
    return dict(held_up.order_by("-pk").values_list("batch", "error_code"))


def reconcile(now: datetime | None = None) -> None:
    """Turn batches to Error that wait for an unserved model or a working host, and back once there is one.

    Not in maintenance mode, in which hosts may be down on purpose.
    """
    if Maintenance.is_on():
        return
    held_up = held_up_by_hosts()
    for batch_id, fault in held_up.items():
        batch_status.set_error(batch_id, failure(fault))
    waiting = {each: name for each, name in waiting_for_models(now).items() if each not in held_up}
    reasons = {each.name: each for each in missing_models(waiting.values(), now)}
    for batch_id, name in waiting.items():
        missing = reasons.get(name) or Missing(name, "")
        if missing.fault:
            batch_status.set_error(batch_id, failure(missing.fault))
            continue
        message = f"No worker serves the model {name}. {missing.reason}".strip()
        found = failure(MODEL_NOT_SERVED, model=offered_models.title(name), remedy=missing.remedy)
        batch_status.set_error(batch_id, replace(found, message=message))
    causes = [MODEL_NOT_SERVED, *HOST_FAULTS]
    for batch_id in Batch.unscoped.filter(cause_code__in=causes).values_list("pk", flat=True):
        if batch_id not in waiting and batch_id not in held_up:
            batch_status.set_normal(batch_id)
