"""Upgrade this installation to another version, or go back; killed in the middle, run it again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from speechportal.platform.upgrade.installation import Installation
from speechportal.platform.upgrade.journal import UpgradeRefused
from speechportal.platform.upgrade.steps import Upgrade, UpgradeOptions


class Command(BaseCommand):
    help = __doc__
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "target", nargs="?", default="", help="tag, branch or commit (default: the code that is there)"
        )
        parser.add_argument("--back", action="store_true", help="take the last upgrade back")
        parser.add_argument(
            "--installation",
            type=Path,
            default=settings.BASE_DIR,
            metavar="FOLDER",
            help="the checkout that serves (default: the one of this manage.py)",
        )
        parser.add_argument(
            "--backups", type=Path, metavar="FOLDER", help="default: backups in the data folder"
        )
        parser.add_argument(
            "--max-backup-age", type=float, default=24, metavar="HOURS", help="an older one is made anew"
        )
        parser.add_argument("--without-backup", action="store_true", help="make none and look for none")
        parser.add_argument("--no-packages", action="store_true", help="do not install changed packages")
        parser.add_argument(
            "--url", default="", help="of the web server, for /readyz (default: as it was told)"
        )
        parser.add_argument("--timeout", type=float, default=180, metavar="SECONDS", help="until it is ready")

    def handle(self, *_args: Any, **options: Any) -> None:
        place = Installation(options["installation"].resolve(), Path(settings.DATA_DIR).resolve())
        chosen = UpgradeOptions(
            target=options["target"],
            backups=(options["backups"] or place.data / "backups").resolve(),
            oldest_backup=options["max_backup_age"],
            without_backup=options["without_backup"],
            packages=not options["no_packages"],
            address=options["url"].rstrip("/"),
            seconds=options["timeout"],
        )
        upgrade = Upgrade(place, chosen, self._print)
        try:
            serves = upgrade.run_back() or options["back"] if options["back"] else upgrade.run()
        except UpgradeRefused as error:
            raise CommandError(str(error)) from error
        if not serves and not options["back"]:
            raise CommandError("The upgrade was taken back; the cause is above, and in logs/run.log.")

    def _print(self, sentence: str) -> None:
        self.stdout.write(sentence)
        self.stdout.flush()
