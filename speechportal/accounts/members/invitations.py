"""Invitations to an account: a link that works once, for one e-mail address, for a week."""

from __future__ import annotations

import hashlib
import secrets
from typing import ClassVar, Self

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from speechportal.accounts import field_defaults
from speechportal.accounts.email_addresses import normalised
from speechportal.accounts.models import Account, Membership, User
from speechportal.accounts.scoping import ScopedManager
from speechportal.accounts.uids import UidField
from speechportal.platform import mail


class Invitation(models.Model):
    """Invitation of an e-mail address to an account. Only a digest of the link's token is stored."""

    uid = UidField("inv")
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField(_("e-mail address"))
    role = models.CharField(
        _("role"), max_length=10, choices=Membership.Role.choices, default=Membership.Role.VIEWER
    )
    digest = models.CharField(max_length=64, unique=True, editable=False)
    invited_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    expires_at = models.DateTimeField(_("expires"), default=field_defaults.in_a_week)
    accepted_at = models.DateTimeField(_("accepted"), null=True, editable=False)
    # Only a link that was sent to the address alone verifies the address.
    mailed_at = models.DateTimeField(_("mailed"), null=True, editable=False)

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager()

    class Meta:
        verbose_name = _("invitation")
        verbose_name_plural = _("invitations")
        ordering = ["-pk"]
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(
                fields=["account", "email"],
                condition=models.Q(accepted_at__isnull=True),
                name="invitation_open_unique",
                violation_error_message=_("This address is invited already: withdraw that invitation first."),
            )
        ]

    def __str__(self) -> str:
        return self.email

    @property
    def is_open(self) -> bool:
        return self.accepted_at is None and self.expires_at > timezone.now()


def invite(*, account: Account, email: str, role: str, by: User) -> tuple[Invitation, str]:
    """Create an invitation; returns it with its token, which is not stored. Raises ``ValidationError``.

    Replaces an expired invitation of the same address.
    """
    email = normalised(email)
    if Membership.objects.filter(account=account, user__email=email).exists():
        raise ValidationError({"email": gettext("This person is a member already.")}, code="member")
    token = secrets.token_urlsafe(24)
    invitation = Invitation(account=account, email=email, role=role, digest=_digest(token), invited_by=by)
    with transaction.atomic():
        Invitation.unscoped.filter(
            account=account, email=email, accepted_at=None, expires_at__lte=timezone.now()
        ).delete()
        if Invitation.unscoped.filter(account=account, email=email, accepted_at=None).exists():
            sentence = gettext("This address is invited already: withdraw that invitation first.")
            raise ValidationError(sentence, code="invited_already")
        invitation.full_clean()
        invitation.save()
    return invitation, token


def send(invitation: Invitation, address: str) -> bool:
    """Mail the link; ``False`` if the portal cannot send mail and the link has to be passed on by hand.

    A mailed link is shown to nobody else, so following it verifies the address.
    """
    account = invitation.account.name
    text = gettext(
        "%(who)s invites you to the account “%(account)s” of Speech Portal:\n\n%(address)s\n\n"
        "The link works once, until %(until)s."
    ) % {
        "who": invitation.invited_by or account,
        "account": account,
        "address": address,
        "until": timezone.localtime(invitation.expires_at).strftime("%Y-%m-%d %H:%M %Z"),
    }
    subject = gettext("Invitation to “%s”") % account
    if not mail.send(invitation.email, subject, text):
        return False
    invitation.mailed_at = timezone.now()
    Invitation.unscoped.filter(pk=invitation.pk).update(mailed_at=invitation.mailed_at)
    return True


def is_mailed() -> bool:
    """Whether links are mailed, and therefore not shown."""
    return mail.is_set_up()


def find(token: str) -> Invitation | None:
    """Return the open invitation of a link, if any."""
    found = Invitation.unscoped.filter(digest=_digest(token)).select_related("account", "invited_by").first()
    return found if found is not None and found.is_open else None


def accept(*, invitation: Invitation, user: User) -> Membership:
    """Make ``user`` a member. Raises ``ValidationError`` for anybody but the invited person."""
    if user.email != invitation.email:
        raise ValidationError(gettext("This invitation is for %s.") % invitation.email, code="other_person")
    if invitation.account.is_suspended:
        raise ValidationError(gettext("The account is suspended. Try again later."), code="suspended")
    with transaction.atomic():
        taken = Invitation.unscoped.filter(
            pk=invitation.pk, accepted_at=None, expires_at__gt=timezone.now()
        ).update(accepted_at=timezone.now())
        if not taken:
            raise ValidationError(gettext("The invitation was withdrawn or has expired."), code="closed")
        if invitation.mailed_at is not None:
            User.objects.filter(pk=user.pk, email_verified_at=None).update(email_verified_at=timezone.now())
        membership, _created = Membership.objects.get_or_create(
            account=invitation.account, user=user, defaults={"role": invitation.role}
        )
    return membership


def _digest(token: str) -> str:
    # A token of 192 random bits needs no slow hash.
    return hashlib.sha256(token.encode()).hexdigest()
