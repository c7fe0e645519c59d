"""Models: users, accounts (tenants), memberships and API tokens.

Django looks for the models of an app in this module, so models that are defined elsewhere are imported at its
end.
"""

from __future__ import annotations

import re
import zoneinfo
from contextlib import suppress
from decimal import Decimal
from typing import Any, ClassVar, Self

from django.conf import settings
from django.contrib.auth.models import AbstractUser, BaseUserManager
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Value
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from speechportal.accounts import field_defaults
from speechportal.accounts.email_addresses import normalised
from speechportal.accounts.scoping import ScopedManager
from speechportal.accounts.sign_in import notices
from speechportal.accounts.time_zones import validate_time_zone
from speechportal.accounts.tokens.scopes import validate_networks, validate_scopes
from speechportal.accounts.uids import UidField

LONGEST_RETENTION = 36_500  # days
EAST_ASIAN_NAME = re.compile("[가-힣\u3040-\u30ff\u4e00-\u9fff]+")


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        user = self.model(email=email, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        fields.setdefault("email_verified_at", timezone.now())  # created by the operator
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, email: str | None) -> User:
        return self.get(email=normalised(email or ""))


class User(AbstractUser):
    """Person who signs in with an e-mail address."""

    username = None  # type: ignore[assignment] # People sign in with their address.
    email = models.EmailField(_("e-mail address"), unique=True)
    # When a mailed link was followed. Until then the address may belong to somebody else.
    email_verified_at = models.DateTimeField(_("address verified"), null=True, editable=False)
    language = models.CharField(_("language"), max_length=8, choices=settings.LANGUAGES, blank=True)
    time_zone = models.CharField(_("time zone"), max_length=64, blank=True)
    # Columns, order and filters that the user has saved, by list: see speechportal.accounts.list_layouts.
    list_layouts = models.JSONField(default=dict, db_default=Value({}, models.JSONField()), editable=False)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects: ClassVar[UserManager] = UserManager()  # type: ignore[assignment] # AbstractUser's wants a username.

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        constraints = [
            models.UniqueConstraint(
                Lower("email"),
                name="user_email_unique",
                violation_error_message=_("A user with this e-mail address already exists."),
            )
        ]

    def __str__(self) -> str:
        return self.email

    def save(self, *args: Any, **kwargs: Any) -> None:
        # Not when the same password is only rehashed, nor for a new user.
        is_new_password = getattr(self, "_password", None) is not None and not self._state.adding
        self.email = normalised(self.email)
        super().save(*args, **kwargs)
        if is_new_password:
            second_factor.forget_unconfirmed(self.pk)
            notices.send_later(self.pk, "password_changed")

    def get_full_name(self) -> str:
        """Full name in the order of its script: the family name comes first in Hangul, Kana and Han."""
        if EAST_ASIAN_NAME.fullmatch(self.last_name.strip() + self.first_name.strip()):
            return f"{self.last_name.strip()}{self.first_name.strip()}"
        return super().get_full_name()

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """Time zone of the user, or the portal's if the user has none or an unknown one."""
        with suppress(zoneinfo.ZoneInfoNotFoundError, ValueError):
            if self.time_zone:
                return zoneinfo.ZoneInfo(self.time_zone)
        return zoneinfo.ZoneInfo(settings.TIME_ZONE)


