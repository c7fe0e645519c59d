"""Endpoint checks: validation of storage URLs that users enter."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings

from speechportal.outbound import web_budget
from speechportal.outbound.errors import AddressNotAllowed, Busy, NameNotFound
from speechportal.outbound.errors import TimedOut as OutboundTimedOut
from speechportal.outbound.transport import EVERYWHERE, Deadline, Policy, checked_addresses
from speechportal.storage.errors import (
    ForbiddenEndpoint,
    ForbiddenPort,
    HostUnknown,
    InsecureEndpoint,
    Misconfigured,
    StorageBusy,
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

    Unless ``STORAGE_ALLOW_PRIVATE_ENDPOINTS`` is set, every IP address of the host must be public: members
    must not reach the operator's network through the portal. Scheme and port are then restricted like those
    of webhooks (``OUTBOUND_HTTP``, ``OUTBOUND_PORTS``).
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
    _check_addresses(parts.hostname or "", port, url)


def check_host(host: str, port: int) -> None:
    """Like :func:`check_endpoint`, for a server of another protocol than HTTP, on any port."""
    if not settings.STORAGE_ALLOW_PRIVATE_ENDPOINTS:
        _check_addresses(host, port, host)


def _check_addresses(host: str, port: int, named: str) -> None:
    """Check the IP addresses of a host, within the budget of a web request: name servers may be slow too."""
    try:
        deadline = Deadline(web_budget.limited(RESOLVE_SECONDS, host))
        checked_addresses(host, port, policy(), deadline)
    except AddressNotAllowed as error:
        raise ForbiddenEndpoint(named) from error
    except NameNotFound as error:
        raise HostUnknown(named) from error
    except OutboundTimedOut as error:
        raise TimedOut(named) from error
    except Busy as error:
        raise StorageBusy(named) from error


def policy() -> Policy:
    """Outbound policy of connections to storages; scheme and port are checked with the endpoint."""
    if settings.STORAGE_ALLOW_PRIVATE_ENDPOINTS:
        return Policy(networks=EVERYWHERE, http=True, ports=None)
    return Policy(http=True, ports=None)
