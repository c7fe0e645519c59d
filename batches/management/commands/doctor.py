"""Check this installation: what is wrong and what to do about it. Exit status 1 if anything is wrong."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from batches.operations.doctor import Finding, Health, examine


class Command(BaseCommand):
    help = __doc__
    # The system checks are among the findings: a failing one must not hide the others.
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        wrong = 0
        for finding in examine():
            wrong += finding.health is Health.BAD
            self.stdout.write(self._line(finding))
            if finding.advice:
                self.stdout.write(f"{'':18}{finding.advice}")
        if wrong:
            raise CommandError(f"{wrong} problems found." if wrong > 1 else "1 problem found.")
        self.stdout.write("No problems found.")

    def _line(self, finding: Finding) -> str:
        style = {
            Health.GOOD: self.style.SUCCESS,
            Health.NOTE: self.style.WARNING,
            Health.BAD: self.style.ERROR,
        }[finding.health]
        return f"{style(f'{finding.health.value:<5}')} {finding.about:<11} {finding.sentence}"
