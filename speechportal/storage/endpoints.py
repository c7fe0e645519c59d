"""Addresses of storages, as users type them."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from django.conf import settings

from speechportal.outbound.addresses import is_allowed
from speechportal.storage.errors import (
    ForbiddenEndpoint,
    ForbiddenPort,
    HostUnknown,
    InsecureEndpoint,
    Misconfigured,
)


def check_endpoint_shape(url: str) -> None:
    """:class:`Misconfigured` unless ``url`` is http(s)://host[:port] without user, query or fragment."""
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
    """The one check before a storage is talked to.

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
        judged_addresses(parts.hostname or "", port)
    except ForbiddenEndpoint as error:
        raise ForbiddenEndpoint(url) from error
    except socket.gaierror as error:
        raise HostUnknown(url) from error


def judged_addresses(host: str, port: int) -> list[str]:
    """Every address that a host has, in the resolver's order: what may be connected to.

    One that is not public refuses the host as a whole (:class:`ForbiddenEndpoint`), unless
    ``STORAGE_ALLOW_PRIVATE_ENDPOINTS`` is set. ``socket.gaierror`` where it has none.
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # A label that is no name.
        raise socket.gaierror(socket.EAI_NONAME, "no such name") from error
    addresses = list(dict.fromkeys(str(address[0]) for *_rest, address in found))
    if not settings.STORAGE_ALLOW_PRIVATE_ENDPOINTS:
        for address in addresses:
            if not is_allowed(ipaddress.ip_address(address)):
                raise ForbiddenEndpoint(host)
    return addresses
