"""Adopt results that lie in the storage of tasks which failed for a missing input, after a restore."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from batches.models import Batch, Task
from batches.worker import adoption
from speechportal.accounts.audit.actor import Actor, Kind, acting_as, with_reason
from speechportal.storage.errors import StorageError


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--batch", metavar="ID", help="only tasks of this batch (bat_…)")
        parser.add_argument("--dry-run", action="store_true", help="only say which have a result")
        parser.add_argument("--reason", default="", help="the reason, for the audit trail")

    def handle(self, *_args: Any, **options: Any) -> None:
        if not options["dry_run"] and not options["reason"].strip():
            raise CommandError("Give a reason for the audit trail (--reason), or --dry-run.")
        tasks = Task.unscoped.filter(state=Task.State.FAILED, error_code__in=adoption.ADOPTABLE)
        if uid := options["batch"]:
            if not Batch.unscoped.filter(uid=uid).exists():
                raise CommandError(f"There is no batch {uid}.")
            tasks = tasks.filter(batch__uid=uid)
        adopted = left = 0
        actor = Actor(Kind.SYSTEM, label="manage.py adopt_results")
        with acting_as(actor), with_reason(options["reason"]):
            for task_id in list(tasks.order_by("pk").values_list("pk", flat=True)):
                done = self._adopt(task_id, dry_run=options["dry_run"])
                adopted, left = adopted + done, left + (not done)
        verb = "would be adopted" if options["dry_run"] else "adopted"
        self.stdout.write(f"{adopted} results {verb}; {left} tasks left as they are.")

    def _adopt(self, task_id: int, *, dry_run: bool) -> bool:
        task = Task.unscoped.select_related("connection", "batch__domain", "account").get(pk=task_id)
        try:
            if dry_run:
                if adoption.find_result(task) is None:
                    return False
            else:
                adoption.adopt(task)
        except ValidationError as error:
            self.stdout.write(f"{task.uid} {task.name}: {' '.join(error.messages)}")
            return False
        except StorageError as error:
            self.stdout.write(f"{task.uid} {task.name}: the storage: {error.code}")
            return False
        self.stdout.write(f"{task.uid} {task.name}")
        return True
