"""Notifications of an account by mail and chat: subscriptions, channels, and the events already sent."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from batches.models.batch import Batch
from speechportal.accounts.models import Account, Membership
from speechportal.accounts.scoping import ScopedManager
from speechportal.accounts.uids import UidField
from speechportal.encryption import EncryptedCredentials, rotate

URL_FIELD = "url"


class Topic(models.TextChoices):
    STATUS = "status", _("A batch turns to Error, or back to Normal")
    FAILURES = "failures", _("Files fail")
    FINISHED = "finished", _("A batch has recognised all files that it found")
    BUDGET = "budget", _("Half, four fifths or all of the monthly budget is used")


class BatchEvent(models.Model):
    """Change of a batch's status. ``code`` is empty for a change to Normal."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="events", db_index=False)
    code = models.CharField(_("error code"), max_length=50, blank=True)
    cause = models.TextField(_("cause"), blank=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager()

    class Meta:
        verbose_name = _("status event")
        verbose_name_plural = _("status events")
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        indexes = [models.Index(fields=["account", "created_at"], name="batch_event_of_account")]

    def __str__(self) -> str:
        return f"{self.batch} {self.code or 'normal'}"


class Subscription(models.Model):
    """Mail subscription of a member to one topic of one account, with its frequency."""

    class Frequency(models.TextChoices):
        NOW = "now", _("At once")
        HOURLY = "hourly", _("Every hour")
        DAILY = "daily", _("Every day")
        NEVER = "never", _("Never")

    membership = models.ForeignKey(Membership, on_delete=models.CASCADE, related_name="subscriptions")
    topic = models.CharField(_("topic"), max_length=10, choices=Topic.choices)
    frequency = models.CharField(_("frequency"), max_length=10, choices=Frequency.choices)
    # Events until then were sent. Set by a conditional update before the mail is sent: at most once.
    told_until = models.DateTimeField(default=timezone.now)

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager("membership__account")

    class Meta:
        verbose_name = _("notification")
        verbose_name_plural = _("notifications")
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(fields=["membership", "topic"], name="subscription_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.get_topic_display()}: {self.get_frequency_display()}"


class ChatChannel(models.Model):
    """Incoming webhook of a chat service, which receives the account's topics, grouped by the minute."""

    class Service(models.TextChoices):
        SLACK = "slack", "Slack"
        TEAMS = "teams", "Microsoft Teams"
        DISCORD = "discord", "Discord"

    uid = UidField("chn")
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="chat_channels")
    name = models.CharField(_("name"), max_length=100)
    service = models.CharField(_("service"), max_length=10, choices=Service.choices)
    encrypted_url = models.TextField(editable=False)  # The URL is a secret.
    topics = models.JSONField(_("topics"), default=list)
    told_until = models.DateTimeField(default=timezone.now, editable=False)
    problem = models.TextField(_("last problem"), blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager()

    class Meta:
        verbose_name = _("chat channel")
        verbose_name_plural = _("chat channels")
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(
                fields=["account", "name"],
                name="chat_channel_name_unique",
                violation_error_message=_("The account has a chat channel of this name already."),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def set_url(self, url: str) -> None:
        self.encrypted_url = self._credentials().encrypt(url)

    def url(self) -> str:
        """Decrypt the URL. Raises ``EncryptionError`` if no key fits."""
        return self._credentials().decrypt(self.encrypted_url)

    def _credentials(self) -> EncryptedCredentials:
        return EncryptedCredentials(self.account.uid, self.uid, URL_FIELD)


def rotate_channel_urls() -> int:
    """Re-encrypt the URL of every chat channel with the first of ``ENCRYPTION_KEYS``; returns how many."""
    rotated = 0
    for pk, old in ChatChannel.unscoped.values_list("pk", "encrypted_url").iterator(200):
        rotated += ChatChannel.unscoped.filter(pk=pk, encrypted_url=old).update(encrypted_url=rotate(old))
    return rotated
