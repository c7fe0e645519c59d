"""Address policy: which IP addresses are public."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Networks that are not public, although some patch releases of Python count them as global.
_NOT_OTHERS = tuple(
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",  # the host of an Azure machine
        "192.0.0.0/24",  # IETF's own; Oracle's metadata
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.175.48.0/24",  # AS112
        "2001::/23",  # IETF's own; Teredo
        "2001:db8::/32",  # documentation
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_allowed(address: Address, networks: Iterable[Network] = ()) -> bool:
    """Whether an address is global (for IPv6 also an embedded IPv4 address) or in an allowed network."""
    if isinstance(address, ipaddress.IPv4Address):
        return _is_in(address, networks) or _is_global_ipv4(address)
    if address.scope_id:
        return False
    if address.ipv4_mapped:
        return is_allowed(address.ipv4_mapped, networks)
    if _is_in(address, networks):
        return True
    if address in _NAT64:
        return is_allowed(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF), networks)
    if address.sixtofour and not is_allowed(address.sixtofour, networks):
        return False
    return address in _GLOBAL_IPV6 and address.is_global and not _is_in(address, _NOT_OTHERS)


def _is_global_ipv4(address: ipaddress.IPv4Address) -> bool:
    return address.is_global and not address.is_multicast and not _is_in(address, _NOT_OTHERS)


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
