"""What this app adds to an account's page: its batches and tasks, suspending and restoring."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from batches import budget, services
from batches.models import Batch, Charge, Task
from speechportal.accounts.admin import account as account_page
from speechportal.accounts.models import Account
from speechportal.support.actions import Action
from speechportal.support.admin import link_to_list
from speechportal.support.lists import bounded_count


class Suspend(Action):
    name, label = "suspend", _("Suspend")
    description = _("Nothing of the account is polled or started any more. What is in progress ends.")
    permission = "accounts.suspend_account"
    dangerous = True

    def applies_to(self, row: Account) -> bool:
        return not row.is_suspended

    def perform(self, row: Account, answers: dict[str, Any]) -> str:
        services.suspend_account(account=row)
        return _now("The account is suspended.")


class Restore(Action):
    name, label = "restore", _("Restore")
    description = _("The account’s batches go on.")
    permission = "accounts.suspend_account"

    def applies_to(self, row: Account) -> bool:
        return row.is_suspended and row.closed_at is None

    def perform(self, row: Account, answers: dict[str, Any]) -> str:
        if row.closed_at is not None:
            raise ValidationError(_("The account is closed: its data was deleted."))
        services.reinstate_account(account=row)
        return _now("The account works again.")


def glance(account: Account) -> list[tuple[Any, Any]]:
    tasks = Task.unscoped.filter(account=account)
    live = Batch.unscoped.live().filter(account=account)
    waiting, exact = bounded_count(tasks.filter(state=Task.State.WAITING))
    running = tasks.filter(state__in=Task.LEASED).count()
    spent = budget.spent(account)
    return [
        (_("Batches"), link_to_list(Batch, f"{live.count()} / {account.batch_limit}", account=account.uid)),
        (_("In Error"), live.filter(status=Batch.Status.ERROR).count()),
        (_("Waiting"), link_to_list(Task, shown(waiting, exact), account=account.uid, state="waiting")),
        (_("In progress"), link_to_list(Task, running, account=account.uid, state="in_progress")),
        (_("This month"), link_to_list(Charge, f"{spent:.2f} {account.currency}", account=account.uid)),
    ]


def shown(count: int, exact: bool) -> str:
    return f"{count:,}" if exact else f"{count:,}+"


def batch_cell(account: Account) -> str:
    count = Batch.unscoped.live().filter(account=account).count()
    return link_to_list(Batch, count, account=account.uid)


account_page.AccountAdmin.portal_actions.extend([Suspend, Restore])
account_page.glances.append(glance)
account_page.batch_cell = batch_cell
