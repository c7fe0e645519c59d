"""Acknowledgement of a failure in admin: when, by whom and with what note."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

from batches.models import Batch, Delivery, Task, Webhook
from batches.services import acknowledgements


def acknowledgement(row: Batch | Webhook | Delivery | Task) -> list[tuple[Any, Any]]:
    """Rows of a summary; none unless a member has acknowledged the failure."""
    if row.acknowledged_at is None:
        return []
    entry = acknowledgements.entry_of(row)
    return [
        (_("Acknowledged"), row.acknowledged_at),
        (_("Acknowledged by"), entry.who if entry else _("no longer known")),
        (_("Note"), row.acknowledgement or "–"),
    ]
