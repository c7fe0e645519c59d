"""Outbound policy: refused addresses, in every notation."""

from __future__ import annotations

import ipaddress

import pytest

from speechportal.outbound.addresses import is_allowed
from speechportal.outbound.client import STRICT, check_endpoint, post
from speechportal.outbound.errors import (
    AddressNotAllowed,
    BadUrl,
    HttpsRequired,
    NameNotFound,
    OutboundError,
    PortNotAllowed,
    TimedOut,
)
from speechportal.outbound.transport import Policy
from tests.outbound.servers import OK, allowing_loopback, answering, leading_to, serving

INSIDE = [
    str(ipaddress.IPv4Address(0)), "0.1.2.3", "127.0.0.1", "127.255.255.254", "10.1.2.3", "172.16.0.1",
    "172.31.255.255", "192.168.0.1", "169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.192",
    "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1",
    "255.255.255.255", "168.63.129.16", "192.88.99.1", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1",
    "::ffff:10.0.0.1", "::ffff:169.254.169.254", "fe80::1", "fe80::1%1", "fec0::1", "fc00::1",
    "fd00:ec2::254", "ff02::1", "ff0e::1", "2001:db8::1", "3fff::1", "2001::1", "100::1", "5f00::1",
    "2002:7f00:1::1", "2002:a9fe:a9fe::1", "2002:c0a8:1::", "64:ff9b::7f00:1", "64:ff9b::a00:1",
    "64:ff9b:1::1", "2001:0:53aa:64c:0:0:80ff:fffe",
]  # fmt: skip
OUTSIDE = [
    "8.8.8.8",
    "1.1.1.1",
    "223.130.192.1",
    "2606:4700:4700::1111",
    "64:ff9b::808:808",
    "::ffff:8.8.8.8",
]


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_that_are_not_global(address: str) -> None:
    assert not is_allowed(ipaddress.ip_address(address))
    with pytest.raises(AddressNotAllowed):
        check_endpoint("https://hooks.example.com/", Policy(resolver=leading_to(address)))


@pytest.mark.parametrize("address", OUTSIDE)
def test_addresses_that_are_global(address: str) -> None:
    assert is_allowed(ipaddress.ip_address(address))
    check_endpoint("https://hooks.example.com/", Policy(resolver=leading_to(address)))


def test_one_bad_address_refuses_the_name() -> None:
    policy = Policy(resolver=leading_to("8.8.8.8", "127.0.0.1"))
    with pytest.raises(AddressNotAllowed) as caught:
        check_endpoint("https://hooks.example.com/", policy)
    assert caught.value.code == "address_not_allowed"
    assert str(caught.value) == "hooks.example.com leads to an address that is not on the public internet."


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "0177.1",
        "0", "localhost", "LOCALHOST", "localhost.", "127.0.0.1.", "１２７.0.0.1", "127。0。0。1",
        "0xa9fea9fe", "2852039166", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]", "[fe80::1]",
    ],
)  # fmt: skip
def test_loopback_in_every_spelling(host: str) -> None:
    """Uses the system's resolver, and a server that would notice a connection."""
    with serving(answering(OK)) as server:
        policy = Policy(http=True, ports=None)
        with pytest.raises((AddressNotAllowed, BadUrl, NameNotFound)):
            post(f"http://{host}:{server.port}/", b"", policy=policy)
        assert server.accepted == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "localhost", "[::ffff:127.0.0.1]"])
def test_an_allowed_network_opens_loopback(host: str) -> None:
    check_endpoint(f"http://{host}:8080/", allowing_loopback())


def test_an_allowed_network_opens_nothing_else() -> None:
    with pytest.raises(AddressNotAllowed):
        check_endpoint("http://169.254.169.254/latest/meta-data/", allowing_loopback())


@pytest.mark.parametrize(
    "url",
    [
        "", "hooks.example.com", "//hooks.example.com", "https://", "https:///path", "ftp://example.com/",
        "file:///etc/passwd", "gopher://example.com/", "https://user@example.com/", "https://u:p@example.com/",
        "https://exa mple.com/", "https://example.com/\r\nX: y", "https://example.com\\@127.0.0.1/",
        "https://example.com:port/", "https://example.com:99999/", "https://[::1", "https://a..b/",
        "https://[fe80::1%25eth0]/", "https://example.com/\x00", "https://" + "a" * 64 + ".com/",
        "https://example.com/" + "a" * 2048, "https://example.com/\u2028",
    ],
)  # fmt: skip
def test_what_is_no_web_address(url: str) -> None:
    with pytest.raises(BadUrl):
        check_endpoint(url, Policy(http=True, ports=None, resolver=leading_to("8.8.8.8")))


def test_https_only_unless_allowed() -> None:
    with pytest.raises(HttpsRequired):
        check_endpoint("http://hooks.example.com/", Policy(resolver=leading_to("8.8.8.8")))
    check_endpoint("http://hooks.example.com/", Policy(http=True, resolver=leading_to("8.8.8.8")))


@pytest.mark.parametrize("port", [0, 22, 25, 5432, 6379, 11211])
def test_ports_are_limited(port: int) -> None:
    with pytest.raises(PortNotAllowed):
        check_endpoint(f"https://hooks.example.com:{port}/", Policy(resolver=leading_to("8.8.8.8")))


def test_a_name_that_nobody_knows() -> None:
    def unknown(_host: str, _port: int) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(NameNotFound):
        check_endpoint("https://hooks.example.com/", Policy(resolver=unknown))
    with pytest.raises(NameNotFound):
        check_endpoint("https://hooks.example.com/", Policy(resolver=leading_to()))


def test_a_resolver_that_hangs() -> None:
    with serving(lambda _stream, _head: None) as server:

        def hanging(_host: str, _port: int) -> list[str]:
            server.wait(120)
            return ["8.8.8.8"]

        with pytest.raises(TimedOut):
            check_endpoint("https://hooks.example.com/", Policy(resolver=hanging), timeout=0.3)


def test_a_policy_from_settings() -> None:
    policy = Policy.allowing(["10.0.0.0/8", "fd00::/8"], http=True, ports=[80])
    check_endpoint(
        "http://inside.example/", Policy(policy.networks, True, None, resolver=leading_to("10.1.1.1"))
    )
    with pytest.raises(ValueError, match="has host bits set"):
        Policy.allowing(["10.0.0.1/8"])
    assert Policy() == STRICT


def test_every_error_says_what_to_do() -> None:
    details: dict[str, str | int] = {"host": "h", "port": 1, "reason": "r", "status": 1, "limit": 1}
    kinds = OutboundError.__subclasses__()
    assert len({kind.code for kind in kinds}) == len(kinds)
    for kind in kinds:
        assert kind(**details).message.endswith(".")
        assert "%" not in kind(**details).message
