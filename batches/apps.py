from importlib import import_module

from django.apps import AppConfig
from django.db.models.signals import post_migrate, post_save, pre_migrate
from django.utils.translation import gettext_lazy as _

# What polling, recognition and delivery note down on a batch; only people's changes go into the audit trail.
MACHINE_FIELDS = [
    "status",
    "cause_code",
    "cause",
    "cause_details",
    "held_until",
    "acknowledged_at",
    "acknowledgement",
    "left_alone",
    "quiet_polls",
    "next_poll_at",
    "poll_queued_at",
    "poll_heartbeat_at",
    "polled_at",
    "last_task_order",
    "last_execution_result",
    "last_finished_at",
]


class BatchesConfig(AppConfig):
    name = "batches"
    verbose_name = _("Batches")

    def ready(self) -> None:
        from batches.models import Batch, ChatChannel, StoredTranscript, Subscription, limits
        from batches.transcripts import search
        from speechportal.accounts.audit.trail import follow
        from speechportal.support.groups import install_groups

        import_module("batches.operations.metrics")  # Adds its collectors.
        import_module("batches.compat.clova.callbacks")  # Adds its message kind.
        follow(Batch, ignore=MACHINE_FIELDS, addresses=["webhook_url"])
        follow(ChatChannel, ignore=["told_until", "problem"], secret=["encrypted_url"])
        follow(Subscription, ignore=["told_until"])
        pre_migrate.connect(limits.remove_triggers, sender=self)
        post_migrate.connect(limits.install_triggers, sender=self)
        # The last of the apps: all permissions are there.
        post_migrate.connect(install_groups, sender=self)
        post_save.connect(search.index_transcript, sender=StoredTranscript)
