"""Delete transcripts and logs that are older than their account keeps them (also runs daily by itself)."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from batches.operations.privacy import retention


class Command(BaseCommand):
    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        for name, count in sorted(retention.enforce().items()):
            if count:
                self.stdout.write(f"{count:,} {name}")
