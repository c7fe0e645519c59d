"""Services for notifications: the subscriptions of a member, and the account's chat channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from batches.models import ChatChannel
from batches.models.notifications import Topic
from batches.notifications import chat, sending
from speechportal.accounts.models import Account, Membership
from speechportal.encryption import EncryptionError
from speechportal.outbound import client
from speechportal.outbound.errors import OutboundError
from speechportal.outbound.policy import policy

MOST_CHANNELS = 10  # per account


def choose(*, membership: Membership, frequencies: Mapping[str, str]) -> None:
    """Set the frequency of the given topics. Earlier events are not sent afterwards."""
    with transaction.atomic():
        for subscription in sending.subscribe(membership):
            frequency = frequencies.get(subscription.topic, subscription.frequency)
            if frequency != subscription.frequency:
                subscription.frequency = frequency
                subscription.told_until = timezone.now()
                subscription.save()


def add_channel(*, account: Account, name: str, service: str, url: str, topics: Sequence[str]) -> ChatChannel:
    """Add an incoming webhook. Raises ``ValidationError`` for a URL that the outbound policy refuses."""
    if ChatChannel.objects.for_account(account).count() >= MOST_CHANNELS:
        sentence = _("An account can have at most %d chat channels.") % MOST_CHANNELS
        raise ValidationError(sentence, code="too_many_channels")
    if not topics or not set(topics) <= set(Topic.values):
        raise ValidationError({"topics": _("Choose at least one topic.")})
    try:
        client.check_endpoint(url, policy())
    except OutboundError as error:
        raise ValidationError({"url": str(error)}) from error
    channel = ChatChannel(account=account, name=name, service=service, topics=list(topics))
    channel.set_url(url)
    channel.full_clean()
    try:
        with transaction.atomic():
            channel.save()
    except IntegrityError as error:
        raise ValidationError({"name": _("The account has a chat channel of this name already.")}) from error
    return channel


def remove_channel(*, channel: ChatChannel) -> None:
    channel.delete()


def try_channel(*, channel: ChatChannel) -> None:
    """Send a test message. Raises ``ValidationError`` with the service's response."""
    try:
        chat.post(channel, _("Speech Portal can write to this channel."))
    except (chat.ChatRefused, OutboundError, EncryptionError) as error:
        text = _("The message was not taken: %s") % error
        ChatChannel.objects.for_account(channel.account).filter(pk=channel.pk).update(problem=str(error))
        raise ValidationError(text, code="channel_refused") from error
    ChatChannel.objects.for_account(channel.account).filter(pk=channel.pk).update(problem="")
