"""Sending of notifications: finds due subscriptions and channels, and sends the events since the last time.

1. E-mails to members, at most once: ``told_until`` is advanced by a conditional update before the e-mail is
   sent, so that two schedulers send it once. An e-mail that fails is not sent again.
2. Messages to chat channels, at least once: ``told_until`` is advanced after the service has accepted the
   message. Until then each run tries again, with the events of the last day at most.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import groupby

from django.conf import settings
from django.db.models import Count
from django.utils import timezone, translation

from batches.models import ChatChannel, Subscription
from batches.models.notifications import Topic
from batches.notifications import chat, digest
from speechportal.accounts.models import Membership
from speechportal.encryption import EncryptionError
from speechportal.outbound.errors import OutboundError
from speechportal.platform import mail

logger = logging.getLogger(__name__)
Frequency = Subscription.Frequency

# A transaction may commit shortly after the time that it wrote, so newer events wait for the next run.
LAG = timedelta(minutes=1)
WAITS = {
    Frequency.NOW: timedelta(minutes=1),
    Frequency.HOURLY: timedelta(hours=1),
    Frequency.DAILY: timedelta(days=1),
}
# Failures come in bursts: those of five minutes share one e-mail, even for immediate notifications.
GATHERED = timedelta(minutes=5)
LONGEST = timedelta(days=1)

DEFAULTS = {
    Membership.Role.OWNER: {
        Topic.STATUS: Frequency.NOW,
        Topic.FAILURES: Frequency.DAILY,
        Topic.BUDGET: Frequency.NOW,
    },
    Membership.Role.MANAGER: {Topic.STATUS: Frequency.NOW, Topic.FAILURES: Frequency.HOURLY},
    Membership.Role.VIEWER: {},
}


def subscribe(membership: Membership) -> list[Subscription]:
    """The member's subscriptions, one per topic. Missing ones are created with the defaults of their role."""
    own = {each.topic: each for each in Subscription.unscoped.filter(membership=membership)}
    defaults = DEFAULTS[Membership.Role(membership.role)]
    missing = [
        Subscription(membership=membership, topic=topic, frequency=defaults.get(topic, Frequency.NEVER))
        for topic in Topic
        if topic not in own
    ]
    if missing:
        Subscription.unscoped.bulk_create(missing, ignore_conflicts=True)
        own = {each.topic: each for each in Subscription.unscoped.filter(membership=membership)}
    return [own[topic] for topic in Topic]


def send_due() -> int:
    """Send all due notifications; returns the number of e-mails and messages."""
    now = timezone.now()
    _subscribe_new()
    due = Subscription.unscoped.filter(
        membership__user__is_active=True, membership__account__closed_at=None
    ).exclude(frequency=Frequency.NEVER)
    rows = due.select_related("membership__user", "membership__account").order_by("membership", "pk")
    sent = sum(_mail(list(own), now) for _member, own in groupby(rows, key=lambda each: each.membership_id))
    channels = ChatChannel.unscoped.filter(account__closed_at=None).select_related("account")
    return sent + sum(_chat(channel, now) for channel in channels)


def _subscribe_new() -> None:
    """Give members the subscriptions that they lack: new members all, others those of new topics."""
    members = Membership.objects.filter(user__is_active=True).annotate(known=Count("subscriptions"))
    for membership in members.filter(known__lt=len(Topic)).order_by("pk")[:1000]:
        subscribe(membership)


def is_due(subscription: Subscription, now: datetime) -> bool:
    wait = WAITS[Frequency(subscription.frequency)]
    if subscription.topic == Topic.FAILURES:
        wait = max(wait, GATHERED)
    return now - LAG - subscription.told_until >= wait


def _mail(subscriptions: Iterable[Subscription], now: datetime) -> int:
    """Send one e-mail for all due topics of a member; returns 1 if it was sent, else 0.

    A topic without events leaves its subscription unchanged.
    """
    until, parts, membership = now - LAG, {}, None
    for subscription in subscriptions:
        if not is_due(subscription, now):
            continue
        membership, since = subscription.membership, subscription.told_until
        with translation.override(membership.user.language or settings.LANGUAGE_CODE):
            span = digest.Span(max(since, until - LONGEST), until)
            found = digest.lines(membership.account, subscription.topic, span)
        same = Subscription.unscoped.filter(pk=subscription.pk, told_until=since)
        if found and same.update(told_until=until):  # Otherwise another process sends it.
            parts[subscription.topic] = found
    if membership is None or not parts:
        return 0
    with translation.override(membership.user.language or settings.LANGUAGE_CODE):
        text = "\n\n".join(line for found in parts.values() for line in found)
        return int(mail.send(membership.user.email, digest.subject(membership.account, parts), text))


def _chat(channel: ChatChannel, now: datetime) -> int:
    until = now - LAG
    if until - channel.told_until < WAITS[Frequency.NOW]:
        return 0
    span = digest.Span(max(channel.told_until, until - LONGEST), until)
    known = [topic for topic in channel.topics if topic in Topic.values]
    found = [line for topic in known for line in digest.lines(channel.account, topic, span)]
    problem = ""
    if found:
        try:
            chat.post(channel, "\n".join(found))
        except (chat.ChatRefused, OutboundError, EncryptionError) as error:
            problem = str(error)
            logger.warning("chat channel %s: the message was not sent: %s", channel.uid, type(error).__name__)
    same = ChatChannel.unscoped.filter(pk=channel.pk, told_until=channel.told_until)
    if problem:
        same.update(problem=problem)
        return 0
    if found:
        same.update(told_until=until, problem="")
    return int(bool(found))
