"""``manage.py measure_redaction FILE``: precision and recall of redaction on marked sentences."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from batches.postprocessing.measurement import measure, parse


class Command(BaseCommand):
    help = "State precision and recall of redaction per kind, on a file of marked sentences."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="language, tab, text with [kind:…] marks")
        parser.add_argument("--language", help="only sentences of this language, such as ko")
        parser.add_argument("--show", action="store_true", help="list what was missed and what was wrong")

    def handle(self, *_args: Any, file: Path, language: str | None, show: bool, **_options: Any) -> None:
        try:
            sentences = parse(file.read_text(encoding="utf-8").splitlines())
        except (OSError, ValueError) as error:
            raise CommandError(str(error)) from error
        chosen = [sentence for sentence in sentences if language in {None, sentence.language}]
        self.stdout.write(f"{len(chosen)} sentences")
        self.stdout.write(f"{'kind':<10}{'marked':>8}{'recall':>9}{'found':>8}{'precision':>11}")
        for kind, score in measure(chosen).items():
            self.stdout.write(
                f"{kind:<10}{score.marked:>8}{score.recall:>9.3f}{score.found:>8}{score.precision:>11.3f}"
            )
            if show:
                for name, texts in (("missed", score.missed), ("wrong", score.wrong)):
                    for text in texts:
                        self.stdout.write(f"    {name}: {text!r}")
