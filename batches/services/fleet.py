"""Services for the fleet: draining of hosts, and maintenance mode; every change is audited."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from batches.models import RecognitionHost
from batches.tasks import scheduling
from speechportal.accounts.audit.trail import record
from speechportal.platform import queue
from speechportal.platform.maintenance import forget_notice
from speechportal.platform.models import Maintenance


@transaction.atomic
def drain(host: RecognitionHost) -> None:
    """Drain the host: it finishes its tasks and claims no others."""
    now = timezone.now()
    if not RecognitionHost.objects.filter(pk=host.pk, drained_at=None).update(drained_at=now):
        raise ValidationError(_("The host is drained already."))
    host.drained_at = now
    record("recognition_host.drained", host)


@transaction.atomic
def resume(host: RecognitionHost) -> None:
    """Let a drained host claim tasks again."""
    drained = RecognitionHost.objects.filter(pk=host.pk, drained_at__isnull=False)
    if not drained.update(drained_at=None):
        raise ValidationError(_("The host is not drained."))
    host.drained_at = None
    record("recognition_host.resumed", host)
    _wake()


@transaction.atomic
def pause_everywhere(notice: str) -> None:
    """Begin maintenance mode: no host starts a task. Members see ``notice``, or a default if it is empty."""
    row = Maintenance.current()
    paused = Maintenance.objects.filter(pk=row.pk, started_at=None)
    if not paused.update(started_at=timezone.now(), notice=notice):
        raise ValidationError(_("Recognition is paused already."))
    record("maintenance.started", row, changes={"notice": ["", notice]} if notice else {})
    transaction.on_commit(forget_notice)


@transaction.atomic
def resume_everywhere() -> None:
    """End maintenance mode."""
    on = Maintenance.objects.filter(started_at__isnull=False)
    if not on.update(started_at=None, notice=""):
        raise ValidationError(_("Recognition is not paused."))
    record("maintenance.ended", Maintenance.current())
    transaction.on_commit(forget_notice)
    _wake()


def _wake() -> None:
    transaction.on_commit(lambda: queue.wake_recognition(scheduling.claimable()[:100].count()))
