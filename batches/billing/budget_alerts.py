"""Budget alerts: the steps of 50, 80 and 100 per cent of a month's budget that an account has passed."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone
from django.utils.translation import gettext as _

from batches.billing import budget, usage
from speechportal.accounts import addresses
from speechportal.accounts.models import Account


def note_steps() -> int:
    """Store the step of each account that has passed one since the last; returns how many have.

    The step is stored by a conditional update that one caller wins. Notifications read it by its time
    (:mod:`batches.notifications.digest`), so that each member and channel is sent it once.
    """
    noted = 0
    for account in Account.objects.filter(monthly_budget__isnull=False).order_by("pk"):
        state = usage.budget_state(account)
        if state is None or not state.reached:
            continue
        mark = _mark(budget.month_start(timezone.now(), account.zone), state.reached)
        if account.budget_alerted >= mark:
            continue
        noted += Account.objects.filter(pk=account.pk, budget_alerted=account.budget_alerted).update(
            budget_alerted=mark, budget_alerted_at=timezone.now()
        )
    return noted


def _mark(month: datetime, threshold: int) -> str:
    """Format a threshold as ``2026-11:080``, so that later months and higher thresholds sort last."""
    return f"{month:%Y-%m}:{threshold:03}"


def message(account: Account) -> tuple[str, str]:
    """Subject and text about the account's budget as it is now; both empty if no step is reached any more."""
    state = usage.budget_state(account)
    if state is None or not state.reached:
        return "", ""
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
        text += " " + _(
            "Batches wait until next month (it begins at midnight, %(zone)s), or until it is raised."
        ) % {"zone": account.zone.key}
    return subject, f"{text} {addresses.link(account.uid, 'usage:list')}"
