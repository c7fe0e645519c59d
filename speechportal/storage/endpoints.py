"""Addresses of storages, as users type them."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from django.conf import settings

from speechportal.storage.errors import ForbiddenEndpoint, HostUnknown, Misconfigured


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
    one: members must not reach into the operator's network through the portal.
    """
    check_endpoint_shape(url)
    if settings.STORAGE_ALLOW_PRIVATE_ENDPOINTS:
        return
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise HostUnknown(url) from error
    for *_rest, address in found:
        if not _is_public(str(address[0])):
            raise ForbiddenEndpoint(url)


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_global and not address.is_multicast
