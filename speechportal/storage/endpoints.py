"""Endpoint checks: validation of storage URLs that users enter."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings

from speechportal.outbound.errors import AddressNotAllowed, NameNotFound
from speechportal.outbound.errors import TimedOut as OutboundTimedOut
from speechportal.outbound.transport import EVERYWHERE, Deadline, Policy, checked_addresses
from speechportal.storage.errors import (
    ForbiddenEndpoint,
    ForbiddenPort,
    HostUnknown,
    InsecureEndpoint,
    Misconfigured,
    TimedOut,
)

RESOLVE_SECONDS = 10.0


def check_endpoint_shape(url: str) -> None:
    """Raise :class:`Misconfigured` unless ``url`` is http(s)://host[:port], without user or query."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Misconfigured(url) from error
    sound = (
        parts.scheme in {"http", "https"}
        and parts.hostname
        and "@" not in parts.netloc
        and not parts.query
        and not parts.fragment
        and parts.path in {"", "/"}
        and port != 0
        and url.isprintable()
        and " " not in url
        and "\\" not in url
    )
    if not sound:
        raise Misconfigured(url)


def check_endpoint(url: str) -> None:
    """Check an endpoint before a storage is opened.

    Unless ``STORAGE_ALLOW_PRIVATE_ENDPOINTS`` is set, every address that the host has must be a public
    one: members must not reach into the operator's network through the portal. Scheme and port are then
    those that webhooks may use (``OUTBOUND_HTTP``, ``OUTBOUND_PORTS``).
    """
    check_endpoint_shape(url)
    if settings.STORAGE_ALLOW_PRIVATE_ENDPOINTS:
        return
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if parts.scheme == "http" and not settings.OUTBOUND_HTTP:
        raise InsecureEndpoint(url)
    if settings.OUTBOUND_PORTS and port not in settings.OUTBOUND_PORTS:
        raise ForbiddenPort(url)
    try:
        checked_addresses(parts.hostname or "", port, policy(), Deadline(RESOLVE_SECONDS))
    except AddressNotAllowed as error:
        raise ForbiddenEndpoint(url) from error
    except NameNotFound as error:
        raise HostUnknown(url) from error
    except OutboundTimedOut as error:
        raise TimedOut(url) from error


def check_host(host: str, port: int) -> None:
    """The same for a server that is no HTTP server. Its port may be any."""
    if settings.STORAGE_ALLOW_PRIVATE_ENDPOINTS:
        return
    try:
        checked_addresses(host, port, policy(), Deadline(RESOLVE_SECONDS))
    except AddressNotAllowed as error:
        raise ForbiddenEndpoint(host) from error
    except NameNotFound as error:
        raise HostUnknown(host) from error
    except OutboundTimedOut as error:
        raise TimedOut(host) from error


def policy() -> Policy:
    """Outbound policy of connections to storages; scheme and port are checked with the endpoint."""
    if settings.STORAGE_ALLOW_PRIVATE_ENDPOINTS:
        return Policy(networks=EVERYWHERE, http=True, ports=None)
    return Policy(http=True, ports=None)
