"""Export everything stored about an account to a ZIP file of JSON lines, without secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from batches.operations.privacy.export import export_account
from speechportal.accounts.audit.actor import with_reason
from speechportal.accounts.models import Account


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("account", help="the account's ID (acc_…)")
        parser.add_argument("file", type=Path, help="the ZIP file to create; it must not exist")
        parser.add_argument("--reason", required=True, help="the reason, for the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        account = Account.objects.filter(uid=options["account"]).first()
        if account is None:
            raise CommandError(f"There is no account {options['account']}.")
        file: Path = options["file"]
        if file.exists():
            raise CommandError(f"{file} exists already.")
        with with_reason(options["reason"]):
            counts = export_account(account=account, target=file)
        for name, count in counts.items():
            self.stdout.write(f"{count:,} {name}")
