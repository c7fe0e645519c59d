"""The operator's policy for outbound requests, made from settings."""

from __future__ import annotations

import ipaddress

from django.conf import settings

from speechportal.outbound.transport import Policy


def policy() -> Policy:
    """Return the policy of the present settings ``OUTBOUND_…``."""
    return Policy(
        networks=tuple(ipaddress.ip_network(network) for network in settings.OUTBOUND_NETWORKS),
        http=settings.OUTBOUND_HTTP,
        ports=frozenset(settings.OUTBOUND_PORTS) or None,
        ca_file=settings.OUTBOUND_CA_FILE or None,
    )
