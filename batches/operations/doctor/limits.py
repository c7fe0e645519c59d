"""Check of the limits that this user's processes run under (``ulimit``), and of the machine's memory."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from batches.operations.doctor.findings import Finding, bad, good
from batches.recognition.errors import ModelUnavailable
from batches.recognition.models import memory
from batches.recognition.models.dimensions import read_dimensions
from batches.recognition.models.store import ModelStore
from batches.recognition.runtime import gpu_probe
from batches.tasks import fleet
from batches.tasks.scheduling import ServedModels
from batches.worker import engines

LATELY = timedelta(hours=1)
# Below these, work may fail for want of them. The kind, what it limits, its option of ulimit, the least.
LEAST = (
    (resource.RLIMIT_NOFILE, "A process may open only {} files", "-n", "LimitNOFILE", 256),
    (resource.RLIMIT_NPROC, "This user may have only {} processes and threads", "-u", "LimitNPROC", 256),
)


def limits() -> Iterator[Finding]:
    """Check whether open files, processes and memory suffice."""
    healthy = True
    for kind, sentence, option, directive, least in LEAST:
        soft = resource.getrlimit(kind)[0]
        if soft != resource.RLIM_INFINITY and soft < least:
            healthy = False
            yield bad(
                "limits",
                f"{sentence.format(soft)} (ulimit {option}); tasks then wait.",
                f"Raise it to 1024 or more for the user that the portal runs as ({directive}= of systemd).",
            )
    for finding in _models_in_memory():
        healthy = False
        yield finding
    for finding in _out_of_memory():
        healthy = False
        yield finding
    if healthy:
        yield good("limits", "The limits of open files, processes and memory suffice.")


def _out_of_memory() -> Iterator[Finding]:
    """Hosts where the kernel has lately ended a process of recognition."""
    with contextlib.suppress(DatabaseError):  # reported by the check of the database
        for host in fleet.out_of_memory_since(timezone.now() - LATELY):
            yield bad(
                "limits",
                f"On {host} the kernel has ended recognition for want of memory within the last hour;"
                " its files wait.",
                "Give the machine or container more memory, lower SPEECHPORTAL_RECOGNITION_WORKERS or"
                " _FILES_AT_ONCE there, or serve a smaller model.",
            )


def _models_in_memory() -> Iterator[Finding]:
    """Models that recognition on the CPU can never load here."""
    device = settings.RECOGNITION_DEVICE
    if device not in (engines.AUTO, engines.CPU) or (device == engines.AUTO and gpu_probe.driver_is_loaded()):
        return
    most, store = memory.most(), ModelStore(settings.MODELS_DIR)
    for name in sorted(ServedModels.of_settings().whisper):
        try:
            need = memory.need_on_cpu(read_dimensions(store.whisper(name).path), number_bytes=2).total
        except ModelUnavailable:
            continue  # reported by the check of the models
        if need > most:
            yield bad(
                "limits",
                f"{name} needs {need / 1e9:.1f} GB of memory at least; a process may have {most / 1e9:.1f}.",
                "Give the machine or container more, raise ulimit -v, or serve a smaller model here.",
            )
