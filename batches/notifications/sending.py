"""Sending of notifications: finds who is due, and tells each what happened since they were told last.

1. Members: ``told_until`` moves by a conditional update before the mail is sent, so that two schedulers send
   it once; a mail that cannot be sent is not sent later.
2. Chat channels: ``told_until`` moves once the service has taken the message; until then the next run tries
   again, for a day at most.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import groupby

from django.conf import settings
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

# A transaction that wrote a time may commit a little later: what is younger than this is told next time.
LAG = timedelta(minutes=1)
WAITS = {
    Frequency.NOW: timedelta(minutes=1),
    Frequency.HOURLY: timedelta(hours=1),
    Frequency.DAILY: timedelta(days=1),
}
# Failures come in swarms: even those who want to know at once get one mail for a few minutes of them.
GATHERED = timedelta(minutes=5)
LONGEST = timedelta(days=1)

DEFAULTS = {
    Membership.Role.OWNER: {Topic.STATUS: Frequency.NOW, Topic.FAILURES: Frequency.DAILY},
    Membership.Role.MANAGER: {Topic.STATUS: Frequency.NOW, Topic.FAILURES: Frequency.HOURLY},
    Membership.Role.VIEWER: {},
}


def subscribe(membership: Membership) -> list[Subscription]:
    """The member's subscriptions, one for each topic; those that are missing are made by their role."""
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
    """Tell everybody who is due; returns how many mails and messages were sent."""
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
    for membership in Membership.objects.filter(subscriptions=None, user__is_active=True)[:1000]:
        subscribe(membership)


def is_due(subscription: Subscription, now: datetime) -> bool:
    wait = WAITS[Frequency(subscription.frequency)]
    if subscription.topic == Topic.FAILURES:
        wait = max(wait, GATHERED)
    return now - LAG - subscription.told_until >= wait


def _mail(subscriptions: Iterable[Subscription], now: datetime) -> int:
    """One mail for all due topics of one member. Where nothing happened, nothing is written either."""
    until, parts, membership = now - LAG, {}, None
    for subscription in subscriptions:
        if not is_due(subscription, now):
            continue
        membership, since = subscription.membership, subscription.told_until
        with translation.override(membership.user.language or settings.LANGUAGE_CODE):
            span = digest.Span(max(since, until - LONGEST), until)
            found = digest.lines(membership.account, subscription.topic, span)
        same = Subscription.unscoped.filter(pk=subscription.pk, told_until=since)
        if found and same.update(told_until=until):  # Otherwise another process tells it.
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
            logger.warning("chat channel %s was not told: %s", channel.uid, type(error).__name__)
    same = ChatChannel.unscoped.filter(pk=channel.pk, told_until=channel.told_until)
    if problem:
        same.update(problem=problem)
        return 0
    if found:
        same.update(told_until=until, problem="")
    return int(bool(found))
