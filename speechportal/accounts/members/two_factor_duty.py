"""Two-factor requirement of an account: members need a second factor before they may do anything in it.

As in a GitHub organisation, a member without one is redirected to set one up, and their API tokens for the
account are refused until then. A member without a password meets the requirement by company sign-in: the
second factor is then the provider's responsibility.
"""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.db.models import BooleanField, Case, Exists, OuterRef, Q, QuerySet, Value, When
from django.http import HttpRequest
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _

from speechportal.accounts.models import Account, AuthenticatorApp, Membership, Passkey, User
from speechportal.accounts.sign_in import second_factor
from speechportal.platform import mail
from speechportal.platform.queue import enqueue

SEND = "speechportal.accounts.members.two_factor_duty.send"


def fulfils(user: User) -> bool:
    """Whether the user meets the requirement: has a second factor, or no password."""
    return not user.has_usable_password() or second_factor.is_set_up(user.pk)


def is_neglected(request: HttpRequest, membership: Membership) -> bool:
    """Whether the account requires a second factor that the requesting member has not set up."""
    if not membership.account.two_factor_required:
        return False
    assert isinstance(request.user, User)  # noqa: S101 - a member's request
    return request.user.has_usable_password() and not second_factor.is_set_up_by_sender(request)


def with_state(memberships: QuerySet[Membership]) -> QuerySet[Membership]:
    """Annotate ``has_second_factor``: whether the member meets the requirement."""
    return memberships.annotate(
        has_second_factor=Case(
            When(_fulfilled(), then=Value(value=True)),
            default=Value(value=False),
            output_field=BooleanField(),
        )
    )


def _fulfilled() -> Q:
    """Condition on memberships: the user has a second factor, or no password."""
    app = AuthenticatorApp.objects.filter(user=OuterRef("user"), confirmed_at__isnull=False)
    passkey = Passkey.objects.filter(user=OuterRef("user"))
    return Q(Exists(app) | Exists(passkey)) | Q(user__password__startswith=UNUSABLE_PASSWORD_PREFIX)


def missing(account: Account) -> QuerySet[Membership]:
    """Members who have yet to set up a second factor."""
    members = Membership.objects.filter(account=account, user__is_active=True).exclude(_fulfilled())
    return members.select_related("user").order_by("pk")


def notify_missing(account: Account) -> None:
    """Queue a mail to each member without a second factor: the account now requires one."""
    if mail.is_set_up():
        for membership in missing(account):
            enqueue(SEND, membership.pk)


def send(membership_id: int) -> None:
    """Mail the requirement to one member. Run by the queue."""
    found = Membership.objects.select_related("user", "account").filter(pk=membership_id).first()
    if found is None or not found.account.two_factor_required or fulfils(found.user):
        return
    user = found.user
    with translation.override(user.language or settings.LANGUAGE_CODE):
        text = _(
            "The account “%(account)s” of Speech Portal asks its members for two-factor sign-in. Until you"
            " have set it up, you and your API tokens can do nothing in that account:\n\n%(link)s"
        ) % {"account": found.account.name, "link": settings.PUBLIC_URL + reverse("security")}
        mail.send(user.email, _("“%s” asks for two-factor sign-in") % found.account.name, text)
