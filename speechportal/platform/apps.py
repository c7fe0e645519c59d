from django.apps import AppConfig
from django.db.models.signals import post_migrate


class PlatformConfig(AppConfig):
    name = "speechportal.platform"
    verbose_name = "Speech Portal"

    def ready(self) -> None:
        from speechportal import checks
        from speechportal.platform import queue, sentry

        checks.register_all()
        sentry.start()
        post_migrate.connect(queue.install_schedules, sender=self)
