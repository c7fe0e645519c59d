from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class StorageConfig(AppConfig):
    name = "speechportal.storage"
    label = "storage"
    verbose_name = _("Storage")

    def ready(self) -> None:
        from speechportal.accounts.audit.trail import follow
        from speechportal.storage.models import Connection

        follow(
            Connection, ignore=["last_ok_at", "last_error"], secret=["encrypted_secret", "notification_nonce"]
        )