class Account(models.Model):
    """Tenant: all data belongs to exactly one account."""

    uid = UidField("acc")
    name = models.CharField(_("name"), max_length=100)
    batch_limit = models.PositiveIntegerField(
        _("batch limit"),
        default=field_defaults.batch_limit,
        help_text=_("How many batches the account may have at once."),
    )
    price_per_file = models.DecimalField(
        _("price per file"),
        max_digits=12,
        decimal_places=4,
        default=field_defaults.price_per_file,
        validators=[MinValueValidator(Decimal(0))],
    )
    currency = models.CharField(_("currency"), max_length=3, default=field_defaults.currency)
    monthly_budget = models.DecimalField(
        _("monthly budget"),
        max_digits=12,
        decimal_places=2,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
        help_text=_(
            "Charges of a calendar month never exceed it: its batches wait once it is reached."
            " Leave it empty for no budget."
        ),
    )
    time_zone = models.CharField(
        _("time zone"),
        max_length=64,
        default=field_defaults.time_zone,
        help_text=_("Months of usage and of the budget begin at midnight there."),
    )
    # Month and threshold of the last budget alert, such as "2026-11:080".
    budget_alerted = models.CharField(max_length=12, blank=True, editable=False)
    budget_alerted_at = models.DateTimeField(null=True, editable=False)
    # Set by support staff: the account's batches are no longer polled and its tasks no longer started.
    suspended_at = models.DateTimeField(_("suspended"), null=True, blank=True, editable=False)
    # Until then support staff may read its transcripts; each access is recorded in the audit trail.
    support_reads_until = models.DateTimeField(
        _("support may read transcripts until"), null=True, blank=True, editable=False
    )
    transcript_days = models.PositiveIntegerField(
        _("days to keep transcripts"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_RETENTION)],
        help_text=_("Counted from the end of each task. Leave it empty to keep them."),
    )
    log_days = models.PositiveIntegerField(
        _("days to keep logs"),
        null=True,
        blank=True,
        validators=[MinValueValidator(30), MaxValueValidator(LONGEST_RETENTION)],
        help_text=_("Of activity and deliveries, at least 30. Leave it empty to keep them."),
    )
    single_sign_on_only = models.BooleanField(
        _("company sign-in only"),
        default=False,
        help_text=_("Members open this account only after signing in with their company's account."),
    )
    two_factor_required = models.BooleanField(
        _("two-factor sign-in required"),
        default=False,
        db_default=False,
        help_text=_(
            "Members without a second factor, and their API tokens, can do nothing in this account until they"
            " have set one up. Those who are missing get a mail."
        ),
    )
    # Its data was deleted; the row stays for the ledger.
    closed_at = models.DateTimeField(_("closed"), null=True, blank=True, editable=False)
    members = models.ManyToManyField(User, through="Membership", related_name="accounts")
    # When a worker last claimed one of its tasks; fair scheduling prefers the longest wait.
    last_claimed_at = models.DateTimeField(null=True, blank=True, editable=False)
    # Its fair-scheduling tokens are used up until then; see batches/tasks/scheduling.py.
    turns_used_until = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("account")
        verbose_name_plural = _("accounts")
        ordering = ["name", "pk"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(price_per_file__gte=0),
                name="account_price_not_negative",
                violation_error_message=_("The price per file cannot be negative."),
            ),
            models.CheckConstraint(
                condition=models.Q(monthly_budget__isnull=True) | models.Q(monthly_budget__gte=0),
                name="account_budget_not_negative",
                violation_error_message=_("The monthly budget cannot be negative."),
            ),
        ]
        permissions = [
            ("change_limits", "Can change an account's limits"),
            ("change_price", "Can change an account's price and budget, and correct charges"),
            ("suspend_account", "Can suspend and restore an account"),
            ("operate_batches", "Can poll, retry, cancel and redeliver for an account"),
            ("rotate_secrets", "Can rotate an account's secrets"),
            ("erase_account", "Can export and delete an account's or a person's data"),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Validate the time zone here, since migrations would refer to a validator of the field."""
        super().clean()
        try:
            validate_time_zone(self.time_zone)
        except ValidationError as error:
            raise ValidationError({"time_zone": error}) from error

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """Time zone of the account, or the portal's if a system update has removed it."""
        with suppress(zoneinfo.ZoneInfoNotFoundError, ValueError):
            return zoneinfo.ZoneInfo(self.time_zone)
        return zoneinfo.ZoneInfo(settings.TIME_ZONE)

    @property
    def support_may_read(self) -> bool:
        """Whether support staff may currently read its transcripts."""
        return self.support_reads_until is not None and self.support_reads_until > timezone.now()

    @property
    def is_suspended(self) -> bool:
        return self.suspended_at is not None


class Membership(models.Model):
    """Role of a user in an account."""

    class Role(models.TextChoices):
        OWNER = "owner", _("Owner")
        MANAGER = "manager", _("Manager")
        VIEWER = "viewer", _("Viewer")

    account = models.ForeignKey(
        Account, verbose_name=_("account"), on_delete=models.CASCADE, related_name="memberships"
    )
    user = models.ForeignKey(
        User, verbose_name=_("user"), on_delete=models.CASCADE, related_name="memberships"
    )
    role = models.CharField(_("role"), max_length=10, choices=Role.choices, default=Role.VIEWER)
    breaks_glass = models.BooleanField(
        _("break-glass"),
        default=False,
        db_default=False,
        help_text=_("An owner who opens the account with a password even if it takes only company sign-in."),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("member")
        verbose_name_plural = _("members")
        ordering = ["account__name", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "user"],
                name="membership_unique",
                violation_error_message=_("This user is already a member of the account."),
            )
        ]

    def __str__(self) -> str:
        return f"{self.user} ({self.get_role_display()})"

    @property
    def can_change(self) -> bool:
        """Whether the role may change data: owners and managers may, viewers only read."""
        return self.role in {self.Role.OWNER, self.Role.MANAGER}


