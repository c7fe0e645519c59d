"""Telling the owners of an account once when half, four fifths and all of a month's budget are used."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from batches.billing import budget, usage
from speechportal.accounts.models import Account, Membership
from speechportal.platform import mail


def notify() -> int:
    """Find the accounts that have reached a threshold since they were last told, and tell their owners.

    What was told is noted first, by an update that only one of two callers wins: nobody is told twice,
    though a mail that cannot be sent is not sent later. The pages say the same at any time.
    """
    told = 0
    for account in Account.objects.filter(monthly_budget__isnull=False).order_by("pk"):
        state = usage.budget_state(account)
        if state is None or not state.reached:
            continue
        mark = _mark(timezone.now(), state.reached)
        if account.budget_told >= mark:
            continue
        won = Account.objects.filter(pk=account.pk, budget_told=account.budget_told).update(budget_told=mark)
        if won:
            _mail(account, state)
            told += 1
    return told


def _mark(now: datetime, threshold: int) -> str:
    """``2026-11:080``: later months and higher thresholds sort behind."""
    return f"{budget.month_start(now):%Y-%m}:{threshold:03}"


def _mail(account: Account, state: usage.BudgetState) -> None:
    owners = Membership.objects.filter(account=account, role=Membership.Role.OWNER, user__is_active=True)
    for membership in owners.select_related("user"):
        with translation.override(membership.user.language or settings.LANGUAGE_CODE):
            subject, text = _message(account, state)
            mail.send(membership.user.email, subject, text)


def _message(account: Account, state: usage.BudgetState) -> tuple[str, str]:
    subject = _("%(percent)d %% of the budget of “%(account)s” is used") % {
        "percent": state.reached,
        "account": account.name,
    }
    text = _("%(spent)s %(currency)s of %(limit)s %(currency)s are used this month.") % {
        "spent": state.spent.normalize(),
        "limit": state.limit,
        "currency": account.currency,
    }
    if state.is_used_up:
        text += "\n" + _("Batches wait until next month (it begins at midnight UTC), or until it is raised.")
    return subject, f"{text}\n\n{settings.PUBLIC_URL}/usage/"
