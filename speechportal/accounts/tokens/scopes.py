"""Scopes and allowed networks of API tokens.

A scope is ``<area>:read`` or ``<area>:write``; ``read`` and ``write`` alone are for all areas. Writing
includes reading.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

AREAS = {
    "account": _("Account: its limits and its budget"),
    "batches": _("Batches and their execution results"),
    "connections": _("Connections"),
    "deliveries": _("Deliveries of webhooks"),
    "domains": _("Domains and keywords"),
    "members": _("Members"),
    "tasks": _("Tasks, transcripts and result files"),
    "tokens": _("API tokens"),
    "usage": _("Usage and charges"),
}
SCOPES = ["read", "write", *(f"{area}:{right}" for area in AREAS for right in ("read", "write"))]


def allows(scopes: Iterable[str], area: str, *, write: bool) -> bool:
    """Whether ``scopes`` let a token read, or write, in ``area``."""
    enough = {"write", f"{area}:write"} | (set() if write else {"read", f"{area}:read"})
    return not enough.isdisjoint(scopes)


def within(wanted: Iterable[str], held: Iterable[str]) -> bool:
    """Whether the scopes ``held`` include everything that ``wanted`` allows."""
    asked = list(wanted)
    own = list(held)
    return all(
        allows(own, area, write=write)
        for area in AREAS
        for write in (False, True)
        if allows(asked, area, write=write)
    )


def validate_scopes(value: Any) -> None:
    if not isinstance(value, list) or not value:
        raise ValidationError(_("Choose at least one scope."), code="required")
    if unknown := [str(each) for each in value if each not in SCOPES]:
        raise ValidationError(gettext("Unknown scope: %s.") % ", ".join(unknown), code="unknown_scope")


def validate_networks(value: Any) -> None:
    """Validate a list of addresses and networks such as ``192.0.2.7`` and ``2001:db8::/32``."""
    wrong: list[str] = []
    for each in value if isinstance(value, list) else [value]:
        try:
            ipaddress.ip_network(str(each), strict=False)
        except ValueError:
            wrong.append(str(each))
    if wrong:
        raise ValidationError(
            gettext("Not an address or network: %s.") % ", ".join(wrong), code="invalid_network"
        )


def networks_within(wanted: Iterable[str], held: Iterable[str]) -> bool:
    """Whether every address of ``wanted`` is one of ``held``; an empty list means all addresses."""
    own = [ipaddress.ip_network(each, strict=False) for each in held]
    if not own:
        return True
    asked = list(wanted)
    return bool(asked) and all(_is_within(each, own) for each in asked)


def _is_within(text: str, networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    try:
        network = ipaddress.ip_network(str(text), strict=False)
    except ValueError:  # reported as an error of the field
        return True
    return any(
        network.version == own.version and network.subnet_of(own)  # type: ignore[arg-type] # of one version
        for own in networks
    )


def admits(networks: Iterable[str], address: str) -> bool:
    """Whether ``address`` is in one of ``networks``; an empty list allows every address."""
    allowed = [ipaddress.ip_network(each, strict=False) for each in networks]
    if not allowed:
        return True
    try:
        own = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(own, ipaddress.IPv6Address) and own.ipv4_mapped:
        own = own.ipv4_mapped
    return any(own in network for network in allowed)
