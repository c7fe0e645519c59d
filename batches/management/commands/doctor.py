"""Check this installation: what is wrong and what to do about it. Exit status 1 if anything is wrong."""

from __future__ import annotations

import argparse
import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from batches.operations.doctor import SECONDS, Finding, Health, examine


class Command(BaseCommand):
    help = __doc__
    # The system checks are findings too: a failing one must not hide the others.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the findings as one JSON document")
        parser.add_argument(
            "--seconds",
            type=float,
            default=SECONDS,
            metavar="N",
            help="time for slow checks, such as a comparison of large models (default: %(default)g)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        findings = []
        for finding in examine(options["seconds"]):
            findings.append(finding)
            if not options["json"]:
                self._print(finding)
        wrong = sum(finding.health is Health.BAD for finding in findings)
        if options["json"]:
            self.stdout.write(_document(findings))
        if wrong:
            raise CommandError(f"{wrong} problems found." if wrong > 1 else "1 problem found.")
        if not options["json"]:
            self.stdout.write("No problems found.")

    def _print(self, finding: Finding) -> None:
        style = {
            Health.GOOD: self.style.SUCCESS,
            Health.NOTE: self.style.WARNING,
            Health.BAD: self.style.ERROR,
        }[finding.health]
        self.stdout.write(f"{style(f'{finding.health.value:<5}')} {finding.about:<11} {finding.sentence}")
        if finding.advice:
            self.stdout.write(f"{'':18}{finding.advice}")


def _document(findings: list[Finding]) -> str:
    """Format the findings as JSON; ``state`` of each is "ok", "note" or "bad"."""
    rows = [
        {
            "about": each.about,
            "state": each.health.value.lower(),
            "sentence": each.sentence,
            "advice": each.advice,
        }
        for each in findings
    ]
    good = not any(each.health is Health.BAD for each in findings)
    return json.dumps({"good": good, "findings": rows}, indent=1, ensure_ascii=False)
