"""Helper that runs the queued jobs of accounts and members, as a worker does."""

from __future__ import annotations

from typing import Any

from django.utils.module_loading import import_string
from django_q.models import OrmQ
from django_q.signing import SignedPackage


def work_off() -> None:
    """Run the queued jobs of accounts and members, and the jobs that these queue in turn."""
    while due := _due():
        for message, task in due:
            import_string(task["func"])(*task["args"])
            message.delete()


def _due() -> list[tuple[OrmQ, dict[str, Any]]]:
    queued = [(each, SignedPackage.loads(each.payload)) for each in OrmQ.objects.order_by("pk")]
    return [(each, task) for each, task in queued if task["func"].startswith("speechportal.accounts.")]
