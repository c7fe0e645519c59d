"""``manage.py models list|fetch|verify``: the models of recognition on this machine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from tqdm import tqdm

from batches.recognition import registry
from batches.recognition.errors import ModelUnavailable
from batches.recognition.models.overview import facts_of
from batches.recognition.models.store import ModelStore, is_path
from batches.tasks import model_hosts


class Command(BaseCommand):
    help = "List, fetch and verify the models of recognition."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--models-dir", type=Path, help="the models folder, if not the configured one")
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("list", help="what is known and what is here")
        fetch = actions.add_parser("fetch", help="fetch models that are not here, or not whole")
        fetch.add_argument(
            "names",
            nargs="*",
            metavar="NAME",
            help="a pinned model, an official Whisper model or a pyannote pipeline on Hugging Face "
            "(default: those that the settings name)",
        )
        verify = actions.add_parser("verify", help="compare the files with their SHA-256")
        verify.add_argument("names", nargs="*", metavar="NAME", help="default: all that is here")

    def handle(self, *_args: Any, **options: Any) -> None:
        store = ModelStore(options["models_dir"] or settings.MODELS_DIR, hub_token=settings.HF_TOKEN)
        action = {"list": self._list, "fetch": self._fetch, "verify": self._verify}[options["action"]]
        action(store, options.get("names") or [])

    def _list(self, store: ModelStore, _names: list[str]) -> None:
        self.stdout.write(f"Models folder: {store.folder}")
        offered = [*settings.WHISPER_MODELS, *settings.SPEAKER_MODELS]
        hosts = _hosts()
        row = "  {:<28} {:<8} {:>8} {:>9} {:>9}  {:<24} {}"
        self.stdout.write(row.format("model", "here", "size", "CPU", "GPU", "served by", "licence").rstrip())
        for name in dict.fromkeys([*offered, *store.names()]):
            facts = facts_of(name, store)
            served = ", ".join(hosts.get(name, [])) or ("-" if name in offered else "not offered")
            numbers = [_amount(each) for each in (facts.size, facts.need_on_cpu, facts.need_on_gpu)]
            self.stdout.write(row.format(name, facts.state, *numbers, served, facts.licence).rstrip())
        self.stdout.write("CPU and GPU: memory that one process needs, on a CPU with bfloat16.")

    def _fetch(self, store: ModelStore, names: list[str]) -> None:
        for name in names or [*settings.WHISPER_MODELS, *settings.SPEAKER_MODELS]:
            if is_path(name):
                continue  # the operator's own files
            if (provider := registry.bundled_with(name, store)) is not None:
                self.stdout.write(f"{name}: {provider.missing() or 'comes with its package'}")
                continue
            with _Bars() as bars:
                try:
                    folder = store.fetch(name, bars.show)
                except ModelUnavailable as error:
                    raise CommandError(error.message) from error
                except OSError as error:  # a file in the folder's place, a full disk, no right to write
                    reason = f"{store.folder} cannot be written: {error.strerror or error}."
                    raise CommandError(f"{reason} Correct SPEECHPORTAL_MODELS_DIR, or the folder.") from error
            self.stdout.write(f"{name}: {folder}")

    def _verify(self, store: ModelStore, names: list[str]) -> None:
        present = [name for name in store.names() if store.status(name).state != "missing"]
        problems = [problem for name in names or present for problem in store.verify(name)]
        for problem in problems:
            self.stderr.write(problem)
        if problems or not (names or present):
            raise CommandError("Some models are not as they should be. Run: manage.py models fetch")
        self.stdout.write(f"{len(names or present)} models verified.")


def _amount(count: int) -> str:
    if not count:
        return "-"
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _hosts() -> dict[str, list[str]]:
    """Live hosts by model, as they last reported. Empty without a database."""
    found: dict[str, list[str]] = {}
    try:
        for row in model_hosts.live_rows():
            state = "unusable" if row.problem else "loaded" if row.loaded_at else ""
            found.setdefault(row.name, []).append(f"{row.host} ({state})" if state else row.host)
    except DatabaseError:
        pass
    return found


class _Bars:
    """Progress bars, one per download."""

    def __init__(self) -> None:
        self._bars: dict[str, tqdm[Any]] = {}

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_exception: object) -> None:
        for bar in self._bars.values():
            bar.close()

    def show(self, what: str, done: int, total: int) -> None:
        if what not in self._bars:
            self._bars[what] = tqdm(desc=what, total=total, unit="B", unit_scale=True, file=sys.stderr)
        bar = self._bars[what]
        bar.update(done - bar.n)
