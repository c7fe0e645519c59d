"""Remove a user's second factor and end their sessions. Verify first who is asking."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from speechportal.accounts.audit.actor import with_reason
from speechportal.accounts.models import User
from speechportal.accounts.sign_in import second_factor, sessions


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--reason", required=True, help="the reason, for the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(email__iexact=options["email"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['email']}.")
        with with_reason(options["reason"]):
            if not second_factor.remove_all(user.pk):
                raise CommandError(f"{user.email} has no second factor.")
            sessions.end(user.pk)
        self.stdout.write(f"The second factor of {user.email} is removed; the password alone signs in.")
