"""Outbound policy of the operator, from the settings."""

from __future__ import annotations

from django.conf import settings

from speechportal.outbound.transport import Policy


def policy() -> Policy:
    """Return the policy of the current settings ``OUTBOUND_…``."""
    return Policy.allowing(
        settings.OUTBOUND_NETWORKS,
        http=settings.OUTBOUND_HTTP,
        ports=settings.OUTBOUND_PORTS or None,
        ca_file=settings.OUTBOUND_CA_FILE or None,
    )