class ApiToken(models.Model):
    """API token, sent by programs as ``Authorization: Bearer spk_…``.

    It belongs to the account and acts for the member who made it: with that member's present role, within
    its own scopes. Only ``key``, its public part, and an HMAC of the token are stored
    (:mod:`speechportal.accounts.tokens.api_tokens`).
    """

    uid = UidField("tok")
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="api_tokens")
    created_by = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(
        _("name"), max_length=100, help_text=_("What uses it, so that you know it again.")
    )
    key = models.CharField(max_length=16, unique=True, editable=False)
    digest = models.CharField(max_length=64, editable=False)  # HMAC-SHA256 of the token, in hex
    pepper = models.CharField(max_length=16, editable=False)  # which of API_TOKEN_PEPPERS made the digest
    scopes = models.JSONField(_("scopes"))
    allowed_addresses = models.JSONField(_("allowed addresses"), default=list, blank=True)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)
    # Requests in the current minute, for the rate limit.
    minute_started_at = models.DateTimeField(null=True, editable=False)
    minute_requests = models.PositiveIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager()

    class Meta:
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")
        ordering = ["-pk"]
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Validate the two lists here, since migrations would refer to validators of the fields."""
        super().clean()
        errors: dict[str, ValidationError] = {}
        for name, value, check in (
            ("scopes", self.scopes, validate_scopes),
            ("allowed_addresses", self.allowed_addresses, validate_networks),
        ):
            try:
                if value:  # The field itself checks whether it may be empty.
                    check(value)
            except ValidationError as error:
                errors[name] = error
        if errors:
            raise ValidationError(errors)

    @property
    def start(self) -> str:
        """Public beginning of the token, for display."""
        return f"spk_{self.key}…"

    @property
    def is_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def is_active(self) -> bool:
        return self.revoked_at is None and not self.is_expired


# Tables of this app that have a module of their own.
from speechportal.accounts.audit.trail import AuditEntry  # noqa: E402 - Django looks for models in this module
from speechportal.accounts.members.invitations import Invitation  # noqa: E402 - likewise
from speechportal.accounts.sign_in import second_factor  # noqa: E402 - likewise
from speechportal.accounts.sign_in.passkeys import Passkey  # noqa: E402 - likewise
from speechportal.accounts.sign_in.recovery_codes import RecoveryCode  # noqa: E402 - likewise
from speechportal.accounts.sign_in.second_factor import AuthenticatorApp  # noqa: E402 - likewise
from speechportal.accounts.sign_in.sessions import MemberSession  # noqa: E402 - likewise
from speechportal.accounts.sign_in.throttling import SignInFailures  # noqa: E402 - likewise
from speechportal.accounts.single_sign_on.account_providers import AccountProvider  # noqa: E402 - likewise
from speechportal.accounts.single_sign_on.identities import ExternalIdentity  # noqa: E402 - likewise

__all__ = [
    "Account",
    "AccountProvider",
    "ApiToken",
    "AuditEntry",
    "AuthenticatorApp",
    "ExternalIdentity",
    "Invitation",
    "MemberSession",
    "Membership",
    "Passkey",
    "RecoveryCode",
    "SignInFailures",
    "User",
]
