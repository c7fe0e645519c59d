"""Throttling of the sign-in: limits on wrong passwords and codes, with exponential back-off.

Failures are counted for three subjects; each wait is twice as long as the previous one:

=========  =============================================  =====================================
subject    identified by                                  wait begins after
=========  =============================================  =====================================
pair       an e-mail address from one network             ``SIGN_IN_TRIES`` failures
address    an e-mail address, from anywhere               4 times as many; 1 minute at first
network    an IPv4 address or an IPv6 /64, all addresses  8 times as many; 1 minute at first
=========  =============================================  =====================================

During a wait every attempt is refused and not counted. The limit of an address does not apply to networks in
which its owner has a session, so that strangers cannot lock the owner out there. The owner gets a mail when
the wait of their address begins. Failures expire after a day without new ones.
"""

from __future__ import annotations

import ipaddress
import logging
from datetime import timedelta

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from speechportal.accounts.email_addresses import normalised
from speechportal.accounts.sign_in import notices
from speechportal.accounts.sign_in.sessions import MemberSession
from speechportal.platform.http import client_address

logger = logging.getLogger(__name__)

IPV6_NETWORK = 64  # prefix length: a provider's typical allocation to a customer
FORGOTTEN_AFTER = timedelta(days=1)
LONGEST_WAIT = timedelta(hours=12)
FIRST_WIDE_WAIT = timedelta(minutes=1)
ADDRESS_FACTOR, NETWORK_FACTOR = 4, 8


class SignInFailures(models.Model):
    """Number of wrong passwords and codes of one subject, and its wait."""

    class Subject(models.TextChoices):
        PAIR = "pair", _("address from a network")
        ADDRESS = "address", _("address from anywhere")
        NETWORK = "network", _("network")

    subject = models.CharField(_("subject"), max_length=10, choices=Subject.choices)
    email = models.CharField(_("e-mail address"), max_length=254, blank=True)
    network = models.CharField(_("network"), max_length=64, blank=True)
    failures = models.PositiveIntegerField(_("failures"), default=0)
    last_at = models.DateTimeField(_("last failure"), default=timezone.now)
    wait_until = models.DateTimeField(_("refused until"), null=True)

    objects = models.Manager()

    class Meta:
        verbose_name = _("failed sign-ins")
        verbose_name_plural = _("failed sign-ins")
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["subject", "email", "network"], name="sign_in_failures_unique")
        ]
        indexes = [models.Index(fields=["last_at"], name="sign_in_failures_by_age")]

    def __str__(self) -> str:
        return " · ".join(filter(None, (self.email, self.network)))


Subject = SignInFailures.Subject


def network_of(request: HttpRequest) -> str:
    """Network of the client, as ``192.0.2.1`` or ``2001:db8::/64``."""
    return network_named(client_address(request))


def network_named(address: str) -> str:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:  # a UNIX socket
        return ""
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, IPV6_NETWORK), strict=False))
    return str(found)


def address_of(request: HttpRequest) -> str:
    """E-mail address of the sign-in; after the password, that of the user who entered it."""
    given = request.POST.get("username", "") or getattr(getattr(request, "user", None), "email", "")
    return normalised(given)


def seconds_to_wait(request: HttpRequest, email: str | None = None) -> int:
    """Seconds that the client must wait before the next attempt for ``email``; 0 if none."""
    email = address_of(request) if email is None else normalised(email)
    network = network_of(request)
    rows = SignInFailures.objects.filter(_subjects(email, network), wait_until__gt=timezone.now())
    waits = {row.subject: row.wait_until for row in rows}
    if Subject.ADDRESS in waits and _is_known_network(email, network):
        del waits[Subject.ADDRESS]
    longest = max((wait for wait in waits.values() if wait), default=None)
    return 0 if longest is None else max(1, round((longest - timezone.now()).total_seconds()))


def is_refused(request: HttpRequest) -> bool:
    """Whether the client must wait because of too many wrong passwords or codes."""
    return seconds_to_wait(request) > 0


def refused(request: HttpRequest) -> HttpResponse:
    """Page that shows how long to wait."""
    seconds = max(1, seconds_to_wait(request))
    response = render(request, "accounts/too_many_tries.html", {"minutes": -(-seconds // 60)}, status=429)
    response["Retry-After"] = str(seconds)
    return response


def count_failure(request: HttpRequest, email: str | None = None) -> None:
    """Count a wrong password or code for all three subjects, and begin any wait that is due."""
    email = address_of(request) if email is None else normalised(email)
    logger.warning("a sign-in was refused: %s from %s", email, client_address(request))
    network = network_of(request)
    tries = settings.SIGN_IN_TRIES
    pair_wait = timedelta(minutes=settings.SIGN_IN_WAIT_MINUTES)
    begun = _count(Subject.PAIR, email, network, tries, pair_wait)
    begun = _count(Subject.ADDRESS, email, "", ADDRESS_FACTOR * tries, FIRST_WIDE_WAIT) or begun
    _count(Subject.NETWORK, "", network, NETWORK_FACTOR * tries, FIRST_WIDE_WAIT)
    if begun:
        _notify_owner(email)


def count_request(request: HttpRequest) -> None:
    """Count a request that is limited by network only, such as one for a new password."""
    _count(Subject.NETWORK, "", network_of(request), NETWORK_FACTOR * settings.SIGN_IN_TRIES, FIRST_WIDE_WAIT)


def forget(*, email: str, network: str | None = None) -> int:
    """Delete the failures of an address, from one network or from all; returns the number of rows."""
    email = normalised(email)
    rows = SignInFailures.objects.filter(email=email).exclude(email="")
    if network is not None:
        rows = rows.filter(network__in=["", network])
    return rows.delete()[0]


def signed_in(request: HttpRequest, email: str) -> None:
    """Delete the failures of the address after a complete sign-in: from this network, and in total."""
    forget(email=email, network=network_of(request))


def _subjects(email: str, network: str) -> Q:
    return (
        Q(subject=Subject.PAIR, email=email, network=network)
        | Q(subject=Subject.ADDRESS, email=email, network="")
        | Q(subject=Subject.NETWORK, email="", network=network)
    )


def _count(subject: Subject, email: str, network: str, free: int, first_wait: timedelta) -> bool:
    """Count a failure of one subject. Returns whether it begins the subject's first wait."""
    if subject == Subject.NETWORK and not network:
        return False
    now = timezone.now()
    with transaction.atomic():
        SignInFailures.objects.get_or_create(subject=subject, email=email, network=network)
        row = SignInFailures.objects.select_for_update().get(subject=subject, email=email, network=network)
        if now - row.last_at > FORGOTTEN_AFTER:
            row.failures = 0
        row.failures, row.last_at = row.failures + 1, now
        over = row.failures - free
        if over >= 0:
            row.wait_until = now + min(first_wait * 2 ** min(over, 16), LONGEST_WAIT)
        row.save()
    return over == 0


def _is_known_network(email: str, network: str) -> bool:
    """Whether the owner of the address has a session in this network."""
    found = MemberSession.objects.filter(user__email=email, expire_date__gt=timezone.now())
    return any(
        network_named(address) == network for address in found.values_list("address", flat=True) if address
    )


def _notify_owner(email: str) -> None:
    from speechportal.accounts.models import User

    user = User.objects.filter(email=email, is_active=True).first()
    if user is not None:
        notices.send_later(user.pk, "sign_in_refused")
