from django.apps import AppConfig
from django.db.models.signals import post_migrate


class SpeechPortalConfig(AppConfig):
    name = "speechportal"
    verbose_name = "Speech Portal"

    def ready(self) -> None:
        from speechportal import checks, queue, sentry

        checks.register_all()
        sentry.start()
        post_migrate.connect(queue.install_schedules, sender=self)
