"""Say in plain words what is wrong with this installation; exit status 1 if anything is."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from batches.operations.doctor import Finding, Health, examine


class Command(BaseCommand):
    help = __doc__
    # They are among the findings, so that a failing one does not keep the others from being told.
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        wrong = 0
        for finding in examine():
            wrong += finding.health is Health.BAD
            self.stdout.write(self._line(finding))
            if finding.advice:
                self.stdout.write(f"{'':18}{finding.advice}")
        if wrong:
            raise CommandError(f"{wrong} things are wrong." if wrong > 1 else "One thing is wrong.")
        self.stdout.write("All is well.")

    def _line(self, finding: Finding) -> str:
        style = {
            Health.GOOD: self.style.SUCCESS,
            Health.NOTE: self.style.WARNING,
            Health.BAD: self.style.ERROR,
        }[finding.health]
        return f"{style(f'{finding.health.value:<5}')} {finding.about:<11} {finding.sentence}"
