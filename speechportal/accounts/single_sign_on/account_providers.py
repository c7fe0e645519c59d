"""`AccountProvider`: the OpenID provider of one account, configured by its owners.

The owners control the provider, so it must give access to their own account only:

- a session that it begins has access to this account alone, and not to the user's security pages;
- it signs in only users that are linked to it. A link needs the user's consent while signed in, or a verified
  e-mail address in a domain that support staff have confirmed to be the company's;
- it creates users in confirmed domains only, and never signs in support staff.
"""

from __future__ import annotations

import re
from typing import ClassVar, Self

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils.translation import gettext_lazy as _

from speechportal.accounts.scoping import ScopedManager
from speechportal.accounts.single_sign_on.configuration import GroupRule, Provider
from speechportal.accounts.uids import UidField
from speechportal.encryption import EncryptedCredentials, rotate

DOMAIN = re.compile(r"(?=.{1,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")
MOST_RULES, MOST_DOMAINS = 200, 50


class AccountProvider(models.Model):
    """OpenID provider of an account. ``domains`` and ``confirmed_domains`` are separated by spaces."""

    uid = UidField("idp")
    account = models.OneToOneField("accounts.Account", on_delete=models.CASCADE, related_name="provider")
    issuer = models.CharField(
        _("issuer"),
        max_length=500,
        help_text=_("Address of the provider, as its discovery document names it."),
    )
    client_id = models.CharField(_("client ID"), max_length=255)
    encrypted_secret = models.TextField(blank=True, editable=False)
    label = models.CharField(
        _("button"),
        max_length=60,
        blank=True,
        help_text=_("Text of the button, such as “Sign in with Hanbit”."),
    )
    scopes = models.CharField(
        _("scopes"),
        max_length=200,
        default="openid email profile",
        help_text=_("With offline_access the provider gives a refresh token."),
    )
    groups_claim = models.CharField(_("groups claim"), max_length=100, default="groups")
    rules = models.JSONField(_("roles of groups"), default=list, blank=True)  # [[group, role], …]
    trusts_addresses = models.BooleanField(
        _("trust addresses"),
        default=False,
        help_text=_("Take addresses for verified where the provider does not say whether they are."),
    )
    domains = models.CharField(_("e-mail domains"), max_length=2000, blank=True)
    confirmed_domains = models.CharField(_("confirmed domains"), max_length=2000, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager()

    class Meta:
        verbose_name = _("company sign-in")
        verbose_name_plural = _("company sign-ins")
        ordering = ["-pk"]
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"

    def __str__(self) -> str:
        return self.issuer

    @property
    def secret(self) -> str:
        return _credentials(self).decrypt(self.encrypted_secret) if self.encrypted_secret else ""

    @property
    def proven_domains(self) -> frozenset[str]:
        """E-mail domains that the owners have entered and support staff have confirmed."""
        return frozenset(self.domains.split()) & frozenset(self.confirmed_domains.split())

    def provider(self) -> Provider:
        return Provider(
            issuer=self.issuer.rstrip("/"),
            client_id=self.client_id,
            client_secret=self.secret,
            label=self.label,
            scopes=self.scopes,
            groups_claim=self.groups_claim,
            rules=tuple(GroupRule(group, self.account.uid, role) for group, role in self.rules),
            trusts_addresses=self.trusts_addresses,
            account=self.account.uid,
            domains=self.proven_domains,
        )


def of_account(uid: str) -> Provider | None:
    """The provider of an account, by the account's ID."""
    found = AccountProvider.unscoped.select_related("account").filter(
        account__uid=uid, account__closed_at=None
    )
    row = found.first()
    return None if row is None else row.provider()


def exist() -> bool:
    """Whether any account has its own provider: the sign-in page then links to the page that finds it."""
    return AccountProvider.unscoped.exists()


def account_of_address(email: str) -> str | None:
    """ID of the account whose provider has the confirmed domain of an e-mail address."""
    domain = email.rpartition("@")[2].lower()
    if not DOMAIN.fullmatch(domain):
        return None
    for row in AccountProvider.unscoped.select_related("account").filter(confirmed_domains__contains=domain):
        if domain in row.proven_domains:
            return str(row.account.uid)
    return None


def save(row: AccountProvider, *, secret: str) -> AccountProvider:
    """Validate and save a provider. Raises ``ValidationError``.

    An empty ``secret`` keeps the present one, which is refused when the issuer or the client ID changes.
    """
    with transaction.atomic():
        before = AccountProvider.unscoped.filter(pk=row.pk).first() if row.pk else None
        moved = before is not None and (before.issuer, before.client_id) != (row.issuer, row.client_id)
        if moved and not secret and before is not None and before.encrypted_secret:
            raise ValidationError(
                {"secret": ValidationError(_("Enter the secret of the new provider."), code="secret_needed")}
            )
        row.full_clean()
        if secret:
            row.encrypted_secret = _credentials(row).encrypt(secret)
        row.save()
    return row


def confirm_domains(row: AccountProvider) -> list[str]:
    """Confirm, as support staff, that the entered domains are the company's. Raises ``ValidationError``."""
    named = set(row.domains.split())
    for other in AccountProvider.unscoped.exclude(pk=row.pk):
        if both := named & other.proven_domains:
            raise ValidationError(
                _("%(domain)s belongs to another account."), code="taken", params={"domain": min(both)}
            )
    row.confirmed_domains = " ".join(sorted(named))
    row.save(update_fields=["confirmed_domains"])
    return sorted(named)


def rotate_encryption() -> int:
    """Re-encrypt every secret with the first of ``ENCRYPTION_KEYS``; returns the number of secrets."""
    rotated = 0
    for row in AccountProvider.unscoped.exclude(encrypted_secret="").iterator(chunk_size=200):
        same = AccountProvider.unscoped.filter(pk=row.pk, encrypted_secret=row.encrypted_secret)
        rotated += same.update(encrypted_secret=rotate(row.encrypted_secret))
    return rotated


def _credentials(row: AccountProvider) -> EncryptedCredentials:
    return EncryptedCredentials(account=row.account.uid, row=row.uid, field="client_secret")
