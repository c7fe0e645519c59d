"""Delete a person's user, memberships and tokens, and report what was removed and what stays."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from batches.operations.privacy.erasure import erase_person
from speechportal.accounts.audit.actor import with_reason
from speechportal.accounts.models import User


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--reason", required=True, help="the reason, for the audit trail")
        parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(email__iexact=options["email"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['email']}.")
        if not options["yes"] and input(f"Delete {user.email}? Type the address: ") != user.email:
            raise CommandError("Nothing was deleted.")
        try:
            with with_reason(options["reason"]):
                report = erase_person(user=user)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        for line in report.lines():
            self.stdout.write(line)
