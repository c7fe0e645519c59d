"""Doing what was queued about people, as a worker does."""

from __future__ import annotations

from django.utils.module_loading import import_string
from django_q.models import OrmQ
from django_q.signing import SignedPackage


def work_off() -> None:
    for message in OrmQ.objects.order_by("pk"):
        task = SignedPackage.loads(message.payload)
        if task["func"].startswith("speechportal.accounts."):
            import_string(task["func"])(*task["args"])
            message.delete()
