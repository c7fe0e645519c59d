"""Budget alerts: one mail to an account's owners at 50, 80 and 100 per cent of a month's budget."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from batches.billing import budget, usage
from speechportal.accounts import addresses
from speechportal.accounts.models import Account, Membership
from speechportal.platform import mail


def notify() -> int:
    """Send the alerts of accounts that have passed a threshold since their last alert; returns how many.

    The threshold is stored first, by a conditional update that one caller wins, so no alert is sent twice. A
    mail that cannot be sent is not tried again; the usage page shows the same at any time.
    """
    mailed = 0
    for account in Account.objects.filter(monthly_budget__isnull=False).order_by("pk"):
        state = usage.budget_state(account)
        if state is None or not state.reached:
            continue
        mark = _mark(budget.month_start(timezone.now(), account.zone), state.reached)
        if account.budget_alerted >= mark:
            continue
        won = Account.objects.filter(pk=account.pk, budget_alerted=account.budget_alerted).update(
            budget_alerted=mark
        )
        if won:
            _mail(account, state)
            mailed += 1
    return mailed


def _mark(month: datetime, threshold: int) -> str:
    """Format a threshold as ``2026-11:080``, so that later months and higher thresholds sort last."""
    return f"{month:%Y-%m}:{threshold:03}"


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
        text += "\n" + _(
            "Batches wait until next month (it begins at midnight, %(zone)s), or until it is raised."
        ) % {"zone": account.zone.key}
    return subject, f"{text}\n\n{addresses.link(account.uid, 'usage:list')}"
