"""Delete an account's data except its books, and report what was removed and what stays."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from batches.operations.privacy.erasure import close_account
from speechportal.accounts.audit.actor import with_reason
from speechportal.accounts.models import Account


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("account", help="the account's ID (acc_…)")
        parser.add_argument("--reason", required=True, help="the reason, for the audit trail")
        parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")

    def handle(self, *args: Any, **options: Any) -> None:
        account = Account.objects.filter(uid=options["account"]).first()
        if account is None:
            raise CommandError(f"There is no account {options['account']}.")
        if not options["yes"] and input(f"Delete the data of “{account}”? Type its ID: ") != account.uid:
            raise CommandError("Nothing was deleted.")
        try:
            with with_reason(options["reason"]):
                report = close_account(account=account)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        for line in report.lines():
            self.stdout.write(line)
