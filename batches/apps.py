from django.apps import AppConfig
from django.db.models.signals import post_migrate, post_save
from django.utils.translation import gettext_lazy as _

# What polling, recognition and delivery note down on a batch; only people's changes go into the audit trail.
MACHINE_FIELDS = [
    "status",
    "cause_code",
    "cause",
    "cause_details",
    "next_poll_at",
    "polled_at",
    "last_task_order",
    "last_execution_result",
    "last_finished_at",
]


class BatchesConfig(AppConfig):
    name = "batches"
    verbose_name = _("Batches")

    def ready(self) -> None:
        from batches import limits, search
        from batches.models import Batch, Transcript
        from speechportal.accounts.audit import follow

        follow(Batch, ignore=MACHINE_FIELDS, secret=["webhook_secret", "webhook_secrets"])
        post_migrate.connect(limits.install_triggers, sender=self)
        post_save.connect(search.index_checkpoint, sender=Transcript)
