"""Additions to an account's page: its batches and tasks, and actions that suspend, export and close it."""

from __future__ import annotations

import tempfile
from typing import Any

from django.core.exceptions import ValidationError
from django.http import FileResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from batches.billing import budget
from batches.models import Batch, Charge, Task
from batches.operations.privacy.erasure import close_account, erase_person
from batches.operations.privacy.export import export_account
from batches.services import batches as batch_services
from speechportal.accounts.admin import account as account_page
from speechportal.accounts.admin import people as people_page
from speechportal.accounts.models import Account, User
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
        batch_services.suspend_account(account=row)
        return gettext("The account is suspended.")


class Restore(Action):
    name, label = "restore", _("Restore")
    description = _("The account’s batches go on.")
    permission = "accounts.suspend_account"

    def applies_to(self, row: Account) -> bool:
        return row.is_suspended and row.closed_at is None

    def perform(self, row: Account, answers: dict[str, Any]) -> str:
        if row.closed_at is not None:
            raise ValidationError(_("The account is closed: its data was deleted."))
        batch_services.reinstate_account(account=row)
        return gettext("The account works again.")


class Export(Action):
    name, label = "export", _("Export data")
    description = _(
        "A ZIP file of all that the portal has of the account, without secrets; what was said is in it only"
        " while an owner of the account lets support staff read transcripts."
    )
    permission = "accounts.erase_account"
    for_many = False

    def respond(self, row: Account, answers: dict[str, Any]) -> HttpResponseBase | None:
        if is_large(row):
            return None
        file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the response
        export_account(account=row, target=file, transcripts=row.support_may_read)
        file.seek(0)
        return FileResponse(file, as_attachment=True, filename=f"{row.uid}.zip")

    def perform(self, row: Account, answers: dict[str, Any]) -> str:
        raise ValidationError(_("It has too much for a page: run `manage.py export_account`."), code="large")


class Close(Action):
    name, label = "close", _("Close and delete data")
    description = _(
        "Deletes all that the portal has of the account but its books. Files in its storage stay. This cannot"
        " be undone: export the data first."
    )
    permission = "accounts.erase_account"
    dangerous = True
    for_many = False

    def applies_to(self, row: Account) -> bool:
        return row.closed_at is None

    def perform(self, row: Account, answers: dict[str, Any]) -> str:
        if is_large(row):
            raise ValidationError(
                _("It has too much for a page: run `manage.py close_account`."), code="large"
            )
        return " · ".join(line.strip() for line in close_account(account=row).lines())


def is_large(account: Account) -> bool:
    _count, exact = bounded_count(Task.unscoped.filter(account=account), 20_000)
    return not exact


class ErasePerson(Action):
    name, label = "erase", _("Erase the person")
    description = _("Deletes the sign-in, memberships and tokens; the row stays without name and address.")
    permission = "accounts.erase_account"
    dangerous = True
    for_many = False

    def applies_to(self, row: User) -> bool:
        return row.is_active and not row.is_superuser

    def perform(self, row: User, answers: dict[str, Any]) -> str:
        if row.is_superuser:
            raise ValidationError(_("A superuser is erased by `manage.py erase_person`."), code="superuser")
        return " · ".join(line.strip() for line in erase_person(user=row).lines())


def summary(account: Account) -> list[tuple[Any, Any]]:
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


account_page.AccountAdmin.portal_actions.extend([Suspend, Restore, Export, Close])
people_page.UserAdmin.portal_actions.append(ErasePerson)
account_page.account_summaries.append(summary)
account_page.batch_cell = batch_cell
